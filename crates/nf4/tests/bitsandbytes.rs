//! Bit for bit what bitsandbytes computes: `tests/data/bitsandbytes`, see the README there.

use device::{Element, Elements};
use half::{bf16, f16};
use nf4::{
    Absmax, CODEBOOK, Dequantize, NESTED_BLOCK_SIZE, NestedAbsmax, Nf4Shape, Quantize, QuantizeAbsmax, dequantize,
    dynamic_map, quantize, quantize_absmax,
};
use safetensors::{Dtype, SafeTensors};
use tunesmith_nf4 as nf4;

fn file() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/bitsandbytes/nf4.safetensors");
    std::fs::read(path).unwrap()
}

fn f32s(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
    tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn elements<T: Element>(file: &SafeTensors<'_>, name: &str) -> Vec<T> {
    file.tensor(name).unwrap().data().chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

/// NaN is NaN; everything else has the same bits.
fn same<T: Element>(got: &[T], expected: &[T]) -> bool {
    let same =
        |(a, b): (&T, &T)| bytemuck::bytes_of(a) == bytemuck::bytes_of(b) || a.to_f32().is_nan() && b.to_f32().is_nan();
    got.len() == expected.len() && got.iter().zip(expected).all(same)
}

/// Checks one case; whether the offset of the double quantization is the same in every bit, and so the codes were compared.
fn check<'a, T: Element>(file: &SafeTensors<'_>, case: &str, wrap: impl Fn(&'a [T]) -> Elements<'a>) -> bool {
    let tensor = |name: &str| format!("{case}.{name}");
    let x = elements::<T>(file, &tensor("x")).leak();
    let block_size =
        file.tensor(&tensor("block_size")).unwrap().data()[..8].try_into().map(u64::from_le_bytes).unwrap();
    let shape = Nf4Shape::new(x.len(), block_size as usize).unwrap();

    let (mut packed, mut absmax) = (vec![0; shape.packed_len()], vec![0.0; shape.num_blocks()]);
    quantize(&shape, Quantize { x: wrap(x), packed: &mut packed, absmax: &mut absmax }).unwrap();
    assert_eq!(packed, file.tensor(&tensor("packed")).unwrap().data(), "{case}");
    assert!(same(&absmax, &f32s(file, &tensor("absmax"))), "{case}");

    let expand = |absmax| {
        let mut out = vec![T::from_f32(0.0); x.len()];
        dequantize(&shape, Dequantize { packed: &packed, absmax, first: 0, out: &mut out }).unwrap();
        out
    };
    assert!(same(&expand(Absmax::F32(&absmax)), &elements(file, &tensor("dequantized"))), "{case}");

    let (mut codes, mut nested_absmax) =
        (vec![0; shape.num_blocks()], vec![0.0; shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE)]);
    let args = QuantizeAbsmax { absmax: &absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
    let offset = quantize_absmax(args).unwrap();
    // torch's mean is a sum in f32, rounded many times.
    let expected = f32s(file, &tensor("nested.offset"))[0];
    let near = (offset - expected).abs() <= 4.0 * f32::EPSILON * expected.abs();
    assert!(near || offset.is_nan() && expected.is_nan() || offset == expected, "{case}: {offset} {expected}");
    let expected_codes = file.tensor(&tensor("nested.codes")).unwrap().data().to_vec();
    let expected_nested = f32s(file, &tensor("nested.absmax"));
    let comparable = offset == expected || expected.is_nan();
    if comparable {
        assert_eq!(codes, expected_codes, "{case}");
        assert!(same(&nested_absmax, &expected_nested), "{case}");
    }
    let stored = Absmax::Nested(NestedAbsmax {
        codes: &expected_codes,
        map: dynamic_map(),
        nested_absmax: &expected_nested,
        offset: expected,
        nested_block_size: NESTED_BLOCK_SIZE,
    });
    assert!(same(&expand(stored), &elements(file, &tensor("nested.dequantized"))), "{case}");
    comparable
}

#[test]
fn the_tables_are_the_same() {
    let bytes = file();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(f32s(&file, "codebook"), CODEBOOK);
    assert_eq!(f32s(&file, "map"), dynamic_map());
}

#[test]
fn codes_scales_and_values_are_the_same() {
    let bytes = file();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let cases: Vec<_> = file.names().into_iter().filter_map(|name| name.strip_suffix(".x")).collect();
    assert_eq!(cases.len(), 10);
    let comparable = cases.iter().filter(|case| match file.tensor(&format!("{case}.x")).unwrap().dtype() {
        Dtype::F32 => check::<f32>(&file, case, Elements::F32),
        Dtype::BF16 => check::<bf16>(&file, case, Elements::BF16),
        Dtype::F16 => check::<f16>(&file, case, Elements::F16),
        other => panic!("{case} is {other:?}"),
    });
    assert_eq!(comparable.count(), 9);
}
