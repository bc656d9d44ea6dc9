//! The GPU, or what stands for it.

use std::sync::OnceLock;

use device::launch::{DeviceBuffer, Event, Executor};
use device::{DType, Device, cuda};
use half::bf16;

use crate::{Roofline, normal};

/// Twice what the caches of current GPUs hold: 50 MiB on an H100.
const ROTATED_BYTES: usize = 128 << 20;
/// More sets of small operands than this serve nothing.
const MOST_SETS: usize = 64;
/// Normal values that are repeated in an operand: their variance, and so the power that a product draws, is that of real
/// ones, and drawing all of them would take longer than the measurement.
const DRAWN: usize = 1 << 20;
const COPIED_BYTES: usize = 512 << 20;

const CPU: &str = "cpu";

/// The device that is timed alone.
fn chosen() -> Option<String> {
    std::env::var("TUNESMITH_BENCH_DEVICE").ok()
}

/// Whether the CPU's functions are timed.
pub(crate) fn times_cpu() -> bool {
    chosen().is_none_or(|name| name == CPU)
}

/// Where kernels are timed.
#[derive(Debug)]
pub struct Gpu {
    executor: Executor,
    name: String,
    /// Dense bf16 operations a second that large products sustain, where they are known.
    flops_per_s: Option<f64>,
}

impl Gpu {
    /// The GPU that `TUNESMITH_BENCH_DEVICE` names, or the first one. `None`, said once, where there is none.
    ///
    /// # Panics
    /// If the device that was named cannot be used.
    pub fn find() -> Option<&'static Self> {
        static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
        GPU.get_or_init(|| match chosen().as_deref() {
            Some(CPU) => None,
            Some(name) => Some(Self::open(name.parse::<Device>().unwrap_or_else(|error| panic!("{error}")))),
            None => match cuda::probe() {
                Ok(_) => Some(Self::open(Device::Cuda(0))),
                Err(missing) => {
                    println!("kernels are not timed: {missing}");
                    None
                }
            },
        })
        .as_ref()
    }

    fn open(device: Device) -> Self {
        let executor = Executor::for_device(device).unwrap_or_else(|error| panic!("{error}"));
        let gpus = cuda::probe().unwrap_or_default();
        let gpu = gpus.into_iter().find(|gpu| device == Device::Cuda(gpu.ordinal));
        let flops_per_s = gpu.as_ref().and_then(|gpu| match gpu.compute_capability {
            (9, 0) => Some(800e12),
            (8, 0) => Some(280e12),
            _ => None,
        });
        let name = gpu.map_or(device.to_string(), |gpu| gpu.name);
        Self { executor, name, flops_per_s }
    }

    /// The same GPU with another executor of it.
    pub fn with_executor(&self, executor: Executor) -> Self {
        Self { executor, name: self.name.clone(), ..*self }
    }

    /// Where launches go.
    pub fn executor(&self) -> &Executor {
        &self.executor
    }

    /// Its marketing name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn record(&self) -> Event {
        self.executor.record().unwrap_or_else(|error| panic!("{error}"))
    }

    /// As many sets of operands, made by `make`, as exceed the cache together; `bytes` is what one takes.
    pub fn sets<T>(&self, bytes: usize, make: impl FnMut(usize) -> T) -> Vec<T> {
        (0..(ROTATED_BYTES / bytes.max(1) + 1).min(MOST_SETS)).map(make).collect()
    }

    /// A buffer of normal values.
    ///
    /// # Panics
    /// If the memory cannot be had.
    pub fn normal(&self, dtype: DType, len: usize, seed: u64) -> DeviceBuffer {
        let drawn = normal(DRAWN.min(len), seed).into_iter().cycle().take(len);
        let uploaded = match dtype {
            DType::F32 => self.executor.upload(&drawn.collect::<Vec<f32>>()),
            _ => self.executor.upload(&drawn.map(bf16::from_f32).collect::<Vec<_>>()),
        };
        uploaded.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A buffer for results.
    ///
    /// # Panics
    /// If the memory cannot be had.
    pub fn empty(&self, dtype: DType, len: usize) -> DeviceBuffer {
        self.executor.allocate(len * dtype.size_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Its peak by the table above, and the rate of a copy, measured once.
    pub(crate) fn roofline(&self) -> Roofline {
        static BYTES_PER_S: OnceLock<f64> = OnceLock::new();
        Roofline { flops_per_s: self.flops_per_s, bytes_per_s: *BYTES_PER_S.get_or_init(|| self.copy()) }
    }

    fn copy(&self) -> f64 {
        let [from, mut to] = [(); 2].map(|()| self.empty(DType::BF16, COPIED_BYTES / 4));
        let seconds = (0..6).map(|_| {
            let start = self.record();
            to.copy_from(&from).unwrap_or_else(|error| panic!("{error}"));
            self.record().since(&start).expect("both are of this GPU").as_secs_f64()
        });
        COPIED_BYTES as f64 / seconds.skip(1).fold(f64::INFINITY, f64::min)
    }
}
