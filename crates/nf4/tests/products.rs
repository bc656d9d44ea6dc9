//! A product with quantized blocks has the bits of the product with what they are dequantized to.

use device::philox::Stream;
use device::{Buffer, Device, Element, Elements};
use gemm::{Matrix, MatrixMut, Update, gemm};
use half::{bf16, f16};
use nf4::{
    Absmax, Dequantize, NESTED_BLOCK_SIZE, NestedAbsmax, Nf4Shape, Operand, Quantize, QuantizeAbsmax, dequantize,
    dynamic_map, quantize, quantize_absmax,
};
use proptest::prelude::*;
use tunesmith_nf4 as nf4;

#[derive(Clone, Copy, Debug)]
struct Case {
    tokens: usize,
    rows: usize,
    columns: usize,
    block_size: usize,
    nested: bool,
    /// `x W`, rather than `x W^T`.
    transposed: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let tokens = prop_oneof![1usize..=9, 10usize..60];
    let size = || prop_oneof![1usize..200, proptest::sample::select(vec![32, 64, 96, 128, 576])];
    let block_size = proptest::sample::select(vec![32, 64, 256]);
    (tokens, size(), size(), block_size, any::<(bool, bool)>(), any::<u64>()).prop_map(
        |(tokens, rows, columns, block_size, (nested, transposed), seed)| Case {
            tokens,
            rows,
            columns,
            block_size,
            nested,
            transposed,
            seed,
        },
    )
}

fn normal(len: usize, seed: u64, stream: u32) -> Vec<f32> {
    let stream = Stream::new(seed, stream, 0);
    (0..len as u64).map(|i| 0.05 * stream.normal(i)).collect()
}

fn product(case: Case, weight: Matrix<'_>) -> Vec<u32> {
    let weight = if case.transposed { weight } else { weight.transposed() };
    let x = normal(case.tokens * weight.rows(), case.seed, 1);
    let (inputs, outputs) = (weight.rows(), weight.cols());
    let mut y = vec![f32::NAN; case.tokens * outputs];
    let x = Matrix::new(&x[..], case.tokens, inputs);
    gemm(1.0, x, weight, Update::Overwrite, MatrixMut::new(&mut y, case.tokens, outputs)).unwrap();
    y.into_iter().map(f32::to_bits).collect()
}

fn check<T: Element>(case: Case) -> Result<(), TestCaseError> {
    let Case { rows, columns, .. } = case;
    let shape = Nf4Shape::new(rows * columns, case.block_size).unwrap();
    let (mut packed, mut absmax) = (vec![0; shape.packed_len()], vec![0.0; shape.num_blocks()]);
    let weight = normal(rows * columns, case.seed, 2);
    quantize(&shape, Quantize { x: Elements::F32(&weight), packed: &mut packed, absmax: &mut absmax }).unwrap();
    let num_nested = shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE);
    let (mut codes, mut nested_absmax) = (vec![0; shape.num_blocks()], vec![0.0; num_nested]);
    let args = QuantizeAbsmax { absmax: &absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
    let offset = quantize_absmax(args).unwrap();
    let (codes, nested_absmax) = (&codes[..], &nested_absmax[..]);
    let absmax = match case.nested {
        false => Absmax::F32(&absmax),
        true => Absmax::Nested(NestedAbsmax {
            codes,
            map: dynamic_map(),
            nested_absmax,
            offset,
            nested_block_size: NESTED_BLOCK_SIZE,
        }),
    };
    let mut dense = Buffer::zeroed(Device::Cpu, T::DTYPE, rows * columns).unwrap();
    let out = dense.as_mut_slice::<T>().unwrap();
    dequantize(&shape, Dequantize { packed: &packed, absmax, first: 0, out }).unwrap();
    let operand = Operand::new(&shape, &packed, absmax, T::DTYPE).unwrap();
    let expected = product(case, Matrix::new(dense.elements().unwrap(), rows, columns));
    prop_assert_eq!(product(case, Matrix::expanded(&operand, rows, columns)), expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quantized_and_dequantized_weights_give_the_same_bits(case in case()) {
        check::<f32>(case)?;
        check::<bf16>(case)?;
        check::<f16>(case)?;
    }
}
