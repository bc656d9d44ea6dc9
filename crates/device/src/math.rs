//! Elementary functions in f32 that the compiler vectorises: no table, no branch, no call.
//!
//! For use inside a [`Kernel`](crate::simd::Kernel). Largest errors, found by comparing with f64 on dense grids (see the
//! tests): in units of the result's last place (ulp), or absolute where it says so.
//!
//! | function | largest error |
//! |---|---|
//! | [`exp`] | 1.1 ulp fused, 1.6 ulp separate |
//! | [`exp2`], up to 127 | 2.2e-7 relative |
//! | [`sigmoid`] | 3 ulp |
//! | [`tanh`] | 3 ulp |
//! | [`normal`] | 1.5e-7 absolute, 8 ulp in the tail down to -4 |
//!
//! The polynomials are weighted minimax fits (Lawson's iteration on Chebyshev nodes, in f64), rounded to f32.

use crate::simd::Isa;

/// Evaluates `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
#[inline(always)]
fn polynomial<I: Isa, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        value = I::mul_add(value, x, coefficients[i]);
    }
    value
}

/// `e^x`; 0 below -104, infinite above 88.73, NaN for NaN. Results down to the smallest subnormal are rounded as usual.
#[inline(always)]
pub fn exp<I: Isa>(x: f32) -> f32 {
    /// `ln 2` in two parts: the first has 9 significant bits, so that its product with an integer is exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    /// 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-104.0, 89.0);
    let rounded = I::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = I::mul_add(n, -LN_2[1], I::mul_add(n, -LN_2[0], x));
    // e^r = 1 + r + r^2 p(r) for |r| <= ln 2 / 2, relative error of the fit 3.1e-9.
    let p = polynomial::<I, 5>(r, [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_745, 0.001_381_454]);
    let mantissa = I::mul_add(r * r, p, r) + 1.0;
    // 2^n in two factors, each a normal number for every n in -150..=128.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    mantissa * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `2^x` for `x <= 127`: all that a softmax needs of the exponential, once scores are in units of `ln 2`. Exactly 1 at 0,
/// exactly 0 below -126.5 and at minus infinity, NaN for NaN.
///
/// Half the time of [`exp`], which it cannot replace: multiplying by `log2 e` first would make the relative error grow with
/// `x`, and results below the smallest normal number are 0.
#[inline(always)]
pub fn exp2<I: Isa>(x: f32) -> f32 {
    /// 1.5 * 2^23 rounds what is added to it to an integer, which then stands in the low bits; the other summand is the
    /// bias of an f32's exponent.
    const ROUND: f32 = 12_582_912.0 + 127.0;
    // At the bound the exponent field is 0, and so is the factor. The comparison lets NaN pass.
    let x = if x < -127.0 { -127.0 } else { x };
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    // 2^r = 1 + r (ln 2 + r p(r)) for |r| <= 1/2, relative error of the fit 1.1e-7.
    let p =
        polynomial::<I, 5>(r, [std::f32::consts::LN_2, 0.240_222_83, 0.055_505_585, 0.009_669_691, 0.001_330_060_5]);
    I::mul_add(r, p, 1.0) * f32::from_bits(rounded.to_bits() << 23)
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `1 / (1 + e^-x)` and its complement `1 - sigmoid(x)`, which keeps its relative accuracy where sigmoid is near 1.
#[inline(always)]
pub fn sigmoid<I: Isa>(x: f32) -> (f32, f32) {
    // Above the bound the complement is below 2^-126; below it, sigmoid is. Their product stays finite.
    let e = exp::<I>((-x).clamp(-87.0, 87.0));
    let s = 1.0 / (1.0 + e);
    (s, e * s)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<I: Isa>(x: f32) -> f32 {
    let magnitude = x.abs();
    // Near zero: x + x^3 p(x^2), relative error of the fit 1.0e-9.
    let square = x * x;
    let p = polynomial::<I, 5>(square, [-0.333_333_16, 0.133_325_86, -0.053_852_31, 0.021_071_68, -0.006_274_24]);
    let near = I::mul_add(magnitude * square, p, magnitude);
    // Elsewhere: 1 - 2 / (e^2|x| + 1).
    let far = 1.0 - 2.0 / (exp::<I>(2.0 * magnitude) + 1.0);
    (if magnitude < 0.55 { near } else { far }).copysign(x)
}

/// The standard normal distribution at `x`: `(cdf, density)`, that is
/// `(erfc(-x / sqrt 2) / 2, e^(-x^2 / 2) / sqrt(2 pi))`.
#[inline(always)]
pub fn normal<I: Isa>(x: f32) -> (f32, f32) {
    /// `1 / sqrt(2 pi)`.
    const PEAK: f32 = 0.398_942_3;
    // Beyond 15 both tails are 0 in f32. The comparison passes over NaN; callers multiply by x, which brings it back.
    let t = if x.abs() < 15.0 { x.abs() } else { 15.0 };
    let e = exp::<I>(-0.5 * t * t);
    // The tail is e^(-t^2 / 2) M(t), where (t + 3) M(t) is a polynomial in (t - 3) / (t + 3): relative error 3.7e-8.
    let inverse = 1.0 / (t + 3.0);
    let p = polynomial::<I, 9>(
        (t - 3.0) * inverse,
        [
            0.729_083_66,
            -0.509_332_2,
            0.230_019_21,
            -0.047_257_69,
            -0.010_479_267,
            0.006_931_913_6,
            0.001_077_950_5,
            -0.000_915_093_6,
            -0.000_274_585_15,
        ],
    );
    let tail = e * p * inverse;
    (if x > 0.0 { 1.0 - tail } else { tail }, PEAK * e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Fused, Separate};

    /// Distance in units of the last place of `expected` as an f32.
    fn ulps(got: f32, expected: f64) -> f64 {
        let nearest = expected.abs() as f32;
        let spacing = f64::from(f32::from_bits(nearest.to_bits() + 1)) - f64::from(nearest);
        (f64::from(got) - expected).abs() / spacing
    }

    fn grid(low: f32, high: f32) -> impl Iterator<Item = f32> {
        let n = 400_000;
        (0..=n).map(move |i| low + (high - low) * (i as f32 / n as f32))
    }

    fn largest(points: impl Iterator<Item = f32>, error: impl Fn(f32) -> f64) -> f64 {
        // A NaN stays.
        points.map(error).fold(0.0, |max: f64, e| if e <= max || max.is_nan() { max } else { e })
    }

    /// Taylor series of erf, or the continued fraction of erfc where the series would cancel: the cdf in f64.
    fn normal_cdf(x: f64) -> f64 {
        let z = x.abs() / std::f64::consts::SQRT_2;
        let tail = if z < 2.5 {
            let mut term = z;
            let mut sum = z;
            for n in 1..80 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            0.5 - sum / std::f64::consts::PI.sqrt()
        } else {
            let fraction = (1..80).rev().fold(z, |f, k| z + 0.5 * f64::from(k) / f);
            0.5 * (-z * z).exp() / (fraction * std::f64::consts::PI.sqrt())
        };
        if x > 0.0 { 1.0 - tail } else { tail }
    }

    #[test]
    fn exp_is_accurate() {
        let fused = largest(grid(-103.9, 88.72), |x| ulps(exp::<Fused>(x), f64::from(x).exp()));
        let separate = largest(grid(-103.9, 88.72), |x| ulps(exp::<Separate>(x), f64::from(x).exp()));
        assert!(fused <= 1.1 && separate <= 1.6, "{fused} {separate}");
        assert_eq!(exp::<Fused>(0.0), 1.0);
        assert_eq!(exp::<Fused>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<Fused>(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp::<Fused>(88.9), f32::INFINITY);
        assert!(exp::<Fused>(f32::NAN).is_nan());
    }

    #[test]
    fn exp2_is_accurate() {
        let relative = |got: f32, x: f32| (f64::from(got) / f64::from(x).exp2() - 1.0).abs();
        let points = || (0..=4_000_000).map(|i| 127.0 - 253.0 * (i as f32 / 4e6));
        let fused = largest(points(), |x| relative(exp2::<Fused>(x), x));
        let separate = largest(points(), |x| relative(exp2::<Separate>(x), x));
        assert!(fused <= 2.2e-7 && separate <= 2.2e-7, "{fused:e} {separate:e}");
        assert_eq!(exp2::<Fused>(0.0), 1.0);
        assert_eq!(exp2::<Fused>(-1.0), 0.5);
        assert_eq!(exp2::<Separate>(-126.0), f32::MIN_POSITIVE);
        for x in [-126.6, -127.0, -200.0, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp2::<Fused>(x).to_bits(), 0, "{x}");
        }
        assert!(exp2::<Fused>(f32::NAN).is_nan() && exp2::<Separate>(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_and_tanh_are_accurate() {
        let s = largest(grid(-80.0, 80.0), |x| ulps(sigmoid::<Fused>(x).0, 1.0 / (1.0 + (-f64::from(x)).exp())));
        let c = largest(grid(-80.0, 80.0), |x| ulps(sigmoid::<Fused>(x).1, 1.0 / (1.0 + f64::from(x).exp())));
        let t = largest(grid(-12.0, 12.0).chain(grid(-1.0, 1.0)), |x| ulps(tanh::<Fused>(x), f64::from(x).tanh()));
        let t2 = largest(grid(-12.0, 12.0).chain(grid(-1.0, 1.0)), |x| ulps(tanh::<Separate>(x), f64::from(x).tanh()));
        assert!(s <= 3.0 && c <= 3.0 && t <= 3.0 && t2 <= 3.0, "{s} {c} {t} {t2}");
        assert_eq!(sigmoid::<Fused>(f32::INFINITY).0, 1.0);
        assert_eq!(tanh::<Fused>(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh::<Fused>(-0.0).to_bits(), (-0.0f32).to_bits());
        assert!(tanh::<Fused>(f32::NAN).is_nan() && sigmoid::<Fused>(f32::NAN).0.is_nan());
    }

    #[test]
    fn normal_is_accurate() {
        let cdf = largest(grid(-16.0, 16.0), |x| (f64::from(normal::<Fused>(x).0) - normal_cdf(x.into())).abs());
        // Relative, where the tail is the smaller side: e^(-t^2 / 2) carries the rounding of t^2.
        let tail = largest(grid(-4.0, 0.0), |x| ulps(normal::<Fused>(x).0, normal_cdf(x.into())));
        let density = largest(grid(-16.0, 16.0), |x| {
            let exact = (-0.5 * f64::from(x).powi(2)).exp() / std::f64::consts::TAU.sqrt();
            (f64::from(normal::<Fused>(x).1) - exact).abs()
        });
        assert!(cdf <= 1.5e-7 && density <= 1e-7 && tail <= 8.0, "{cdf:e} {density:e} {tail}");
        assert_eq!(normal::<Fused>(0.0).0, 0.5);
        assert_eq!(normal::<Fused>(f32::NEG_INFINITY), (0.0, 0.0));
    }
}
