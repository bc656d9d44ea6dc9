//! Starting values. Each is a pure function of the seed, the parameter's position among all parameters, and the element, so
//! that it depends neither on threads nor on what was drawn before.

use device::parallel;
use device::philox::Stream;

/// Streams of training use the step as their second coordinate; this one is no step's.
pub(crate) const INIT_STEP: u32 = u32::MAX;
/// Rows of 1024 values are filled at a time.
const BLOCK: usize = 1024;

/// Fills `values` uniformly in `[-bound, bound)`.
pub fn uniform(values: &mut [f32], bound: f32, seed: u64, parameter: usize) {
    fill(values, seed, parameter, |stream, i| (2.0 * stream.uniform(i) - 1.0) * bound);
}

/// Fills `values` from a normal distribution with mean 0.
pub fn normal(values: &mut [f32], standard_deviation: f32, seed: u64, parameter: usize) {
    fill(values, seed, parameter, |stream, i| stream.normal(i) * standard_deviation);
}

/// Fills `values` from a normal distribution with mean 0, cut off at twice its standard deviation.
pub fn truncated_normal(values: &mut [f32], standard_deviation: f32, seed: u64, parameter: usize) {
    /// Draws of one element lie this far apart, beyond every other element's first.
    const AGAIN: u64 = 1 << 40;
    fill(values, seed, parameter, |stream, i| {
        let draws = (0..).map(|draw| stream.normal(draw * AGAIN + i));
        let kept = draws.take(64).find(|value| value.abs() <= 2.0);
        // 64 misses have a probability of 1e-86.
        kept.unwrap_or(0.0) * standard_deviation
    });
}

fn fill(values: &mut [f32], seed: u64, parameter: usize, value: impl Fn(&Stream, u64) -> f32 + Sync) {
    let stream = Stream::new(seed, INIT_STEP, parameter as u32);
    parallel::rows_mut(values, 1, BLOCK, |start, block| {
        for (i, slot) in block.iter_mut().enumerate() {
            *slot = value(&stream, (start + i) as u64);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_their_distribution() {
        let mut values = vec![0.0; 1 << 16];
        uniform(&mut values, 0.25, 1, 0);
        assert!(values.iter().all(|v| (-0.25..0.25).contains(v)));
        let variance = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
        // bound^2 / 3 and standard_deviation^2; their standard errors at 65536 values are 0.35 % and 0.55 %, times five.
        assert!((variance(&values) / (0.0625 / 3.0) - 1.0).abs() <= 0.0175);
        normal(&mut values, 0.5, 1, 0);
        assert!((variance(&values) / 0.25 - 1.0).abs() <= 0.028);
        truncated_normal(&mut values, 0.5, 1, 0);
        assert!(values.iter().all(|v| v.abs() <= 1.0));
        // Cut off at 2, a normal variable has the variance 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.7737.
        assert!((variance(&values) / (0.25 * 0.7737) - 1.0).abs() <= 0.028);
    }

    #[test]
    fn a_parameter_is_the_same_whatever_its_length_and_differs_from_others() {
        let draw = |len, seed, parameter| {
            let mut values = vec![0.0; len];
            uniform(&mut values, 1.0, seed, parameter);
            values
        };
        assert_eq!(draw(5000, 7, 3)[..100], draw(100, 7, 3));
        assert_ne!(draw(100, 7, 3), draw(100, 7, 4));
        assert_ne!(draw(100, 7, 3), draw(100, 8, 3));
    }
}
