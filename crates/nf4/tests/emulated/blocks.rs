//! Codes, scales and values are the bits of the CPU.

use std::path::PathBuf;

use device::DType;
use device::launch::testing::{self, normal, read, rounded, upload};
use half::bf16;
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use tunesmith_nf4::{Nf4Shape, launch};

use crate::support::{OnDevice, Quantized, shifted};

/// Below, at and across blocks, chunks and thread blocks.
fn shapes() -> impl Strategy<Value = Nf4Shape> {
    let len = prop_oneof![0usize..300, 4000usize..4200, 16_300usize..16_500];
    let block_size = proptest::sample::select(vec![32, 64, 128, 512, 1024, 4096]);
    (len, block_size).prop_map(|(len, block_size)| Nf4Shape::new(len, block_size).unwrap())
}

/// Normal values with some of what is not normal about them.
fn values(dtype: DType, len: usize, seed: u64) -> Vec<f32> {
    let mut x = normal(dtype, len, seed, 0);
    let peculiar = [0.0, -0.0, f32::NAN, f32::INFINITY, 1e-40, -1e38, 1e-38];
    for (i, x) in x.iter_mut().enumerate() {
        match (seed as usize).wrapping_add(i) % 1000 {
            // Runs that fill blocks of zeros.
            0..200 if seed.is_multiple_of(2) => *x = 0.0,
            hit @ 300..307 if seed.is_multiple_of(3) => *x = peculiar[hit - 300],
            _ => {}
        }
    }
    x.into_iter().map(|value| rounded(dtype, value)).collect()
}

/// NaN is NaN; everything else has the same bits.
fn same(got: &[f32], expected: &[f32]) -> bool {
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    got.len() == expected.len() && got.iter().zip(expected).all(same)
}

/// Quantizes on both sides and compares everything.
fn check(x: &[f32], dtype: DType, block_size: usize, seed: u64) -> Result<(), TestCaseError> {
    let expected = Quantized::new(x, block_size);
    let executor = testing::executor(seed);
    let mut got = OnDevice::empty(&executor, expected.shape);
    // Parts of other buffers may begin anywhere.
    let shift = usize::from(seed.is_multiple_of(4));
    got.packed = shifted(&got.packed, shift);
    let x = shifted(&upload(&executor, dtype, x), dtype.size_bytes() * shift);
    let args = launch::Quantize { dtype, x: &x, packed: &mut got.packed, absmax: &mut got.absmax };
    launch::quantize(&expected.shape, args).unwrap();
    prop_assert_eq!(got.packed.read::<u8>().unwrap(), &expected.packed[..]);
    prop_assert!(same(&got.absmax.read::<f32>().unwrap(), &expected.absmax));
    launch::quantize_absmax(launch::QuantizeAbsmax {
        absmax: &got.absmax,
        map: &got.map,
        codes: &mut got.codes,
        nested_absmax: &mut got.nested_absmax,
        offset: &mut got.offset,
    })
    .unwrap();
    prop_assert!(same(&got.offset.read::<f32>().unwrap(), &[expected.offset]));
    prop_assert_eq!(got.codes.read::<u8>().unwrap(), &expected.codes[..]);
    prop_assert!(same(&got.nested_absmax.read::<f32>().unwrap(), &expected.nested_absmax));
    let len = expected.shape.num_elements();
    for nested in [false, true] {
        for (rounded, dtype) in [(DType::F32, DType::F32), (DType::BF16, DType::F32), (DType::BF16, DType::BF16)] {
            // The whole, and a part that begins anywhere.
            for first in [0, seed as usize % (len + 1)] {
                let out = executor.allocate((len - first) * dtype.size_bytes()).unwrap();
                let mut out = shifted(&out, dtype.size_bytes() * shift);
                let blocks = got.blocks(nested, rounded);
                launch::dequantize(launch::Dequantize { blocks, dtype, first, out: &mut out }).unwrap();
                let expected = &expected.values(nested, rounded, dtype)[first..];
                prop_assert!(same(&read(dtype, &out), expected), "nested {nested}, {rounded}, {dtype}, from {first}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn codes_scales_and_values_are_the_bits_of_the_cpu(shape in shapes(), seed in any::<u64>()) {
        for dtype in [DType::F32, DType::BF16] {
            check(&values(dtype, shape.num_elements(), seed), dtype, shape.block_size(), seed)?;
        }
    }
}

/// The mean is a sum of sums of sums of 256.
#[test]
fn many_blocks() {
    let x = normal(DType::F32, 32 * 65_600, 1, 0);
    let expected = Quantized::new(&x, 32);
    let executor = testing::executor(0);
    let mut got = OnDevice::empty(&executor, expected.shape);
    launch::quantize_absmax(launch::QuantizeAbsmax {
        absmax: &executor.upload(&expected.absmax).unwrap(),
        map: &got.map,
        codes: &mut got.codes,
        nested_absmax: &mut got.nested_absmax,
        offset: &mut got.offset,
    })
    .unwrap();
    assert_eq!(got.offset.read::<f32>().unwrap(), [expected.offset]);
    assert_eq!(got.codes.read::<u8>().unwrap(), expected.codes);
}

/// On and next to every threshold, in units of the largest magnitude.
#[test]
fn values_at_the_thresholds() {
    let bits =
        (0..60_000u32).map(|i| f32::from_bits(0x3d00_0000 + 937 * (i % 30_000)) * [1.0, -1.0][i as usize / 30_000]);
    let x: Vec<f32> = bits.collect::<Vec<_>>().chunks(63).flat_map(|block| [&[1.0], block].concat()).collect();
    check(&x, DType::F32, 64, 7).unwrap();
}

/// What bitsandbytes recorded, as `tests/bitsandbytes.rs` compares it with the CPU.
#[test]
fn codes_of_bitsandbytes() {
    // On another machine than this was built on, the data is elsewhere.
    let here = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data").into();
    let data = std::env::var_os("TUNESMITH_TEST_DATA").map_or_else(here, PathBuf::from);
    let bytes = std::fs::read(data.join("bitsandbytes/nf4.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for case in file.names().into_iter().filter_map(|name| name.strip_suffix(".x")) {
        let tensor = |name: &str| file.tensor(&format!("{case}.{name}")).unwrap();
        let (x, data) = (tensor("x"), tensor("x").data().to_vec());
        let f32s: Vec<f32> = data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let bf16s: Vec<f32> = data.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect();
        let (dtype, x) = match x.dtype() {
            Dtype::F32 => (DType::F32, f32s),
            Dtype::BF16 => (DType::BF16, bf16s),
            _ => continue,
        };
        let block_size = tensor("block_size").data()[..8].try_into().map(u64::from_le_bytes).unwrap();
        let shape = Nf4Shape::new(x.len(), block_size as usize).unwrap();
        let executor = testing::executor(0);
        let mut got = OnDevice::empty(&executor, shape);
        let x = upload(&executor, dtype, &x);
        let args = launch::Quantize { dtype, x: &x, packed: &mut got.packed, absmax: &mut got.absmax };
        launch::quantize(&shape, args).unwrap();
        assert_eq!(got.packed.read::<u8>().unwrap(), tensor("packed").data(), "{case}");
        compared += 1;
    }
    assert!(compared >= 6, "{compared} cases");
}
