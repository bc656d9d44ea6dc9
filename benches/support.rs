//! Shared by the benchmarks: inputs.

use device::philox::Stream;

/// `len` standard normal values, the same for the same `seed`.
pub fn normal(len: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, 0, 0);
    (0..len as u64).map(|i| stream.normal(i)).collect()
}
