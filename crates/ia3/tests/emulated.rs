//! The kernels, emulated, against the CPU implementation.

use device::launch::testing::{self, normal, stored};
use device::launch::{DeviceBuffer, Executor};
use device::{DType, DeviceError};
use proptest::prelude::*;
use tunesmith_ia3::{Backward, Forward, Ia3Error, Ia3Shape, backward, forward, launch};

/// What a buffer of `dtype` holds, as bits: what was never written is NaN, which no result is.
fn read(dtype: DType, buffer: &DeviceBuffer) -> Vec<u32> {
    testing::read(dtype, buffer).into_iter().map(f32::to_bits).collect()
}

/// The values rounded to `dtype`, as bits.
fn rounded(dtype: DType, values: &[f32]) -> Vec<u32> {
    values.iter().map(|&value| testing::rounded(dtype, value).to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // No tolerance: both round the same products and add them in the same order.
    #[test]
    fn the_kernels_give_the_bits_of_the_cpu(
        num_tokens in prop_oneof![0usize..4, 15usize..18, 60usize..70, 127usize..131],
        features in prop_oneof![0usize..9, Just(64usize), 510usize..518],
        wide: bool,
        wanted in 0u8..4,
        seed: u64,
    ) {
        let dtype = if wide { DType::F32 } else { DType::BF16 };
        let (shape, len) = (Ia3Shape { num_tokens, features }, num_tokens * features);
        let executor = testing::executor(seed);
        let (on_device_x, x) = stored(&executor, dtype, normal(DType::F32, len, seed, 0));
        let (on_device_grad_y, grad_y) = stored(&executor, dtype, normal(DType::F32, len, seed, 1));
        let (on_device_l, ia3_l) = stored(&executor, DType::F32, normal(DType::F32, features, seed, 2));

        let mut y = vec![0.0; len];
        forward(shape, Forward { x: &x, ia3_l: &ia3_l, y: &mut y }).unwrap();
        let mut on_device_y = executor.allocate(len * dtype.size_bytes()).unwrap();
        launch::forward(shape, launch::Forward { dtype, x: &on_device_x, ia3_l: &on_device_l, y: &mut on_device_y }).unwrap();
        prop_assert_eq!(read(dtype, &on_device_y), rounded(dtype, &y));

        let (x_wanted, l_wanted) = (wanted & 1 != 0, wanted & 2 != 0);
        let (mut grad_x, mut grad_l) = (vec![0.0; len], vec![0.0; features]);
        backward(shape, Backward {
            x: &x, ia3_l: &ia3_l, grad_y: &grad_y, grad_x: Some(&mut grad_x), grad_ia3_l: Some(&mut grad_l),
        }).unwrap();
        let mut on_device_grad_x = executor.allocate(len * dtype.size_bytes()).unwrap();
        let mut on_device_grad_l = executor.allocate(features * size_of::<f32>()).unwrap();
        launch::backward(shape, launch::Backward {
            dtype,
            x: &on_device_x,
            ia3_l: &on_device_l,
            grad_y: &on_device_grad_y,
            grad_x: x_wanted.then_some(&mut on_device_grad_x),
            grad_ia3_l: l_wanted.then_some(&mut on_device_grad_l),
        }).unwrap();
        if x_wanted {
            prop_assert_eq!(read(dtype, &on_device_grad_x), rounded(dtype, &grad_x));
        }
        if l_wanted {
            prop_assert_eq!(read(DType::F32, &on_device_grad_l), rounded(DType::F32, &grad_l));
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_before_a_launch() {
    let executor = testing::executor(0);
    let shape = Ia3Shape { num_tokens: 2, features: 3 };
    let (x, ia3_l) = (executor.upload(&[1.0f32; 6]).unwrap(), executor.upload(&[1.0f32; 3]).unwrap());
    let mut y = executor.upload(&[7.0f32; 6]).unwrap();
    let mut run = |dtype, x: &DeviceBuffer, ia3_l: &DeviceBuffer| {
        launch::forward(shape, launch::Forward { dtype, x, ia3_l, y: &mut y }).unwrap_err()
    };
    assert!(matches!(run(DType::F32, &ia3_l, &ia3_l), Ia3Error::Length { argument: "x", expected: 6, got: 3 }));
    assert!(matches!(run(DType::BF16, &x, &ia3_l), Ia3Error::Length { argument: "x", expected: 6, got: 12 }));
    assert!(matches!(run(DType::F16, &x, &ia3_l), Ia3Error::DType { got: DType::F16 }));
    let elsewhere = Executor::emulated(0).upload(&[1.0f32; 3]).unwrap();
    assert!(matches!(run(DType::F32, &x, &elsewhere), Ia3Error::Device(DeviceError::MixedExecutors)));
    assert_eq!(y.read::<f32>().unwrap(), [7.0; 6]);
}
