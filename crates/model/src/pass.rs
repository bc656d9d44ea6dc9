//! How a model is run.

use std::sync::Arc;

use tensor::Offload;

use crate::{Adapter, Dropout, NoAdapter};

/// How a pass is run.
#[derive(Clone)]
pub struct Pass {
    /// What is added to the base.
    pub adapter: Arc<dyn Adapter>,
    /// The key of the adapter's dropout; `None` in evaluation.
    pub dropout: Option<Dropout>,
    /// Whether blocks keep their input alone and are computed again in backward.
    pub gradient_checkpointing: bool,
    /// Where that input waits for backward if it is not to wait on a device.
    pub offload: Option<Offload>,
}

impl Pass {
    /// Evaluation with an adapter.
    pub fn evaluation(adapter: Arc<dyn Adapter>) -> Self {
        Self { adapter, dropout: None, gradient_checkpointing: false, offload: None }
    }

    /// Evaluation of the base alone.
    pub fn base() -> Self {
        Self::evaluation(Arc::new(NoAdapter))
    }
}
