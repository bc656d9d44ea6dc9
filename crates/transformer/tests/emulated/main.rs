//! The kernels, emulated, against the CPU implementation.

mod columns;
mod cross_entropy;
mod elementwise;
mod gated;
mod gated_scaled;
mod layer_norm;
mod linear_cross_entropy;
mod pointwise;
mod rms_norm;
mod rope;
mod rows;
mod sequences;
mod sums;

use device::DType;
use device::launch::testing::{self, BF16_UNIT, UNIT};

/// What kernels take: f32 or bf16.
fn dtype(wide: bool) -> DType {
    if wide { DType::F32 } else { DType::BF16 }
}

fn values(len: usize, seed: u64, site: u32) -> Vec<f32> {
    testing::normal(DType::F32, len, seed, site)
}

/// Fails unless `|got - expected| <= bound(i)`, plus the rounding of `expected` to `dtype`; a NaN fails.
#[track_caller]
fn assert_within(dtype: DType, got: &[f32], expected: &[f32], bound: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let stored = if dtype == DType::BF16 { BF16_UNIT * (f64::from(expected).abs() + bound(i)) } else { 0.0 };
        let difference = (f64::from(got) - f64::from(expected)).abs();
        assert!(difference <= bound(i) + stored, "element {i}: {got:e}, expected {expected:e}, bound {:e}", bound(i));
    }
}
