//! Ops on a device, emulated or a GPU (`TUNESMITH_TEST_DEVICE`): what they compute and their gradients against the CPU.
//!
//! Bounds are of the relative difference in the 2-norm. f32 results differ by the order of sums: `n eps` with eps = 6e-8 and
//! sums of at most a few hundred terms, whose terms do not cancel to less than a tenth. With bf16 each rounding of a stored
//! value contributes `2^-9` of its norm; the CPU keeps f32 between.

mod ops;

use device::DType;
use device::launch::testing;
use tunesmith_tensor::gradcheck::parity;
use tunesmith_tensor::{Result, Shape, Tensor};

/// Checks `f` in both types. `roundings` is how many values one after the other are rounded to bf16 on the way from the inputs
/// to a gradient, counted generously where they are amplified.
fn check(op: &str, roundings: u32, inputs: &[(Shape, Vec<f32>)], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    for (dtype, bound) in [(DType::F32, 1e-5), (DType::BF16, f64::from(roundings) / 512.0)] {
        let worst = parity(testing::device(), dtype, inputs, &f).unwrap();
        assert!(worst <= bound, "{op} in {dtype}: {worst:e}, bound {bound:e}");
    }
}
