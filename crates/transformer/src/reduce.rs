//! Sums along a row, in a fixed order that vector registers can follow.

use device::simd::{Isa, LANES, max_lanes, sum_lanes};

/// Folds triples of elements into [`LANES`] accumulators with `step(sum, a, b, c)` and adds those in a fixed tree.
#[inline(always)]
pub(crate) fn fold(a: &[f32], b: &[f32], c: &[f32], step: impl Fn(f32, f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for ((a, b), c) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES)) {
        for i in 0..LANES {
            lanes[i] = step(lanes[i], a[i], b[i], c[i]);
        }
    }
    let rest = a.len() / LANES * LANES;
    let tail = a[rest..].iter().zip(&b[rest..]).zip(&c[rest..]);
    for (lane, ((&a, &b), &c)) in lanes.iter_mut().zip(tail) {
        *lane = step(*lane, a, b, c);
    }
    sum_lanes(lanes)
}

/// `sum_i a_i`.
#[inline(always)]
pub(crate) fn sum(a: &[f32]) -> f32 {
    fold(a, a, a, |sum, a, _, _| sum + a)
}

/// `sum_i a_i b_i`.
#[inline(always)]
pub(crate) fn dot<I: Isa>(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, b, |sum, a, b, _| I::mul_add(a, b, sum))
}

/// `sum_i a_i b_i c_i`.
#[inline(always)]
pub(crate) fn dot3<I: Isa>(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    fold(a, b, c, |sum, a, b, c| I::mul_add(a * b, c, sum))
}

/// The largest element; a NaN is passed over, and minus infinity is the largest of none.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let larger = |max: &mut f32, x: f32| *max = if x > *max { x } else { *max };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let blocks = a.chunks_exact(LANES);
    let rest = blocks.remainder();
    for a in blocks {
        for i in 0..LANES {
            larger(&mut lanes[i], a[i]);
        }
    }
    lanes.iter_mut().zip(rest).for_each(|(max, &x)| larger(max, x));
    max_lanes(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use device::simd::Separate;

    #[test]
    fn every_element_counts_once() {
        for len in [0, 1, 63, 64, 65, 200] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let ones = vec![1.0; len];
            // Integers below 2^24: exact in any order.
            let expected = (len * len.saturating_sub(1) / 2) as f32;
            assert_eq!(sum(&a), expected);
            assert_eq!(dot::<Separate>(&a, &ones), expected);
            assert_eq!(dot3::<Separate>(&ones, &a, &ones), expected);
            assert_eq!(max(&a), if len == 0 { f32::NEG_INFINITY } else { len as f32 - 1.0 });
        }
    }
}
