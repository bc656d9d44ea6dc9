//! Rows of a table.

use std::sync::Arc;

use tensor::ops::EmbeddingOptions;
use tensor::{Result, Tensor};

use super::Scope;
use crate::module::{ModuleKind, Modules};
use crate::{ModuleId, ParameterId};

/// An embedding module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embedding {
    module: ModuleId,
    pub(crate) weight: ParameterId,
    options: EmbeddingOptions,
}

impl Embedding {
    /// Adds the module to the list. `size` is `[num_embeddings, embedding_dim]`.
    pub(crate) fn declare(modules: &mut Modules, path: &str, size: [usize; 2], options: EmbeddingOptions) -> Self {
        let [num_embeddings, embedding_dim] = size;
        let kind = ModuleKind::Embedding { num_embeddings, embedding_dim };
        let module = modules.add(path.to_owned(), None, kind, size.to_vec(), None);
        module.embedding_options = options;
        Self { module: module.id, weight: module.weight, options }
    }

    /// The rows `ids`: `[ids.len(), embedding_dim]`, to be computed with in the precision of the pass.
    pub(crate) fn forward(&self, ids: &Arc<[u32]>, scope: &Scope) -> Result<Tensor> {
        let table = scope.parameter(self.weight);
        let rows = scope.adapter.embedding(self.module, ids, table, self.options, &scope.context)?;
        Ok(rows.with_precision(scope.precision))
    }
}
