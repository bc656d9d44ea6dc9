//! A group of projections with its own memory, computed on both sides.

use device::DType;
use device::launch::testing::{self, BF16_UNIT, UNIT, read, rounded, upload};
use device::launch::{Architecture, DeviceBuffer, Executor};
use device::philox::Stream;
use gemm::{Matrix, Update};
use proptest::prelude::*;
use tunesmith_lora::{Adapter, Backward, Dropout, Forward, Input, LoraError, LoraShape, Saved, forward, launch};

use crate::weights::{Storage, Weight, WeightBuffers};

const SCALING: f32 = 0.75;

#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) out_features: usize,
    pub(crate) rank: usize,
    pub(crate) storage: Storage,
    pub(crate) bias: bool,
    pub(crate) lora_bias: bool,
    pub(crate) dropout: Option<f32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) num_tokens: usize,
    pub(crate) in_features: usize,
    pub(crate) projections: Vec<Sizes>,
    pub(crate) dtype: DType,
    pub(crate) add: bool,
    pub(crate) architecture: Architecture,
    pub(crate) seed: u64,
}

/// What one projection reads, on the host.
#[derive(Clone, Debug)]
struct Values {
    shape: LoraShape,
    weight: Weight,
    bias: Option<Vec<f32>>,
    lora_a: Vec<f32>,
    lora_b: Vec<f32>,
    lora_bias: Option<Vec<f32>>,
    grad_y: Vec<f32>,
    dropout: Option<Dropout>,
}

impl Case {
    /// Normal values as the type holds them.
    fn values(&self, len: usize, site: u32) -> Vec<f32> {
        let stream = Stream::new(self.seed, 1, site);
        (0..len as u64).map(|i| rounded(self.dtype, stream.normal(i))).collect()
    }

    fn x(&self) -> Vec<f32> {
        self.values(self.num_tokens * self.in_features, 0)
    }

    fn projection(&self, index: usize) -> Values {
        let Sizes { out_features, rank, storage, .. } = self.projections[index];
        let values = |len, site| self.values(len, 10 * (index as u32 + 1) + site);
        let stream = Stream::new(self.seed, 2, index as u32);
        Values {
            shape: LoraShape::new(self.num_tokens, self.in_features, out_features, rank).unwrap(),
            weight: Weight::new(values(out_features * self.in_features, 0), storage, self.dtype),
            bias: self.projections[index].bias.then(|| values(out_features, 1)),
            lora_a: values(rank * self.in_features, 2),
            lora_b: values(out_features * rank, 3),
            lora_bias: self.projections[index].lora_bias.then(|| values(out_features, 4)),
            grad_y: values(self.num_tokens * out_features, 5),
            dropout: self.projections[index].dropout.map(|p| Dropout::new(p, stream).unwrap()),
        }
    }

    /// What a gradient that is added to starts from; NaN where it must not be read.
    fn start(&self, len: usize, site: u32) -> Vec<f32> {
        if self.add { self.values(len, site) } else { vec![f32::NAN; len] }
    }
}

/// Results of one projection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    y: Vec<f32>,
    s: Vec<f32>,
    grad_a: Vec<f32>,
    grad_b: Vec<f32>,
    grad_bias: Vec<f32>,
}

/// Results of the kernels.
#[derive(Debug)]
pub(crate) struct Device {
    projections: Vec<Results>,
    grad_x: Vec<f32>,
}

impl Device {
    pub(crate) fn run(case: &Case, executor: &Executor) -> Result<Self, LoraError> {
        let (dtype, add) = (case.dtype, case.add);
        let up = |values: &[f32]| upload(executor, dtype, values);
        let x = up(&case.x());
        let values: Vec<Values> = (0..case.projections.len()).map(|i| case.projection(i)).collect();
        struct Buffers {
            weight: WeightBuffers,
            bias: Option<DeviceBuffer>,
            lora_a: DeviceBuffer,
            lora_b: DeviceBuffer,
            lora_bias: Option<DeviceBuffer>,
            y: DeviceBuffer,
            s: DeviceBuffer,
        }
        let empty = |elements: usize| executor.allocate(elements * dtype.size_bytes()).unwrap();
        let mut buffers: Vec<Buffers> = values
            .iter()
            .map(|v| Buffers {
                weight: WeightBuffers::new(executor, up, &v.weight),
                bias: v.bias.as_deref().map(up),
                lora_a: up(&v.lora_a),
                lora_b: up(&v.lora_b),
                lora_bias: v.lora_bias.as_deref().map(up),
                y: empty(v.grad_y.len()),
                s: empty(case.num_tokens * v.shape.rank()),
            })
            .collect();
        let (mut outputs, mut projections) = (Vec::new(), Vec::new());
        for (v, b) in values.iter().zip(&mut buffers) {
            outputs.push(launch::Output { y: &mut b.y, s: &mut b.s });
            projections.push(launch::Projection {
                shape: v.shape,
                weight: b.weight.view(&v.weight, [v.shape.out_features(), v.shape.in_features()], dtype),
                bias: b.bias.as_ref(),
                lora_a: &b.lora_a,
                lora_b: &b.lora_b,
                lora_bias: b.lora_bias.as_ref(),
                scaling: SCALING,
                dropout: v.dropout,
            });
        }
        let group = launch::Group { dtype, x: &x, projections: &projections };
        launch::forward(group, &mut outputs)?;
        let grad_y: Vec<_> = values.iter().map(|v| up(&v.grad_y)).collect();
        let saved: Vec<_> =
            outputs.iter().zip(&grad_y).map(|(output, grad_y)| launch::Saved { s: output.s, grad_y }).collect();
        let backward = launch::Backward::new(group, &saved)?;

        let mut grad_x = upload(executor, dtype, &case.start(case.num_tokens * case.in_features, 1));
        backward.x(launch::Gradient { values: &mut grad_x, add })?;
        let f32_of = |len: usize, site: u32| upload(executor, DType::F32, &case.start(len, site));
        let starts = |len: &dyn Fn(&Values) -> usize, site: u32| -> Vec<DeviceBuffer> {
            values.iter().enumerate().map(|(i, v)| f32_of(len(v), 10 * (i as u32 + 1) + site)).collect()
        };
        let mut grad_a = starts(&|v| v.lora_a.len(), 6);
        let mut grad_b = starts(&|v| v.lora_b.len(), 7);
        let mut grad_bias = starts(&|v| v.shape.out_features(), 8);
        fn gradients(buffers: &mut [DeviceBuffer], add: bool) -> Vec<launch::Gradient<'_>> {
            buffers.iter_mut().map(|values| launch::Gradient { values, add }).collect()
        }
        backward.lora_a(&mut gradients(&mut grad_a, add))?;
        backward.lora_b(&mut gradients(&mut grad_b, add))?;
        for (i, values) in grad_bias.iter_mut().enumerate() {
            backward.lora_bias(i, launch::Gradient { values, add })?;
        }
        let projections = outputs.iter().enumerate().map(|(i, output)| Results {
            y: read(dtype, output.y),
            s: read(dtype, output.s),
            grad_a: read(DType::F32, &grad_a[i]),
            grad_b: read(DType::F32, &grad_b[i]),
            grad_bias: read(DType::F32, &grad_bias[i]),
        });
        Ok(Self { projections: projections.collect(), grad_x: read(dtype, &grad_x) })
    }

    /// All results as bits.
    pub(crate) fn bits(&self) -> Vec<u32> {
        let parts = self.projections.iter().flat_map(|r| [&r.y, &r.s, &r.grad_a, &r.grad_b, &r.grad_bias]);
        parts.chain([&self.grad_x]).flatten().map(|x| x.to_bits()).collect()
    }
}

impl Values {
    /// The CPU implementation. `s` is what its backward pass starts from, or its own.
    fn run(&self, x: &[f32], s: Option<&[f32]>, start: Results, grad_x: &mut [f32], update: Update<'_>) -> Results {
        let (outputs, inputs) = (self.shape.out_features(), self.shape.in_features());
        let weight = match self.weight.storage {
            Storage::InOut => Matrix::new(&self.weight.values[..], inputs, outputs).transposed(),
            _ => Matrix::new(&self.weight.values[..], outputs, inputs),
        };
        let adapter = Adapter {
            lora_a: &self.lora_a,
            lora_b: &self.lora_b,
            lora_bias: self.lora_bias.as_deref(),
            scaling: SCALING,
            dropout: self.dropout,
        };
        let mut results = Results {
            y: vec![f32::NAN; self.grad_y.len()],
            s: vec![f32::NAN; self.shape.num_tokens() * self.shape.rank()],
            ..start
        };
        let bias = self.bias.as_deref().map(Into::into);
        let sizes = [self.shape.num_tokens(), inputs];
        let input = Input::forward(x, sizes, DType::F32).unwrap();
        let (y, own_s) = (&mut results.y, &mut results.s);
        let outputs = Forward { input: &input, weight: Some(weight), bias, adapter, y, s: own_s };
        forward(&self.shape, outputs).unwrap();
        let input = Input::saved(x.into(), sizes, DType::F32, &[adapter]).unwrap();
        let saved = Saved { input: &input, weight: Some(weight), adapter, s: s.unwrap_or(&results.s) };
        let backward = Backward::new(&self.shape, saved, &self.grad_y).unwrap();
        tunesmith_lora::grad_x(std::slice::from_ref(&backward), Update::Accumulate, grad_x).unwrap();
        backward.lora_a(update, &mut results.grad_a).unwrap();
        backward.lora_b(update, &mut results.grad_b).unwrap();
        backward.lora_bias(update, &mut results.grad_bias).unwrap();
        results
    }

    /// The same values made positive: results of these are what errors are relative to.
    fn magnitudes(&self) -> Self {
        let abs = |values: &Vec<f32>| values.iter().map(|x| x.abs()).collect::<Vec<_>>();
        Self {
            weight: self.weight.with(abs(&self.weight.values)),
            bias: self.bias.as_ref().map(abs),
            lora_a: abs(&self.lora_a),
            lora_b: abs(&self.lora_b),
            lora_bias: self.lora_bias.as_ref().map(abs),
            grad_y: abs(&self.grad_y),
            ..self.clone()
        }
    }

    /// The adapter's part alone.
    fn without_base(&self) -> Self {
        Self { weight: self.weight.with(vec![0.0; self.weight.values.len()]), bias: None, ..self.clone() }
    }
}

/// Fails unless `|got - expected| <= bound(i)`, plus the rounding to `dtype`; a NaN fails.
fn within(
    name: &str,
    dtype: DType,
    got: &[f32],
    expected: &[f32],
    bound: impl Fn(usize) -> f64,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len());
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let bound = bound(i);
        let stored = if dtype == DType::BF16 { BF16_UNIT * (f64::from(expected).abs() + bound) } else { 0.0 };
        let difference = (f64::from(got) - f64::from(expected)).abs();
        prop_assert!(difference <= bound + stored, "{name}[{i}]: {got:e}, expected {expected:e}, bound {bound:e}");
    }
    Ok(())
}

/// Computes a case on both sides and compares every element of every result.
///
/// A term of a sum passes through at most as many roundings as the sum has terms, and a few of its own; on both sides that
/// makes twice as many, and what it is made from was rounded as often when it was summed itself. Errors are relative to the
/// result of the magnitudes, which the CPU computes with a relative error far below the 1 % allowed for it. With bf16, `s`
/// and `dS` are rounded once more before they are multiplied, and `s`, `y` and `dX` when they are stored.
pub(crate) fn check(case: &Case) -> Result<(), TestCaseError> {
    let device = Device::run(case, &testing::executor_as(case.architecture, case.seed))
        .map_err(|e| TestCaseError::fail(e.to_string()))?;
    let (dtype, x) = (case.dtype, case.x());
    let x_size: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    let halved = if dtype == DType::BF16 { 1.01 * BF16_UNIT } else { 0.0 };
    let f32_bound = |roundings: usize, size: f32| 2.02 * (roundings + 16) as f64 * UNIT * f64::from(size);
    let start_x = case.start(x.len(), 1);
    let mut grad_x = if case.add { start_x } else { vec![0.0; x.len()] };
    let mut grad_x_size: Vec<f32> = grad_x.iter().map(|x| x.abs()).collect();
    let mut grad_x_delta = vec![0.0; x.len()];
    let mut depth_x = 0;
    let update = if case.add { Update::Accumulate } else { Update::Overwrite };
    for (index, got) in device.projections.iter().enumerate() {
        let values = case.projection(index);
        let start = |len, site| case.start(len, 10 * (index as u32 + 1) + site);
        let start = Results {
            grad_a: start(values.lora_a.len(), 6),
            grad_b: start(values.lora_b.len(), 7),
            grad_bias: start(values.shape.out_features(), 8),
            ..Results::default()
        };
        let abs = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<_>>();
        let start_size = Results {
            grad_a: abs(&start.grad_a),
            grad_b: abs(&start.grad_b),
            grad_bias: abs(&start.grad_bias),
            ..Results::default()
        };
        // Both backward passes start from one `s`.
        let expected = values.run(&x, Some(&got.s), start, &mut grad_x, update);
        let sizes = values.magnitudes();
        let size = sizes.run(&x_size, Some(&abs(&got.s)), start_size.clone(), &mut grad_x_size, update);
        let delta = sizes.without_base().run(&x_size, None, start_size, &mut grad_x_delta, Update::Overwrite);

        let (inputs, outputs) = (case.in_features, values.shape.out_features());
        let (rank, tokens) = (values.shape.rank(), case.num_tokens);
        depth_x += 2 * outputs + rank;
        within("s", dtype, &got.s, &expected.s, |i| f32_bound(inputs, size.s[i]))?;
        within("y", dtype, &got.y, &expected.y, |i| {
            f32_bound(2 * inputs + rank, size.y[i]) + halved * f64::from(delta.y[i])
        })?;
        within("dA", DType::F32, &got.grad_a, &expected.grad_a, |i| {
            f32_bound(outputs + tokens, size.grad_a[i]) + halved * f64::from(size.grad_a[i])
        })?;
        within("dB", DType::F32, &got.grad_b, &expected.grad_b, |i| f32_bound(tokens, size.grad_b[i]))?;
        within("dlora_bias", DType::F32, &got.grad_bias, &expected.grad_bias, |i| {
            f32_bound(tokens, size.grad_bias[i])
        })?;
    }
    within("dX", dtype, &device.grad_x, &grad_x, |i| {
        f32_bound(depth_x, grad_x_size[i]) + halved * f64::from(grad_x_delta[i])
    })
}
