//! Several adapters on one base in one pass: one for each sequence of a packed batch.
//!
//! Rows of sequences that lie side by side and have the same adapter go through it together, so that a batch whose rows are
//! ordered by adapter is cut in as many pieces as it has adapters. What no adapter touches is computed once for all.

use std::ops::Range;
use std::sync::Arc;

use model::{Adapter, Context, Join, Module, ModuleId, ModuleKind, Modules, ResidualId};
use tensor::{Result, Sequences, Tensor, Weight, ops};

/// Adapters, and which sequence has which.
pub struct PerSequence {
    adapters: Vec<Arc<dyn Adapter>>,
    /// Sequences side by side with the same adapter: the first of them, the one after the last, and the adapter.
    runs: Vec<(Range<usize>, usize)>,
}

impl PerSequence {
    /// Whether `adapter` can share a pass with others: it changes what modules and residual connections give, and neither
    /// stands in for parameters of the base, which are the same for all rows, nor sets virtual tokens or pixels, nor
    /// adapts what has rows of its own: the head, given those whose logits are wanted, and tables.
    pub fn can_share(adapter: &dyn Adapter, modules: &Modules) -> bool {
        let stands_in = modules.parameters().any(|parameter| adapter.parameter(parameter.id).is_some());
        let has_own_rows = |module: &Module| module.is_head || matches!(module.kind, ModuleKind::Embedding { .. });
        let adapts_them = modules.iter().any(|module| has_own_rows(module) && adapter.adapts(module.id));
        let sets_pixels = !adapter.pixels().is_ok_and(|pixels| pixels.is_none());
        let sets_tokens = adapter.position_offset() > 0 || adapter.prompt_len() > 0;
        !(stands_in || adapts_them || sets_pixels || sets_tokens)
    }

    /// The adapters `adapters`, of which sequence `i` of a batch has number `choice[i]`. Each of them
    /// [can share](Self::can_share) a pass.
    ///
    /// # Panics
    /// If a choice is no number of an adapter.
    pub fn new(adapters: Vec<Arc<dyn Adapter>>, choice: &[usize]) -> Self {
        assert!(choice.iter().all(|&adapter| adapter < adapters.len()), "{choice:?} of {} adapters", adapters.len());
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for (sequence, &adapter) in choice.iter().enumerate() {
            match runs.last_mut() {
                Some((run, last)) if *last == adapter => run.end = sequence + 1,
                _ => runs.push((sequence..sequence + 1, adapter)),
            }
        }
        Self { adapters, runs }
    }

    /// What `compute` makes of each run's rows, one below the other. It is given the run's adapter, its rows, and the context
    /// that they have by themselves.
    fn by_run(
        &self,
        context: &Context,
        compute: impl Fn(&dyn Adapter, Range<usize>, &Context) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let starts = context.sequences.cu_seqlens_q();
        let mut joined: Option<Tensor> = None;
        for (run, adapter) in &self.runs {
            let own = &starts[run.start..=run.end];
            let rows = own[0] as usize..own[own.len() - 1] as usize;
            let cu_seqlens: Vec<u32> = own.iter().map(|start| start - own[0]).collect();
            let context = Context {
                sequences: Arc::new(Sequences::packed(&cu_seqlens)?),
                positions: context.positions[rows.clone()].into(),
                dropout: context.dropout,
            };
            let y = compute(&*self.adapters[*adapter], rows, &context)?;
            joined = Some(match joined {
                None => y,
                Some(above) => {
                    let one = Arc::new(Sequences::packed(&[0, y.shape()[0] as u32])?);
                    ops::prepend(&above, &y, &one)?
                }
            });
        }
        match joined {
            Some(joined) => Ok(joined),
            None => compute(&model::NoAdapter, 0..0, context),
        }
    }

    fn is_untouched(&self, id: ModuleId) -> bool {
        !self.adapters.iter().any(|adapter| adapter.adapts(id))
    }
}

impl Adapter for PerSequence {
    fn adapts(&self, id: ModuleId) -> bool {
        !self.is_untouched(id)
    }

    fn linear(
        &self,
        id: ModuleId,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        context: &Context,
    ) -> Result<Tensor> {
        if self.is_untouched(id) {
            return ops::linear(x, weight, bias);
        }
        self.by_run(context, |adapter, rows, context| {
            let x = ops::slice_rows(x, rows)?;
            match adapter.input_scale(id) {
                Some(scale) => adapter.linear(id, &ops::ia3_scale(&x, scale)?, weight, bias, context),
                None => adapter.linear(id, &x, weight, bias, context),
            }
        })
    }

    fn adapts_residual(&self, id: ResidualId) -> bool {
        self.adapters.iter().any(|adapter| adapter.adapts_residual(id))
    }

    fn residual(&self, id: ResidualId, join: Join<'_>, context: &Context) -> Result<Tensor> {
        if !self.adapts_residual(id) {
            return join.finish(join.output);
        }
        self.by_run(context, |adapter, rows, context| {
            let rows_of = |x: &Tensor| ops::slice_rows(x, rows.clone());
            let (output, input, residual) = (rows_of(join.output)?, rows_of(join.input)?, rows_of(join.residual)?);
            adapter.residual(id, Join { output: &output, input: &input, residual: &residual, norm: join.norm }, context)
        })
    }
}
