//! Trained rows in the forward pass: what is looked up or computed with them takes the place of the base's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use model::{Base, ModuleId, Modules, Parameter, ParameterId};
use tensor::ops::{self, EmbeddingOptions};
use tensor::{Layout, Parameters, Result, Sequences, Tensor, Weight};

use super::indices::PlannedRows;
use crate::declare::{Declarations, Start};
use crate::method::SavedTensor;
use crate::{PeftError, finite, names};

/// Rows that are declared and not made yet.
#[derive(Default)]
pub(crate) struct DeclaredTokenRows(Vec<(usize, PlannedRows)>);

impl DeclaredTokenRows {
    /// Declares the rows of `planned`, saved under `suffix` of their module; returns their position.
    pub(crate) fn add(
        &mut self,
        planned: PlannedRows,
        suffix: &str,
        start: Start,
        modules: &Modules,
        declarations: &mut Declarations,
        saved: &mut Vec<SavedTensor>,
    ) -> usize {
        let module = modules.get(planned.module);
        let dim = modules.parameter(module.weight).shape[1];
        let name = names::key(&module.path, suffix);
        let index = declarations.add(name.clone(), &[planned.tokens.len(), dim], start);
        saved.push(SavedTensor::trained(name, index));
        self.0.push((index, planned));
        index
    }

    /// The same with the values that were made for them.
    pub(crate) fn with(self, leaves: &[Tensor], modules: &Modules) -> TokenRows {
        let mut of_modules = vec![None; modules.iter().len()];
        for (index, PlannedRows { module, tokens, shared_by }) in self.0 {
            let rows = Arc::new(Rows::new(index, leaves[index].clone(), module, tokens));
            for id in [module].into_iter().chain(shared_by) {
                of_modules[id.index()] = Some(Arc::clone(&rows));
            }
        }
        TokenRows { of_modules }
    }
}

/// By the number of the module, the rows that are trained.
pub(crate) struct TokenRows {
    of_modules: Vec<Option<Arc<Rows>>>,
}

/// Trained rows of one module and of those that share its values.
struct Rows {
    index: usize,
    /// The module that they are named after.
    module: ModuleId,
    /// `[num_tokens, dim]`.
    values: Tensor,
    tokens: Arc<[u32]>,
    /// The row of each token.
    row_of: BTreeMap<u32, u32>,
}

impl TokenRows {
    /// Whether rows of this module are trained.
    pub(crate) fn adapts(&self, id: ModuleId) -> bool {
        self.of_modules[id.index()].is_some()
    }

    /// Sets the rows to those of the base.
    pub(crate) fn start(&self, base: &Base, parameters: &Parameters) -> Result<(), PeftError> {
        for (module, rows) in base.modules().iter().zip(&self.of_modules) {
            let Some(rows) = rows.as_ref().filter(|rows| rows.module == module.id) else { continue };
            let own = ops::embedding(&rows.tokens, &base.parameter(module.weight)?, EmbeddingOptions::default())?;
            parameters.set(rows.index, &own.to_vec())?;
        }
        Ok(())
    }

    /// The rows `ids` of an embedding, those of listed tokens from the trained ones.
    pub(crate) fn embedding(
        &self,
        id: ModuleId,
        ids: &Arc<[u32]>,
        table: &Tensor,
        options: EmbeddingOptions,
    ) -> Result<Tensor> {
        let own = ops::embedding(ids, table, options)?;
        let Some(rows) = &self.of_modules[id.index()] else { return Ok(own) };
        let trained = match options.scale {
            Some(scale) => &ops::scale(&rows.values, scale)?,
            None => &rows.values,
        };
        let one = Arc::new(Sequences::packed(&[0, ids.len() as u32])?);
        let both = ops::prepend(trained, &own, &one)?; // [num_rows + num_tokens, dim]
        let behind = rows.tokens.len() as u32;
        let chosen = (behind..).zip(ids.iter()).map(|(own, id)| rows.row_of.get(id).copied().unwrap_or(own));
        ops::select_rows(&both, &chosen.collect())
    }

    /// `logits` of `x` by a head's own weight, those of listed tokens by the trained rows. `None` where none are.
    pub(crate) fn logits(&self, id: ModuleId, x: &Tensor, weight: &Weight) -> Result<Option<Tensor>> {
        let Some(rows) = &self.of_modules[id.index()] else { return Ok(None) };
        let own = ops::linear(x, weight, None)?;
        let trained = ops::linear(x, &Weight::dense(rows.values.clone(), Layout::OutIn)?, None)?;
        let both = ops::concat_columns(&trained, &own)?; // [num_tokens, num_rows + vocab_size]
        ops::columns(&both, &rows.columns(weight.out_features())).map(Some)
    }

    /// Whether merging changes this parameter.
    pub(crate) fn merges(&self, parameter: &Parameter, modules: &Modules) -> bool {
        let module = modules.get(parameter.module);
        module.weight == parameter.id && self.adapts(module.id)
    }

    /// Whether one set of rows changes a parameter and what it shares its values with.
    pub(crate) fn keeps_tie(&self, id: ParameterId, original: ParameterId, modules: &Modules) -> bool {
        let rows = |id: ParameterId| self.of_modules[modules.parameter(id).module.index()].as_ref();
        matches!((rows(id), rows(original)), (Some(a), Some(b)) if a.index == b.index)
    }

    /// Puts the trained rows into the table `values`, which is that of `parameter`.
    ///
    /// # Errors
    /// [`PeftError::NonFinite`].
    pub(crate) fn merge(&self, parameter: &Parameter, modules: &Modules, values: &mut [f32]) -> Result<(), PeftError> {
        if !self.merges(parameter, modules) {
            return Ok(());
        }
        let Some(rows) = &self.of_modules[parameter.module.index()] else { return Ok(()) };
        finite::check(&parameter.name, &rows.values)?;
        let dim = parameter.shape.last().copied().unwrap_or(1);
        for (row, &token) in rows.values.to_vec().chunks_exact(dim.max(1)).zip(rows.tokens.iter()) {
            values[token as usize * dim..][..dim].copy_from_slice(row);
        }
        Ok(())
    }
}

impl Rows {
    fn new(index: usize, values: Tensor, module: ModuleId, tokens: Vec<u32>) -> Self {
        let row_of = tokens.iter().copied().zip(0..).collect();
        Self { index, module, values, tokens: tokens.into(), row_of }
    }

    /// Which columns of trained logits, then own ones, are those of the tokens in their order.
    fn columns(&self, vocab_size: usize) -> Arc<[Range<usize>]> {
        let trained = self.tokens.len();
        let mut blocks = Vec::with_capacity(2 * trained + 1);
        let mut next = 0;
        for (&token, &row) in &self.row_of {
            let (token, row) = (token as usize, row as usize);
            blocks.extend([trained + next..trained + token, row..row + 1]);
            next = token + 1;
        }
        blocks.push(trained + next..trained + vocab_size);
        blocks.retain(|block| !block.is_empty());
        blocks.into()
    }
}
