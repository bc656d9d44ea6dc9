//! One block: attention and MLP, added to the hidden states with norms before or after.

use tensor::{Result, Tensor, ops};

use super::{Attention, FusedColumns, Mlp, Norm, Prefix, Residual, Scope};
use crate::cache::LayerCache;
use crate::config::{self, BlockConfig, LayerConfig};
use crate::module::Modules;
use crate::{Join, Part};

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    before_attention: Option<Norm>,
    attention: Attention,
    after_attention: Option<Norm>,
    attention_residual: Residual,
    before_mlp: Option<Norm>,
    mlp: Mlp,
    after_mlp: Option<Norm>,
    mlp_residual: Residual,
    arrangement: Arrangement,
}

/// Where a block is.
#[derive(Clone, Copy)]
pub(crate) struct BlockSite<'a> {
    /// Its path.
    pub(crate) path: &'a str,
    /// Its number.
    pub(crate) layer: usize,
}

/// What the MLP is given, and what the norms after the parts are applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrangement {
    /// The MLP follows attention; norms after the parts are of their outputs.
    Sequential,
    /// The MLP is given what attention is given.
    Parallel,
    /// The MLP follows attention; norms after the parts are of the sums.
    PostNorm,
}

impl Block {
    /// Adds the modules of the block at `site` to the list; `own` is in what it differs from the others.
    pub(crate) fn declare(
        modules: &mut Modules,
        config: &BlockConfig,
        own: LayerConfig,
        columns: &FusedColumns,
        site: BlockSite<'_>,
    ) -> Self {
        use config::Residual::{Parallel, PostNorm, Sequential};
        let (arrangement, before_attention, after_attention, before_mlp, after_mlp) = match config.residual {
            Sequential { before_attention, after_attention, before_mlp, after_mlp } => {
                (Arrangement::Sequential, Some(before_attention), after_attention, Some(before_mlp), after_mlp)
            }
            Parallel { before_attention, before_mlp } => {
                (Arrangement::Parallel, Some(before_attention), None, Some(before_mlp), None)
            }
            PostNorm { after_attention, after_mlp } => {
                (Arrangement::PostNorm, None, Some(after_attention), None, Some(after_mlp))
            }
        };
        let norm = |modules: &mut Modules, path: Option<&str>| {
            let declare = |path| Norm::declare(modules, path, Some(site.layer), config.hidden_size, config.norm);
            path.map(|path| format!("{}.{path}", site.path)).map(declare)
        };
        let residual = |modules: &mut Modules, after: Option<&str>, part| {
            let path = match after.filter(|_| arrangement == Arrangement::PostNorm) {
                Some(norm) => with_parent(site.path, norm),
                None => site.path.to_owned(),
            };
            Residual::declare(modules, &path, site.layer, part, config.hidden_size)
        };
        Self {
            before_attention: norm(modules, before_attention),
            attention: Attention::declare(modules, config, own, columns, site),
            after_attention: norm(modules, after_attention),
            attention_residual: residual(modules, after_attention, Part::Attention),
            before_mlp: norm(modules, before_mlp),
            mlp: Mlp::declare(modules, config.mlp, [config.hidden_size, config.intermediate_size], site),
            after_mlp: norm(modules, after_mlp),
            mlp_residual: residual(modules, after_mlp, Part::Mlp),
            arrangement,
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
        let attended = self.attention.forward(&apply(self.before_attention, x, scope)?, prefix, scope, cache)?;
        let x_attended = self.join_attention(&attended, x, scope)?;
        let mlp_input = if self.arrangement == Arrangement::Parallel { x } else { &x_attended };
        let fed = self.mlp.forward(&apply(self.before_mlp, mlp_input, scope)?, scope)?;
        let end = End { connection: self.mlp_residual, norm: self.after_mlp, arrangement: self.arrangement };
        end.join([&fed, mlp_input, &x_attended], scope)
    }

    /// Projects what attention gave for `x`, and adds it to that.
    fn join_attention(&self, attended: &Tensor, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        let end =
            End { connection: self.attention_residual, norm: self.after_attention, arrangement: self.arrangement };
        let output = self.attention.output;
        let is_kept_anyway = self.arrangement != Arrangement::Sequential || end.connection.is_adapted(scope);
        if is_kept_anyway || !scope.saves_memory(x) {
            return end.join([&output.forward(attended, scope)?, x, x], scope);
        }
        let scope = scope.clone();
        let join =
            move |inputs: &[Tensor]| end.join([&output.forward(&inputs[0], &scope)?, &inputs[1], &inputs[1]], &scope);
        ops::recomputed(join(&[attended.clone(), x.clone()])?, &[attended, x], join)
    }
}

/// Where a part of a block ends.
#[derive(Clone, Copy)]
struct End {
    connection: Residual,
    norm: Option<Norm>,
    arrangement: Arrangement,
}

impl End {
    /// Adds the output of the part, given `input`, to `residual`.
    fn join(self, [output, input, residual]: [&Tensor; 3], scope: &Scope) -> Result<Tensor> {
        if self.arrangement == Arrangement::PostNorm {
            let norm = |sum: &Tensor| apply(self.norm, sum, scope);
            return self.connection.join(Join { output, input, residual, norm: Some(&norm) }, scope);
        }
        let output = &apply(self.norm, output, scope)?;
        self.connection.join(Join { output, input, residual, norm: None }, scope)
    }
}

fn apply(norm: Option<Norm>, x: &Tensor, scope: &Scope) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(x, scope),
        None => Ok(x.clone()),
    }
}

/// The module that holds the one at `path` below `block`: `attention.output` of `attention.output.LayerNorm`, or the block
/// itself.
fn with_parent(block: &str, path: &str) -> String {
    match path.rsplit_once('.') {
        Some((parent, _)) => format!("{block}.{parent}"),
        None => block.to_owned(),
    }
}
