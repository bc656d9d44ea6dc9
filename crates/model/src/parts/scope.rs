//! What every part of a decoder can see while one pass runs.

use std::sync::Arc;

use device::{DType, Device};
use tensor::{Layout, Result, Sequences, Tensor, Weight};

use crate::rope::RopeRows;
use crate::stored::Stored;
use crate::{Adapter, Base, Context, ParameterId, Pass};

/// One pass. Cloning copies a few references: a block that is computed again in backward keeps its own.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) adapter: Arc<dyn Adapter>,
    /// The base's parameters by id.
    pub(crate) base: Arc<[Stored]>,
    pub(crate) context: Context,
    /// One for each rotation of the model.
    pub(crate) ropes: Arc<[RopeRows]>,
    /// What products round their operands to.
    pub(crate) precision: DType,
}

impl Scope {
    /// A pass over packed sequences, without rotations.
    pub(crate) fn new(base: &Base, sequences: &Arc<Sequences>, positions: Arc<[u32]>, pass: &Pass) -> Self {
        Self {
            adapter: Arc::clone(&pass.adapter),
            base: Arc::clone(base.parameters()),
            context: Context { sequences: Arc::clone(sequences), positions, dropout: pass.dropout },
            ropes: [].into(),
            precision: base.dtype(),
        }
    }

    /// The scope of a head, which sees rows and no sequences.
    pub(crate) fn of_rows(base: &Base, rows: usize, pass: &Pass) -> Result<Self> {
        let rows = rows as u32;
        Ok(Self::new(base, &Arc::new(Sequences::packed(&[0, rows])?), (0..rows).collect(), pass))
    }

    /// Whether results that are cheap to compute again are not kept: on the CPU in f32, where they take twice the memory
    /// that they take in bf16, and products are bound by arithmetic.
    pub(crate) fn saves_memory(&self, x: &Tensor) -> bool {
        self.precision != DType::BF16 && x.device() == Device::Cpu
    }

    /// The adapter's stand-in for a parameter that is no linear module's weight, or the base's own.
    pub(crate) fn parameter(&self, id: ParameterId) -> &Tensor {
        self.adapter.parameter(id).unwrap_or_else(|| self.base[id.index()].dense())
    }

    /// The same for the weight of a linear module.
    pub(crate) fn weight(&self, id: ParameterId, layout: Layout) -> Result<Weight> {
        match self.adapter.parameter(id) {
            Some(trained) => Weight::dense(trained.clone(), layout),
            None => self.base[id.index()].weight(layout),
        }
    }
}
