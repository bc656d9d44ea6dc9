//! The blocks of a model, one after another.

use std::sync::Arc;

use tensor::{Result, Tensor, ops};

use super::{Block, BlockSite, Prefix, Scope, fused_columns};
use crate::Pass;
use crate::config::{BlockConfig, LayerConfig};
use crate::module::Modules;

/// All blocks. A block that backward computes again is shared with the tape.
#[derive(Debug)]
pub(crate) struct Blocks(pub(crate) Vec<Arc<Block>>);

impl Blocks {
    /// Adds the modules of one block for each of `layers` to the list, `path.0`, `path.1`, ...
    pub(crate) fn declare(modules: &mut Modules, config: &BlockConfig, layers: &[LayerConfig], path: &str) -> Self {
        let columns = fused_columns(config);
        let blocks = layers.iter().enumerate().map(|(layer, own)| {
            let path = format!("{path}.{layer}");
            Arc::new(Block::declare(modules, config, *own, &columns, BlockSite { path: &path, layer }))
        });
        Self(blocks.collect())
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape. With gradient checkpointing a block keeps its input alone
    /// and is computed again in backward.
    pub(crate) fn forward(&self, mut x: Tensor, scope: &Scope, pass: &Pass) -> Result<Tensor> {
        for (layer, block) in self.0.iter().enumerate() {
            let prefix = scope.adapter.prefix(layer)?;
            x = if pass.gradient_checkpointing {
                let (block, scope) = (Arc::clone(block), scope.clone());
                // A prefix may be computed from parameters that all layers share: its history stays outside of the block.
                let inputs: Vec<&Tensor> = [&x].into_iter().chain(prefix.iter().flat_map(|(k, v)| [k, v])).collect();
                ops::checkpoint(&inputs, pass.offload.as_ref(), move |inputs| {
                    let prefix: Option<Prefix> = match inputs {
                        [_, k, v] => Some((k.clone(), v.clone())),
                        _ => None,
                    };
                    block.forward(&inputs[0], prefix.as_ref(), &scope, None)
                })?
            } else {
                block.forward(&x, prefix.as_ref(), scope, None)?
            };
        }
        Ok(x)
    }
}
