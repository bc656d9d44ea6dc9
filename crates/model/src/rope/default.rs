//! The frequencies of the paper: `inv_freq[j] = theta^(-2j / dim)`.

/// One frequency for each channel pair of `dim` rotated channels; an odd `dim` is rounded up.
pub(super) fn inverse_frequencies(theta: f64, dim: usize) -> Vec<f32> {
    powers(theta, dim).map(|power| 1.0 / power).collect()
}

/// `theta^(2j / dim)`, the wave lengths over 2 pi.
///
/// The power is computed in f64 and rounded: the f32 function of the system may differ from torch's in the last bit, and
/// nothing is nearer to all of them than the right value.
pub(super) fn powers(theta: f64, dim: usize) -> impl Iterator<Item = f32> {
    let theta = f64::from(theta as f32);
    (0..dim).step_by(2).map(move |i| theta.powf(f64::from(i as f32 / dim as f32)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        assert_eq!(inverse_frequencies(10000.0, 4), [1.0, 0.01]);
        // ceil(5 / 2) pairs, exponents 0, 2/5, 4/5.
        assert_eq!(inverse_frequencies(32.0, 5), [1.0, 0.25, 0.0625]);
    }
}
