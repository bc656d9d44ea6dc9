//! What a hook of an adapter may ask about the pass it is called in.

use std::sync::Arc;

use device::philox::Stream;
use tensor::Sequences;

use crate::{ModuleId, ResidualId};

/// The key of a training pass's random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// The run's seed.
    pub seed: u64,
    /// Number of the forward pass in the run, micro-batches counted, so that no two passes share a mask.
    pub step: u32,
}

impl Dropout {
    /// The stream of one module's mask in this pass; its elements are those of the module's input.
    pub fn stream(&self, module: ModuleId) -> Stream {
        Stream::new(self.seed, self.step, module.index() as u32)
    }

    /// The stream of the mask at one residual connection in this pass. They are numbered down from the last, apart from
    /// those of modules.
    pub fn residual_stream(&self, residual: ResidualId) -> Stream {
        Stream::new(self.seed, self.step, u32::MAX - residual.index() as u32)
    }
}

/// The packed batch that a pass computes.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the sequences start and end.
    pub sequences: Arc<Sequences>,
    /// The position of each token in its sequence.
    pub positions: Arc<[u32]>,
    /// Set while training; `None` means that nothing is dropped.
    pub dropout: Option<Dropout>,
}
