//! What every part of a decoder can see while one pass runs.

use std::sync::Arc;

use tensor::Tensor;

use crate::rope::RopeRows;
use crate::{Adapter, Context, ParameterId};

/// One pass. Cloning copies a few references: a block that is computed again in backward keeps its own.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) adapter: Arc<dyn Adapter>,
    /// The base's parameters by id.
    pub(crate) base: Arc<[Tensor]>,
    pub(crate) context: Context,
    /// One for each rotation of the model.
    pub(crate) ropes: Arc<[RopeRows]>,
}

impl Scope {
    /// The adapter's stand-in for a parameter, or the base's own.
    pub(crate) fn parameter(&self, id: ParameterId) -> &Tensor {
        self.adapter.parameter(id).unwrap_or(&self.base[id.index()])
    }
}
