//! A step on a device that notes what a GPU would do: what it launches, and how much of the device's memory it takes.
//!
//! The step is taken by the program's own code on a [dry](Device::Dry) device, so both are those of a real one, but for what an
//! allocator of another device rounds up to.

use data::Batch;
use device::Device;
use device::launch::{Architecture, Executor, GRAPH_NODE_BYTES, Launched};
use serde::Serialize;

use crate::Error;
use crate::config::Config;
use crate::run::base_model::BaseModel;
use crate::run::rows::Rows;
use crate::run::steps::Steps;

/// Memory of a device by item, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceMemory {
    /// Weights of the base, as they are held there.
    pub base_weights: u64,
    /// Trainable parameters.
    pub trainable_parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// Both moments of AdamW, and what else is kept from step to step.
    pub optimizer: u64,
    /// What a step takes besides at its peak: what backward needs of the forward pass, and intermediate results.
    pub activations: u64,
    /// What a GPU's driver keeps for the launches of a step, about.
    pub cuda_graphs: u64,
    /// Memory of the host that the device copies from and to, which the system cannot take back: no part of the peak.
    pub page_locked: u64,
}

impl DeviceMemory {
    /// All items: the peak.
    pub fn total(&self) -> u64 {
        self.items().iter().map(|(_, bytes)| bytes).sum()
    }

    /// The part of it that the program asks for itself.
    pub fn allocated(&self) -> u64 {
        self.total() - self.cuda_graphs
    }

    /// The same on a device that keeps nothing for graphs.
    pub(super) fn without_graphs(self) -> Self {
        Self { cuda_graphs: 0, ..self }
    }

    /// Each item of the device's with its name, as it is told.
    pub fn items(&self) -> [(&'static str, u64); 6] {
        [
            ("base weights", self.base_weights),
            ("trainable parameters", self.trainable_parameters),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("activations", self.activations),
            ("CUDA graphs", self.cuda_graphs),
        ]
    }
}

/// What was noted.
pub struct DryStep {
    /// Launches of a step, but for what only the first one does.
    pub launches: Vec<Launched>,
    /// Tokens of that step.
    pub tokens: usize,
    /// Memory of the largest step there can be.
    pub memory: DeviceMemory,
}

impl DryStep {
    /// For `config` over `rows` on a GPU of `architecture`. `base` is what and where it was afterwards.
    ///
    /// # Errors
    /// A method or an op that the device cannot compute.
    pub fn take(config: &Config, base: &mut BaseModel, rows: &Rows, architecture: Architecture) -> Result<Self, Error> {
        let held = base.task.base().held();
        let step = Self::take_there(config, base, rows, architecture);
        base.task.base_mut().restore(held);
        step
    }

    fn take_there(
        config: &Config,
        base: &mut BaseModel,
        rows: &Rows,
        architecture: Architecture,
    ) -> Result<Self, Error> {
        let device = Device::Dry(architecture);
        let executor = Executor::for_device(device)?;
        executor.trim()?;
        executor.reset_peaks();
        let before = executor.pool_stats().live_bytes;
        base.place(config.model.storage(), device)?;
        let base_weights = executor.pool_stats().live_bytes.saturating_sub(before);

        let mut steps = Steps::new(config, base)?;
        let kept = executor.pool_stats().live_bytes.saturating_sub(before);
        let batches = rows.micro_batches(1)?;
        // What the first step makes once, as copies of adapters in another type, the second has.
        let mut launches = Vec::new();
        for _ in 0..2 {
            executor.take_launches();
            steps.take(&batches)?;
            launches = executor.take_launches();
        }
        let while_loading = executor.peak_page_locked_bytes();
        executor.reset_peaks();
        let largest: Vec<Batch> = vec![rows.largest_batch(config)?];
        steps.take(&largest)?;
        let peak = executor.pool_stats().peak_live_bytes.saturating_sub(before);

        let parameters = (steps.method().parameters().count() * size_of::<f32>()) as u64;
        let memory = DeviceMemory {
            base_weights: base_weights as u64,
            trainable_parameters: parameters,
            gradients: parameters,
            optimizer: (kept.saturating_sub(base_weights) as u64).saturating_sub(2 * parameters),
            activations: peak.saturating_sub(kept) as u64,
            cuda_graphs: if config.training.cuda_graphs { (launches.len() * GRAPH_NODE_BYTES) as u64 } else { 0 },
            page_locked: while_loading.max(executor.peak_page_locked_bytes()) as u64,
        };
        Ok(Self { launches, tokens: batches.iter().map(Batch::num_tokens).sum(), memory })
    }
}
