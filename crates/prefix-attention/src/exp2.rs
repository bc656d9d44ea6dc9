//! `2^x` for `x <= 0`: all that a softmax needs of the exponential, once scores are in units of `ln 2`.

use std::f32::consts::LN_2;

use device::simd::Isa;

/// `2^x` for `x <= 0.5`, with a relative error of at most 2.2e-7; exactly 1 at 0, exactly 0 below -126.5 and at minus
/// infinity, NaN for NaN.
///
/// `x = n + r` with an integer `n` and `|r| <= 1/2`; `2^r = 1 + r (ln 2 + r p(r))`, where `p` is the minimax fit of
/// degree 3 (Lawson's iteration on Chebyshev nodes in f64; relative error of `2^r` 1.1e-7 before rounding).
#[inline(always)]
pub(crate) fn exp2<I: Isa>(x: f32) -> f32 {
    /// 1.5 * 2^23 rounds what is added to it to an integer, which then stands in the low bits; the other summand is the
    /// bias of an f32's exponent.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    // At the bound the exponent field is 0, and so is the factor. The comparison lets NaN pass.
    let x = if x < -127.0 { -127.0 } else { x };
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let p = I::mul_add(r, 0.001_330_060_5, 0.009_669_691);
    let p = I::mul_add(r, p, 0.055_505_585);
    let p = I::mul_add(r, p, 0.240_222_83);
    let p = I::mul_add(r, p, LN_2);
    let mantissa = I::mul_add(r, p, 1.0);
    mantissa * f32::from_bits(rounded.to_bits() << 23)
}

#[cfg(test)]
mod tests {
    use super::*;
    use device::simd::{Fused, Separate};

    #[test]
    fn error_bound_on_a_dense_grid() {
        let error = |got: f32, x: f32| (f64::from(got) / f64::from(x).exp2() - 1.0).abs();
        for i in 0..=4_000_000 {
            let x = 0.5 - 126.5 * (i as f32 / 4e6);
            let (fused, separate) = (error(exp2::<Fused>(x), x), error(exp2::<Separate>(x), x));
            assert!(fused <= 2.2e-7 && separate <= 2.2e-7, "{x}: {fused:e} {separate:e}");
        }
    }

    #[test]
    fn special_values() {
        assert_eq!(exp2::<Fused>(0.0), 1.0);
        assert_eq!(exp2::<Fused>(-1.0), 0.5);
        assert_eq!(exp2::<Separate>(-126.0), f32::MIN_POSITIVE);
        for x in [-126.6, -127.0, -200.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp2::<Fused>(x).to_bits(), 0, "{x}");
        }
        assert!(exp2::<Fused>(f32::NAN).is_nan() && exp2::<Separate>(f32::NAN).is_nan());
    }
}
