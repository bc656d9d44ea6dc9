//! Laws of the whole.

use device::philox::Stream;
use device::{Element, Elements};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::dequantize::dequantize_with;
use crate::lookup::Lookup;
use crate::{
    Absmax, Dequantize, NESTED_BLOCK_SIZE, NestedAbsmax, Nf4Error, Nf4Shape, Quantize, QuantizeAbsmax, dequantize,
    dynamic_map, quantize, quantize_absmax,
};

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, 0, 0);
    (0..len as u64).map(|i| 0.05 * stream.normal(i)).collect()
}

fn quantized(shape: &Nf4Shape, x: &[f32]) -> (Vec<u8>, Vec<f32>) {
    // What must be overwritten.
    let (mut packed, mut absmax) = (vec![0xa5; shape.packed_len()], vec![-1.0; shape.num_blocks()]);
    quantize(shape, Quantize { x: Elements::F32(x), packed: &mut packed, absmax: &mut absmax }).unwrap();
    (packed, absmax)
}

fn dequantized<T: Element>(
    lookup: Lookup,
    shape: &Nf4Shape,
    packed: &[u8],
    absmax: Absmax<'_>,
    range: std::ops::Range<usize>,
) -> Vec<T> {
    let mut out = vec![T::from_f32(f32::NAN); range.len()];
    dequantize_with(lookup, shape, Dequantize { packed, absmax, first: range.start, out: &mut out }).unwrap();
    out
}

fn whole(shape: &Nf4Shape, packed: &[u8], absmax: &[f32]) -> Vec<f32> {
    dequantized(Lookup::best(), shape, packed, Absmax::F32(absmax), 0..shape.num_elements())
}

/// Sizes below, at and across blocks and tasks.
fn shapes() -> impl Strategy<Value = Nf4Shape> {
    let len = prop_oneof![0usize..300, 4000usize..4200, 65_500usize..65_600];
    (len, prop_oneof![Just(32), Just(64), Just(128), Just(4096)]).prop_map(|(len, b)| Nf4Shape::new(len, b).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_error_is_at_most_half_a_gap(shape in shapes(), seed in any::<u64>()) {
        let x = normal(shape.num_elements(), seed);
        let (packed, absmax) = quantized(&shape, &x);
        for (i, (x, y)) in x.iter().zip(whole(&shape, &packed, &absmax)).enumerate() {
            // Half of 1 - 0.6962, and the roundings of the quotient and the product.
            let bound = 0.151_904 * absmax[i / shape.block_size()];
            prop_assert!((x - y).abs() <= bound, "{i}: {x} became {y}");
        }
    }

    #[test]
    fn quantizing_again_changes_nothing(shape in shapes(), seed in any::<u64>()) {
        let (packed, absmax) = quantized(&shape, &normal(shape.num_elements(), seed));
        // The largest magnitude of a block has code 0 or 15, so it comes back exactly.
        let again = quantized(&shape, &whole(&shape, &packed, &absmax));
        prop_assert_eq!(again, (packed, absmax));
    }

    #[test]
    fn scaling_by_a_power_of_two_scales_absmax_only(shape in shapes(), seed in any::<u64>()) {
        let x = normal(shape.num_elements(), seed);
        let (packed, absmax) = quantized(&shape, &x);
        let (scaled_packed, scaled_absmax) = quantized(&shape, &x.iter().map(|x| 4.0 * x).collect::<Vec<_>>());
        prop_assert_eq!(scaled_packed, packed);
        prop_assert!(scaled_absmax.iter().zip(&absmax).all(|(scaled, a)| *scaled == 4.0 * a));
    }

    #[test]
    fn a_part_equals_the_same_part_of_the_whole(
        shape in shapes(), ends in any::<[prop::sample::Index; 2]>(), seed in any::<u64>(),
    ) {
        let (packed, absmax) = quantized(&shape, &normal(shape.num_elements(), seed));
        let expected = whole(&shape, &packed, &absmax);
        let mut ends = ends.map(|end| end.index(shape.num_elements() + 1));
        ends.sort_unstable();
        let range = ends[0]..ends[1];
        for lookup in Lookup::available() {
            let f32s = dequantized::<f32>(lookup, &shape, &packed, Absmax::F32(&absmax), range.clone());
            prop_assert_eq!(&f32s, &expected[range.clone()]);
            let bf16s = dequantized::<bf16>(lookup, &shape, &packed, Absmax::F32(&absmax), range.clone());
            prop_assert!(bf16s.iter().zip(&f32s).all(|(b, f)| *b == bf16::from_f32(*f)));
            let f16s = dequantized::<f16>(lookup, &shape, &packed, Absmax::F32(&absmax), range.clone());
            prop_assert!(f16s.iter().zip(&f32s).all(|(h, f)| *h == f16::from_f32(*f)));
        }
    }

    #[test]
    fn double_quantization_adds_its_own_bound(num_blocks in 1usize..700, seed in any::<u64>()) {
        let shape = Nf4Shape::new(num_blocks * 64 - 3, 64).unwrap();
        let (packed, absmax) = quantized(&shape, &normal(shape.num_elements(), seed));
        let (mut codes, mut nested_absmax) = (vec![0; num_blocks], vec![0.0; num_blocks.div_ceil(NESTED_BLOCK_SIZE)]);
        let args = QuantizeAbsmax { absmax: &absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
        let offset = quantize_absmax(args).unwrap();
        let nested = Absmax::Nested(NestedAbsmax {
            codes: &codes,
            map: dynamic_map(),
            nested_absmax: &nested_absmax,
            offset,
            nested_block_size: NESTED_BLOCK_SIZE,
        });
        let range = 0..shape.num_elements();
        let (y, z) = (whole(&shape, &packed, &absmax), dequantized::<f32>(Lookup::best(), &shape, &packed, nested, range));
        for (i, (y, z)) in y.iter().zip(&z).enumerate() {
            // The widest half gap of the map is (0.1070 - 0.0986) / 2 within, 0.00703 near the ends; -1 has none of its
            // own and lies 0.00703 from the first. Then half a step of the grid, and rounding.
            let bound = 0.0072 * nested_absmax[i / 64 / NESTED_BLOCK_SIZE] + 1e-6 * offset;
            prop_assert!((y - z).abs() <= bound, "{i}: {y} became {z}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    let shape = Nf4Shape::new(200_001, 64).unwrap();
    let x = normal(shape.num_elements(), 3);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (packed, absmax) = quantized(&shape, &x);
            (whole(&shape, &packed, &absmax), packed, absmax)
        })
    };
    assert_eq!(on(1), on(4));
}

#[test]
fn wrong_lengths_are_refused() {
    let shape = Nf4Shape::new(100, 64).unwrap();
    let (mut packed, mut absmax) = ([0; 50], [0.0; 2]);
    let x = [0.0; 100];
    let short = quantize(&shape, Quantize { x: Elements::F32(&x[1..]), packed: &mut packed, absmax: &mut absmax });
    assert_eq!(short.unwrap_err().to_string(), "nf4: `x` holds 99 elements, expected 100");
    let short = quantize(&shape, Quantize { x: Elements::F32(&x), packed: &mut packed[1..], absmax: &mut absmax });
    assert!(matches!(short, Err(Nf4Error::Length { argument: "packed", expected: 50, got: 49 })));

    let mut out = [0.0f32; 10];
    let mut run = |first, absmax| dequantize(&shape, Dequantize { packed: &packed, absmax, first, out: &mut out });
    let error = run(95, Absmax::F32(&absmax)).unwrap_err();
    assert_eq!(error.to_string(), "nf4: elements 95..105 were asked for of 100");
    assert!(matches!(run(usize::MAX, Absmax::F32(&absmax)), Err(Nf4Error::Range { .. })));
    assert!(matches!(run(0, Absmax::F32(&absmax[1..])), Err(Nf4Error::Length { argument: "absmax", .. })));
    let nested = |nested_block_size, codes| {
        Absmax::Nested(NestedAbsmax {
            codes,
            map: dynamic_map(),
            nested_absmax: &[1.0],
            offset: 0.0,
            nested_block_size,
        })
    };
    assert!(matches!(run(0, nested(0, &[0, 0])), Err(Nf4Error::NestedBlockSize { block_size: 0 })));
    assert!(matches!(run(0, nested(256, &[0])), Err(Nf4Error::Length { argument: "codes", .. })));
    assert!(matches!(run(0, nested(1, &[0, 0])), Err(Nf4Error::Length { argument: "nested_absmax", expected: 2, .. })));
    assert!(run(90, nested(256, &[0, 0])).is_ok());
}
