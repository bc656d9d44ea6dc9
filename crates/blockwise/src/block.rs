//! One block.

use crate::DynamicMap;

/// Numbers that share a scale, at most.
pub const BLOCK_SIZE: usize = 256;

/// Writes the codes of a block and returns its `absmax`.
///
/// Values are multiplied by the rounded reciprocal of `absmax`. A block of zeros gets code 0 everywhere, which stands for zero
/// there. NaN is passed over by `absmax` and gets code 0.
///
/// # Panics
/// If there is not a code for each number.
#[inline(always)]
pub fn quantize_block(map: &DynamicMap, x: &[f32], codes: &mut [u8]) -> f32 {
    assert_eq!(x.len(), codes.len(), "a code for each number");
    // `max` passes over NaN.
    let absmax = x.iter().fold(0.0, |max, x| f32::max(max, x.abs()));
    if absmax == 0.0 {
        codes.fill(0);
        return absmax;
    }
    let factor = 1.0 / absmax;
    codes.iter_mut().zip(x).for_each(|(code, x)| *code = map.code(x * factor));
    absmax
}

/// Writes what the codes of a block stand for.
///
/// # Panics
/// If there is not a code for each number.
#[inline(always)]
pub fn dequantize_block(map: &DynamicMap, codes: &[u8], absmax: f32, x: &mut [f32]) {
    assert_eq!(x.len(), codes.len(), "a code for each number");
    x.iter_mut().zip(codes).for_each(|(x, code)| *x = map.value(*code) * absmax);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_error_is_at_most_half_a_gap(x in proptest::collection::vec(-1e3f32..1e3, 1..BLOCK_SIZE)) {
            for (map, x) in [(DynamicMap::signed(), x.clone()), (DynamicMap::unsigned(), x.iter().map(|x| x.abs()).collect())] {
                let (mut codes, mut y) = (vec![9; x.len()], vec![f32::NAN; x.len()]);
                let absmax = quantize_block(map, &x, &mut codes);
                dequantize_block(map, &codes, absmax, &mut y);
                // The widest half gap is (0.1070 - 0.0986) / 2 within the signed map, 0.00703 at its ends; then half a step, and
                // rounding. -1 has no value of its own and lies 0.00703 from the first.
                prop_assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= 0.0072 * absmax), "{:?} became {:?}", x, y);
                let mut again = vec![9; x.len()];
                let largest = quantize_block(map, &y, &mut again);
                prop_assert!(largest <= absmax && largest >= 0.99 * absmax);
            }
        }
    }

    #[test]
    fn zeros_and_undefined_values() {
        let mut codes = [9; 3];
        assert_eq!((quantize_block(DynamicMap::signed(), &[0.0, -0.0, 0.0], &mut codes), codes), (0.0, [0; 3]));
        let absmax = quantize_block(DynamicMap::signed(), &[f32::NAN, 1.0, -0.5], &mut codes);
        assert_eq!((absmax, codes[0], codes[1]), (1.0, 0, 255));
        let mut x = [f32::NAN; 3];
        dequantize_block(DynamicMap::unsigned(), &[0, 255, 254], 0.0, &mut x);
        assert_eq!(x, [0.0; 3]);
        quantize_block(DynamicMap::signed(), &[], &mut []);
    }
}
