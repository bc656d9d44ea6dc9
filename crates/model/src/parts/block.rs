//! One block: attention and MLP, each on the normed hidden states and added to them.

use tensor::{Result, Tensor};

use super::{Attention, FusedColumns, Mlp, Norm, Prefix, Residual, Scope};
use crate::cache::LayerCache;
use crate::config::{self, DecoderConfig};
use crate::module::Modules;
use crate::{Join, Part};

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    before_attention: Norm,
    attention: Attention,
    after_attention: Option<Norm>,
    attention_residual: Residual,
    before_mlp: Norm,
    mlp: Mlp,
    after_mlp: Option<Norm>,
    mlp_residual: Residual,
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
            config::Residual::Sequential { before_attention, after_attention, before_mlp, after_mlp } => {
                (false, before_attention, after_attention, before_mlp, after_mlp)
            }
            config::Residual::Parallel { before_attention, before_mlp } => {
                (true, before_attention, None, before_mlp, None)
            }
        };
        let residual =
            |modules: &mut Modules, part| Residual::declare(modules, &block, layer, part, config.hidden_size);
        Self {
            before_attention: norm(modules, before_attention),
            attention: Attention::declare(modules, config, columns, &block, layer),
            after_attention: after_attention.map(|path| norm(modules, path)),
            attention_residual: residual(modules, Part::Attention),
            before_mlp: norm(modules, before_mlp),
            mlp: Mlp::declare(modules, config, &block, layer),
            after_mlp: after_mlp.map(|path| norm(modules, path)),
            mlp_residual: residual(modules, Part::Mlp),
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
        let attended = apply(self.after_attention, attended, scope)?;
        let join = Join { output: &attended, input: x, residual: x, norm: None };
        let x_attended = self.attention_residual.join(join, scope)?;
        let mlp_input = if self.parallel { x } else { &x_attended };
        let fed = self.mlp.forward(&self.before_mlp.forward(mlp_input, scope)?, scope)?;
        let fed = apply(self.after_mlp, fed, scope)?;
        let join = Join { output: &fed, input: mlp_input, residual: &x_attended, norm: None };
        self.mlp_residual.join(join, scope)
    }
}

fn apply(norm: Option<Norm>, x: Tensor, scope: &Scope) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x, scope),
        None => Ok(x),
    }
}
