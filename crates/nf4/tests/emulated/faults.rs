//! What does not fit is refused before anything is launched.

use device::launch::{Executor, testing};
use device::{DType, DeviceError};
use tunesmith_nf4::{Nf4Error, Nf4Shape, launch};

use crate::support::{OnDevice, Quantized};

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let executor = testing::executor(0);
    let quantized = Quantized::new(&[1.0; 100], 64);
    let (own, elsewhere) = (quantized.upload(&executor), quantized.upload(&Executor::emulated(0)));
    let mut written = OnDevice::empty(&executor, quantized.shape);
    let x = executor.upload(&[1.0f32; 100]).unwrap();

    let (packed, absmax) = (&mut written.packed, &mut written.absmax);
    let mut quantize = |shape: &Nf4Shape, dtype| {
        launch::quantize(shape, launch::Quantize { dtype, x: &x, packed, absmax }).unwrap_err()
    };
    assert!(matches!(quantize(&quantized.shape, DType::F16), Nf4Error::KernelDType { got: DType::F16 }));
    assert!(matches!(
        quantize(&quantized.shape, DType::BF16),
        Nf4Error::Length { argument: "x", expected: 100, got: 200 }
    ));
    let smaller = Nf4Shape::new(100, 32).unwrap();
    assert!(matches!(quantize(&smaller, DType::F32), Nf4Error::Length { argument: "absmax", expected: 4, got: 2 }));

    let dequantize = |blocks, first, len: usize| {
        let mut out = executor.upload(&vec![7.0f32; len]).unwrap();
        let refused =
            launch::dequantize(launch::Dequantize { blocks, dtype: DType::F32, first, out: &mut out }).unwrap_err();
        assert_eq!(out.read::<f32>().unwrap(), vec![7.0; len]);
        refused
    };
    let blocks = own.blocks(false, DType::F32);
    assert!(matches!(dequantize(blocks, 95, 10), Nf4Error::Range { first: 95, len: 10, num_elements: 100 }));
    let f16 = launch::Blocks { dtype: DType::F16, ..blocks };
    assert!(matches!(dequantize(f16, 0, 10), Nf4Error::KernelDType { got: DType::F16 }));
    let mixed = launch::Blocks { absmax: launch::Absmax::F32(&elsewhere.absmax), ..blocks };
    assert!(matches!(dequantize(mixed, 0, 10), Nf4Error::Device(DeviceError::MixedExecutors)));
    let launch::Absmax::Nested(nested) = own.blocks(true, DType::F32).absmax else { unreachable!("it was asked for") };
    let with = |nested| dequantize(launch::Blocks { absmax: launch::Absmax::Nested(nested), ..blocks }, 0, 10);
    for nested_block_size in [0, 3] {
        let refused = with(launch::NestedAbsmax { nested_block_size, ..nested });
        assert!(matches!(refused, Nf4Error::KernelNestedBlockSize { block_size } if block_size == nested_block_size));
    }
    let short = with(launch::NestedAbsmax { map: &own.offset, ..nested });
    assert!(matches!(short, Nf4Error::Length { argument: "map", expected: 256, got: 1 }));
    let short = with(launch::NestedAbsmax { nested_block_size: 1, ..nested });
    assert!(matches!(short, Nf4Error::Length { argument: "nested_absmax", expected: 2, got: 1 }));
}

#[test]
fn products_that_do_not_fit_are_refused() {
    let executor = testing::executor(0);
    let own = Quantized::new(&[1.0; 60], 64).upload(&executor);
    let blocks = own.blocks(true, DType::F32);
    let wrong = launch::Matrix::new(blocks, [7, 9]).unwrap_err();
    assert_eq!(wrong.to_string(), "nf4: 60 quantized elements, expected 7 x 9");
    assert!(matches!(launch::Matrix::new(blocks, [usize::MAX, 2]), Err(Nf4Error::Matrix { .. })));
    let weight = launch::Matrix::new(blocks, [6, 10]).unwrap();
    let x = executor.upload(&[1.0f32; 30]).unwrap();
    let mut y = executor.upload(&[7.0f32; 18]).unwrap();
    let mut linear = |dtype, num_tokens, bias| {
        launch::linear(launch::Linear { dtype, num_tokens, x: &x, weight, bias, y: &mut y }).unwrap_err()
    };
    let long = linear(DType::F32, 4, None);
    assert_eq!(long.to_string(), "nf4: `x` holds 30 elements, expected 4 x 10 = 40");
    assert!(matches!(linear(DType::F32, usize::MAX / 8, None), Nf4Error::TooLarge { rows: 6, columns: 10, .. }));
    assert!(matches!(
        linear(DType::F32, 3, Some(&x)),
        Nf4Error::BufferLength { argument: "bias", shape: [1, 6], got: 30 }
    ));
    assert!(matches!(linear(DType::F16, 3, None), Nf4Error::KernelDType { got: DType::F16 }));
    let elsewhere = Executor::emulated(0).upload(&[1.0f32; 6]).unwrap();
    assert!(matches!(linear(DType::F32, 3, Some(&elsewhere)), Nf4Error::Device(DeviceError::MixedExecutors)));
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 18]);
    let mut grad_x = executor.upload(&[7.0f32; 30]).unwrap();
    let args = launch::GradX { dtype: DType::F32, num_tokens: 3, grad_y: &x, weight, grad_x: &mut grad_x, add: false };
    let wrong = launch::grad_x(args).unwrap_err();
    assert!(matches!(wrong, Nf4Error::BufferLength { argument: "grad_y", shape: [3, 6], got: 30 }));
    assert_eq!(grad_x.read::<f32>().unwrap(), [7.0; 30]);
}
