//! The kernels that a step launches on a GPU, and the least time that they can take.
//!
//! They are those that a [`DryStep`] notes for the rows of step 1; the time is a floor, not a measurement.

use std::collections::BTreeMap;

use device::launch::{Architecture, Launched, Work};
use serde::Serialize;

use super::dry::{DeviceMemory, DryStep};

/// What a GPU can do at best.
struct Rates {
    /// Multiply-adds of bf16 on tensor cores, in operations a second.
    bf16: f64,
    /// Of f32 without them.
    f32: f64,
    bytes: f64,
}

impl Rates {
    /// Of an A100 (80 GB) and of an H100, both SXM: operations by their data sheets (of the H100's bf16, what large products
    /// sustain), bytes as copies reach them.
    fn of(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Ampere => Self { bf16: 312e12, f32: 19.5e12, bytes: 1.75e12 },
            Architecture::Hopper => Self { bf16: 800e12, f32: 67e12, bytes: 3.0e12 },
        }
    }

    /// The least time of a launch.
    fn seconds(&self, launch: &Launched) -> f64 {
        let Work { flops, bytes } = launch.grid.work;
        let of_flops = if launch.kernel.ends_with("_bf16") { self.bf16 } else { self.f32 };
        (flops as f64 / of_flops).max(bytes as f64 / self.bytes)
    }
}

/// All launches of one kernel in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KernelWork {
    /// How many.
    pub launches: usize,
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read or written at least.
    pub bytes: u64,
    /// The least time, by what bounds each launch.
    pub floor_us: f64,
}

/// One step on a GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelPlan {
    /// Of the GPU.
    pub architecture: &'static str,
    /// By kernel.
    pub kernels: BTreeMap<&'static str, KernelWork>,
    /// Of all kernels.
    pub total: KernelWork,
    /// Tokens of the step.
    pub tokens: usize,
    /// Device memory that the step takes, with weights, gradients and the optimizer's state.
    pub peak_bytes: u64,
    /// The same by item, for the largest step.
    pub memory: DeviceMemory,
}

impl KernelPlan {
    /// Of what was noted of a step on a GPU of `architecture`.
    pub fn new(step: &DryStep, architecture: Architecture) -> Self {
        Self::of(&step.launches, architecture, step.tokens, step.memory)
    }

    fn of(launches: &[Launched], architecture: Architecture, tokens: usize, memory: DeviceMemory) -> Self {
        let rates = Rates::of(architecture);
        let mut kernels: BTreeMap<&'static str, KernelWork> = BTreeMap::new();
        for launch in launches {
            let Work { flops, bytes } = launch.grid.work;
            let work = KernelWork { launches: 1, flops, bytes, floor_us: 1e6 * rates.seconds(launch) };
            kernels.entry(launch.kernel).or_default().add(&work);
        }
        let mut total = KernelWork::default();
        kernels.values().for_each(|work| total.add(work));
        Self { architecture: architecture.name(), kernels, total, tokens, peak_bytes: memory.total(), memory }
    }

    /// The longest first.
    pub fn by_time(&self) -> Vec<(&'static str, KernelWork)> {
        let mut kernels: Vec<_> = self.kernels.iter().map(|(name, work)| (*name, *work)).collect();
        kernels.sort_by(|(_, a), (_, b)| b.floor_us.total_cmp(&a.floor_us));
        kernels
    }

    /// Tokens a second if every launch took its least time and nothing else did.
    pub fn tokens_per_second(&self) -> f64 {
        1e6 * self.tokens as f64 / self.total.floor_us.max(f64::MIN_POSITIVE)
    }
}

impl KernelWork {
    fn add(&mut self, other: &Self) {
        self.launches += other.launches;
        self.flops = self.flops.saturating_add(other.flops);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.floor_us += other.floor_us;
    }
}

#[cfg(test)]
mod tests {
    use device::launch::Grid;

    use super::*;

    #[test]
    fn the_slower_of_operations_and_bytes_is_the_floor() {
        let launch = |kernel, flops, bytes| Launched { kernel, grid: Grid::linear(1, 32).doing(Work { flops, bytes }) };
        let launches = [
            launch("gemm_bf16", 800_000_000, 3),
            launch("norm_f32", 3, 6_000_000),
            launch("gemm_bf16", 1_600_000_000, 3),
        ];
        let plan = KernelPlan::of(&launches, Architecture::Hopper, 10, DeviceMemory::default());
        let gemm = KernelWork { launches: 2, flops: 2_400_000_000, bytes: 6, floor_us: 3.0 };
        assert_eq!(plan.by_time(), [("gemm_bf16", gemm), ("norm_f32", plan.kernels["norm_f32"])]);
        assert_eq!((plan.total.launches, plan.total.flops), (3, 2_400_000_003));
        // 3 us of operations and 2 us of bytes: sums of numbers that a binary fraction does not hold.
        assert!((plan.total.floor_us - 5.0).abs() <= 1e-9 && (plan.tokens_per_second() - 2e6).abs() <= 1e-3);
    }
}
