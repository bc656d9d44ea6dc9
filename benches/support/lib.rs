//! Shared by the benchmarks: inputs, times beside the roofline, and the GPU.
//!
//! | environment variable | meaning |
//! |---|---|
//! | `TUNESMITH_BENCH_DEVICE` | what is timed: `cpu`, `cuda:N` or `emulated`; the CPU and the first GPU if it is not set |
//! | `TUNESMITH_BENCH_SHAPES` | a file like `reference_shapes.json` with the sizes that are timed on the GPU |
//! | `TUNESMITH_BENCH_RESULTS` | a file that one line of JSON is added to for each benchmark |

mod cpu;
mod gpu;
mod results;
mod roofline;
mod shapes;
mod suite;

pub use gpu::Gpu;
pub use roofline::Roofline;
pub use shapes::{Attention, Linear, Shapes};
pub use suite::{Suite, Timer};

use device::philox::Stream;

/// `len` standard normal values, the same for the same `seed`.
pub fn normal(len: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, 0, 0);
    (0..len as u64).map(|i| stream.normal(i)).collect()
}
