//! One block: attention and MLP, each on the normed hidden states and added to them.

use tensor::{Result, Tensor, ops};

use super::{Attention, FusedColumns, Mlp, Norm, Prefix, Scope};
use crate::cache::LayerCache;
use crate::config::{DecoderConfig, Residual};
use crate::module::Modules;

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    before_attention: Norm,
    attention: Attention,
    after_attention: Option<Norm>,
    before_mlp: Norm,
    mlp: Mlp,
    after_mlp: Option<Norm>,
    parallel: bool,
}

impl Block {
    /// Adds the modules of block `layer` to the list.
    pub(crate) fn declare(modules: &mut Modules, config: &DecoderConfig, columns: &FusedColumns, layer: usize) -> Self {
        let block = format!("{}.{layer}", config.names.blocks);
        let norm = |modules: &mut Modules, path: &str| {
            Norm::declare(modules, format!("{block}.{path}"), Some(layer), config.hidden_size, config.norm)
        };
        let (parallel, before_attention, after_attention, before_mlp, after_mlp) = match config.residual {
            Residual::Sequential { before_attention, after_attention, before_mlp, after_mlp } => {
                (false, before_attention, after_attention, before_mlp, after_mlp)
            }
            Residual::Parallel { before_attention, before_mlp } => (true, before_attention, None, before_mlp, None),
        };
        Self {
            before_attention: norm(modules, before_attention),
            attention: Attention::declare(modules, config, columns, &block, layer),
            after_attention: after_attention.map(|path| norm(modules, path)),
            before_mlp: norm(modules, before_mlp),
            mlp: Mlp::declare(modules, config, &block, layer),
            after_mlp: after_mlp.map(|path| norm(modules, path)),
            parallel,
        }
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        scope: &Scope,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let attended = self.attention.forward(&self.before_attention.forward(x, scope)?, prefix, scope, cache)?;
        let x_attended = ops::add(x, &apply(self.after_attention, attended, scope)?)?;
        let mlp_input = if self.parallel { x } else { &x_attended };
        let fed = self.mlp.forward(&self.before_mlp.forward(mlp_input, scope)?, scope)?;
        ops::add(&x_attended, &apply(self.after_mlp, fed, scope)?)
    }
}

fn apply(norm: Option<Norm>, x: Tensor, scope: &Scope) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x, scope),
        None => Ok(x),
    }
}
