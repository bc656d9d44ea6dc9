//! The global gradient norm and what clipping makes of it.

use device::parallel;
use device::simd::{Isa, Kernel, dispatch};

/// Elements of one partial sum.
const BLOCK: usize = 1 << 16;

/// The 2-norm of all gradients, accumulated in f64 in a fixed order. NaN or infinite if a gradient is.
pub fn grad_norm(gradients: &[f32]) -> f64 {
    parallel::sum(gradients.len(), BLOCK, |part| dispatch(SumOfSquares(&gradients[part]))).sqrt()
}

struct SumOfSquares<'a>(&'a [f32]);

impl Kernel for SumOfSquares<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<I: Isa>(self) -> f64 {
        /// Four 512-bit registers of f64, so that additions overlap.
        const LANES: usize = 32;
        let mut lanes = [0.0f64; LANES];
        let blocks = self.0.chunks_exact(LANES);
        let rest = blocks.remainder();
        for block in blocks {
            for i in 0..LANES {
                // The square of an f32 is exact in f64.
                lanes[i] += f64::from(block[i]) * f64::from(block[i]);
            }
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, &g)| *lane += f64::from(g) * f64::from(g));
        lanes.iter().sum()
    }
}

/// The factor that brings gradients of norm `norm` down to `max_norm`, as `torch.nn.utils.clip_grad_norm_` computes it:
/// `min(max_norm / (norm + 1e-6), 1)` in f32. NaN for a NaN norm.
pub fn clip_coefficient(norm: f64, max_norm: f32) -> f32 {
    let coefficient = max_norm / (norm as f32 + 1e-6);
    // Not `f32::min`, which would turn NaN into 1.
    if coefficient > 1.0 { 1.0 } else { coefficient }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals() {
        assert_eq!(grad_norm(&[3.0, 4.0]), 5.0);
        assert_eq!(grad_norm(&[]), 0.0);
        // In f32 each square would overflow.
        assert!((grad_norm(&[3e30, 4e30]) / f64::from(5e30f32) - 1.0).abs() <= 1e-6);
        assert!(grad_norm(&[1.0, f32::NAN]).is_nan());
        assert_eq!(clip_coefficient(0.5, 1.0), 1.0);
        assert_eq!(clip_coefficient(4.0, 1.0), 1.0 / 4.000_001);
        assert!(clip_coefficient(f64::NAN, 1.0).is_nan());
        assert_eq!(clip_coefficient(f64::INFINITY, 1.0), 0.0);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let gradients: Vec<f32> = (0..300_001).map(|i| ((i * 37) % 1009) as f32 / 1009.0 - 0.5).collect();
        let [one, four] = [1, 4].map(|n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| grad_norm(&gradients))
        });
        assert_eq!(one.to_bits(), four.to_bits());
    }

    proptest! {
        #[test]
        fn clipped_gradients_are_within_the_limit(
            gradients in proptest::collection::vec(-1e3f32..1e3, 1..200),
            max_norm in 1e-3f32..1e3,
        ) {
            let norm = grad_norm(&gradients);
            let exact = gradients.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            // 200 additions in f64.
            prop_assert!((norm - exact).abs() <= 1e-13 * exact);
            let coefficient = clip_coefficient(norm, max_norm);
            let clipped: Vec<f32> = gradients.iter().map(|g| g * coefficient).collect();
            // One rounding of the coefficient and one of each product.
            prop_assert!(grad_norm(&clipped) <= f64::from(max_norm) * (1.0 + 2e-7));
            prop_assert!(coefficient == 1.0 || norm + 2e-6 >= f64::from(max_norm) * (1.0 - 1e-6));
        }
    }
}
