//! Sums, quotients, multiples and conversions.

use device::launch::testing::{self, read, stored};
use device::launch::{DeviceBuffer, Executor};
use device::{DType, Elements};
use half::{bf16, f16};
use proptest::prelude::*;
use tunesmith_transformer::launch::elementwise::{
    Factor, add, convert, divide, divide_in_place, scale, scale_in_place,
};
use tunesmith_transformer::{Gradient, TransformerError, elementwise, launch};

use crate::{dtype, values};

/// What a buffer of `dtype` keeps of `values`.
fn rounded(dtype: DType, values: Vec<f32>) -> Vec<f32> {
    values.into_iter().map(|value| testing::rounded(dtype, value)).collect()
}

fn empty(executor: &Executor, dtype: DType, len: usize) -> DeviceBuffer {
    executor.allocate(len * dtype.size_bytes()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every operation is rounded as on the CPU: the bits are equal.
    #[test]
    fn sums_and_quotients_are_those_of_the_cpu(
        len in prop_oneof![0usize..9, 1020usize..1030, 2045usize..2050],
        wide: bool,
        seed: u64,
    ) {
        let (dtype, executor) = (dtype(wide), testing::executor(seed));
        let (a_buffer, a) = stored(&executor, dtype, values(len, seed, 0));
        let (b_buffer, b) = stored(&executor, dtype, values(len, seed, 1));
        let (mut y, mut y_buffer) = (vec![f32::NAN; len], empty(&executor, dtype, len));
        elementwise::add(&a, &b, &mut y).unwrap();
        add(dtype, len, &a_buffer, &b_buffer, &mut y_buffer).unwrap();
        prop_assert_eq!(read(dtype, &y_buffer), rounded(dtype, y.clone()));

        let (mut a_buffer, b_buffer) = (executor.upload(&a).unwrap(), executor.upload(&b).unwrap());
        let mut y_buffer = empty(&executor, DType::F32, len);
        elementwise::divide(&a, &b, &mut y).unwrap();
        divide(len, &a_buffer, &b_buffer, &mut y_buffer).unwrap();
        divide_in_place(len, &b_buffer, &mut a_buffer).unwrap();
        // Quotients may be infinite, none is NaN: a normal number is never 0 / 0 here.
        prop_assert_eq!(y_buffer.read::<f32>().unwrap(), y.clone());
        prop_assert_eq!(a_buffer.read::<f32>().unwrap(), y);
    }

    #[test]
    fn multiples_are_those_of_the_cpu(
        len in prop_oneof![0usize..9, 1020usize..1030, 2045usize..2050],
        from in proptest::sample::select(&[DType::F32, DType::BF16, DType::F16][..]),
        wide: bool,
        accumulate: bool,
        factor in -3f32..3.0,
        multiplier in proptest::option::of(-3f32..3.0),
        seed: u64,
    ) {
        let (to, executor) = (dtype(wide), testing::executor(seed));
        let x = values(len, seed, 0);
        let halves: (Vec<bf16>, Vec<f16>) = x.iter().map(|&x| (bf16::from_f32(x), f16::from_f32(x))).unzip();
        let (x_buffer, x) = match from {
            DType::F32 => (executor.upload(&x).unwrap(), Elements::F32(&x)),
            DType::BF16 => (executor.upload(&halves.0).unwrap(), Elements::BF16(&halves.0)),
            DType::F16 => (executor.upload(&halves.1).unwrap(), Elements::F16(&halves.1)),
        };
        let (mut y_buffer, mut y) = stored(&executor, to, values(len, seed, 1));
        let on_device = multiplier.map(|multiplier| executor.upload(&[multiplier]).unwrap());
        let of_device = on_device.as_ref().map_or(Factor::Constant(factor), |buffer| Factor::Times(factor, buffer));
        let factor = factor * multiplier.unwrap_or(1.0);
        elementwise::scale(factor, x, Gradient { values: &mut y, add: accumulate }).unwrap();
        let gradient = launch::Gradient { values: &mut y_buffer, add: accumulate };
        scale(len, of_device, (from, &x_buffer), (to, gradient)).unwrap();
        let mut y = rounded(to, y);
        prop_assert_eq!(read(to, &y_buffer), y.clone());

        elementwise::scale_in_place(factor, &mut y);
        scale_in_place(len, of_device, (to, &mut y_buffer)).unwrap();
        prop_assert_eq!(read(to, &y_buffer), rounded(to, y));
    }
}

#[test]
fn every_half_is_widened_and_rounded_as_on_the_cpu() {
    let executor = testing::executor(0);
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let buffer = executor.upload(&all).unwrap();
    let mut wide = empty(&executor, DType::F32, all.len());
    convert(all.len(), (DType::F16, &buffer), (DType::F32, &mut wide)).unwrap();
    let wide: Vec<f32> = wide.read().unwrap();
    let same = |got: f32, expected: f32| got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
    assert!(wide.iter().zip(&all).all(|(got, half)| same(*got, half.to_f32())));
    let mut narrow = empty(&executor, DType::BF16, all.len());
    convert(all.len(), (DType::F16, &buffer), (DType::BF16, &mut narrow)).unwrap();
    let narrow: Vec<bf16> = narrow.read().unwrap();
    assert!(narrow.iter().zip(wide).all(|(got, wide)| same(got.to_f32(), bf16::from_f32(wide).to_f32())));
}

#[test]
fn what_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    let (x, mut y) = (executor.upload(&[1.0f32; 2]).unwrap(), executor.upload(&[7.0f32; 3]).unwrap());
    let refused = add(DType::F32, 3, &x, &x, &mut y).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { op: "add", argument: "a", expected: 3, got: 2 }));
    let refused = convert(6, (DType::F32, &y), (DType::F16, &mut empty(&executor, DType::F16, 6))).unwrap_err();
    assert!(matches!(refused, TransformerError::KernelDType { got: DType::F16, .. }));
    let refused = scale_in_place(3, Factor::Times(1.0, &x), (DType::F32, &mut y)).unwrap_err();
    assert!(matches!(refused, TransformerError::Length { argument: "multiplier", expected: 1, got: 2, .. }));
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 3]);
}
