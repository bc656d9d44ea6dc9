//! What does not fit is refused before anything is launched.

use device::launch::{DeviceBuffer, Executor, testing};
use device::{DType, DeviceError};
use tunesmith_lora::{LoraError, LoraShape, launch};

/// Two projections of `x [2, 3]` to 4 features with rank 2, in f32.
struct Buffers {
    x: DeviceBuffer,
    weight: DeviceBuffer,
    lora_a: DeviceBuffer,
    lora_b: DeviceBuffer,
    y: [DeviceBuffer; 2],
    s: [DeviceBuffer; 2],
}

impl Buffers {
    fn new(executor: &Executor) -> Self {
        let filled = |len: usize| executor.upload(&vec![7.0f32; len]).unwrap();
        Self {
            x: filled(6),
            weight: filled(12),
            lora_a: filled(6),
            lora_b: filled(8),
            y: [filled(8), filled(8)],
            s: [filled(4), filled(4)],
        }
    }

    fn projection(&self, shape: LoraShape) -> launch::Projection<'_> {
        launch::Projection {
            shape,
            weight: launch::Weight::Dense { buffer: &self.weight, transposed: false },
            bias: None,
            lora_a: &self.lora_a,
            lora_b: &self.lora_b,
            lora_bias: None,
            scaling: 1.0,
            dropout: None,
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let executor = testing::executor(0);
    let buffers = Buffers::new(&executor);
    let mut written = Buffers::new(&executor);
    let shape = LoraShape::new(2, 3, 4, 2).unwrap();
    let projection = buffers.projection(shape);
    let mut refused = |dtype, projections: &[launch::Projection<'_>]| {
        let group = launch::Group { dtype, x: &buffers.x, projections };
        let mut outputs =
            written.y.iter_mut().zip(&mut written.s).map(|(y, s)| launch::Output { y, s }).collect::<Vec<_>>();
        launch::forward(group, &mut outputs).unwrap_err()
    };
    let f32 = DType::F32;
    assert!(matches!(refused(f32, &[]), LoraError::GroupSize { most: 3, got: 0 }));
    assert!(matches!(refused(f32, &[projection; 4]), LoraError::GroupSize { most: 3, got: 4 }));
    assert!(matches!(refused(f32, &[projection]), LoraError::GroupBuffers { argument: "y", expected: 1, got: 2 }));
    assert!(matches!(refused(DType::F16, &[projection; 2]), LoraError::KernelDType { got: DType::F16 }));
    let other = launch::Projection { shape: LoraShape::new(2, 4, 3, 2).unwrap(), ..projection };
    let apart = refused(f32, &[projection, other]);
    assert!(matches!(apart, LoraError::GroupInput { index: 1, expected: [2, 3], got: [2, 4] }), "{apart}");
    let short = launch::Projection { lora_b: &buffers.lora_a, ..projection };
    let short = refused(f32, &[projection, short]);
    assert_eq!(short.to_string(), "lora: `lora_b` holds 6 elements, expected 4 x 2 = 8");
    let bias = launch::Projection { bias: Some(&buffers.x), ..projection };
    assert!(matches!(refused(f32, &[projection, bias]), LoraError::Length { argument: "bias", shape: [1, 4], got: 6 }));
    let elsewhere = Executor::emulated(0).upload(&[1.0f32; 12]).unwrap();
    let mixed =
        launch::Projection { weight: launch::Weight::Dense { buffer: &elsewhere, transposed: false }, ..projection };
    assert!(matches!(refused(f32, &[projection, mixed]), LoraError::Device(DeviceError::MixedExecutors)));
    let nf4 = nf4::launch::Blocks {
        shape: nf4::Nf4Shape::new(12, 64).unwrap(),
        packed: &executor.upload(&[0u8; 6]).unwrap(),
        absmax: nf4::launch::Absmax::F32(&executor.upload(&[1.0f32]).unwrap()),
        dtype: f32,
    };
    let nf4 = |sizes| launch::Weight::Nf4(nf4::launch::Matrix::new(nf4, sizes).unwrap());
    let turned = launch::Projection { weight: nf4([3, 4]), ..projection };
    assert!(matches!(refused(f32, &[projection, turned]), LoraError::WeightShape { expected: [4, 3], got: [3, 4] }));
    let quantized = launch::Projection { weight: nf4([4, 3]), ..projection };
    let transposed = launch::Weight::Dense { buffer: &buffers.weight, transposed: true };
    let beside = refused(f32, &[quantized, launch::Projection { weight: transposed, ..projection }]);
    assert!(matches!(beside, LoraError::GroupLayout { index: 1 }), "{beside}");
    for buffer in written.y.iter().chain(&written.s) {
        assert!(buffer.read::<f32>().unwrap().iter().all(|&value| value == 7.0));
    }
}

#[test]
fn gradients_that_do_not_fit_are_refused() {
    let executor = testing::executor(0);
    let buffers = Buffers::new(&executor);
    let projections = [buffers.projection(LoraShape::new(2, 3, 4, 2).unwrap())];
    let group = launch::Group { dtype: DType::F32, x: &buffers.x, projections: &projections };
    let short = [launch::Saved { s: &buffers.s[0], grad_y: &buffers.x }];
    let short = launch::Backward::new(group, &short);
    assert!(matches!(short, Err(LoraError::Length { argument: "grad_y", shape: [2, 4], got: 6 })));
    let saved = [launch::Saved { s: &buffers.s[0], grad_y: &buffers.y[0] }];
    let backward = launch::Backward::new(group, &saved).unwrap();
    let mut wrong = executor.upload(&[7.0f32; 5]).unwrap();
    fn gradient(values: &mut DeviceBuffer) -> launch::Gradient<'_> {
        launch::Gradient { values, add: false }
    }
    let length = |result| matches!(result, Err(LoraError::Length { got: 5, .. }));
    assert!(length(backward.x(gradient(&mut wrong))));
    assert!(length(backward.lora_a(&mut [gradient(&mut wrong)])));
    assert!(length(backward.lora_b(&mut [gradient(&mut wrong)])));
    assert!(length(backward.lora_bias(0, gradient(&mut wrong))));
    let none = backward.lora_a(&mut []);
    assert!(matches!(none, Err(LoraError::GroupBuffers { argument: "grad_a", expected: 1, got: 0 })));
    let beyond = backward.lora_bias(1, gradient(&mut wrong));
    assert!(matches!(beyond, Err(LoraError::GroupBuffers { expected: 1, got: 1, .. })));
    assert_eq!(wrong.read::<f32>().unwrap(), [7.0; 5]);
}
