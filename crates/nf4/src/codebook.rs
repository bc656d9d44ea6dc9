//! The values that codes stand for, written once.

/// What each 4-bit code stands for, in units of its block's `absmax`: NormalFloat4, information-theoretically optimal for
/// normally distributed weights. Source: Dettmers et al. 2023, "QLoRA", appendix E.
pub const CODEBOOK: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// A value gets the code that says how many of these are below it. They are bitsandbytes' roundings of the midpoints of
/// [`CODEBOOK`], some of which differ from ours in the last place.
pub(crate) const THRESHOLDS: [f32; 15] = [
    -0.848_096_4,
    -0.610_632_9,
    -0.459_995_27,
    -0.339_679_42,
    -0.234_607_4,
    -0.137_911_74,
    -0.045_525_018,
    0.039_790_15,
    0.120_255_25,
    0.203_521_25,
    0.292_013_76,
    0.389_312_54,
    0.501_663_45,
    0.642_786_9,
    0.861_478_45,
];

/// The code of a value in units of `absmax`. NaN gets 15, as on bitsandbytes' CPU; its block's `absmax` is NaN too.
#[inline(always)]
pub(crate) fn code(x: f32) -> u8 {
    let mut code = 15u32;
    for threshold in THRESHOLDS {
        code -= u32::from(x <= threshold);
    }
    code as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_lie_between_the_values_they_part() {
        for (i, threshold) in THRESHOLDS.into_iter().enumerate() {
            let middle = (f64::from(CODEBOOK[i]) + f64::from(CODEBOOK[i + 1])) / 2.0;
            // Two units of the last place of 1.
            assert!((f64::from(threshold) - middle).abs() <= 1.2e-7, "{i}");
            let above = f32::from_bits(threshold.to_bits().wrapping_add_signed(if threshold > 0.0 { 1 } else { -1 }));
            assert_eq!((code(threshold), code(above)), (i as u8, i as u8 + 1));
        }
    }

    #[test]
    fn codes_of_values_are_themselves() {
        for (i, value) in CODEBOOK.into_iter().enumerate() {
            assert_eq!(code(value), i as u8);
        }
        assert_eq!((code(f32::NAN), code(f32::INFINITY), code(-0.0)), (15, 15, 7));
    }
}
