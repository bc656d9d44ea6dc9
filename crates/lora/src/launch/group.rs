//! Projections of one input.

use bytemuck::Zeroable;
use device::DType;
use device::launch::{DeviceBuffer, Executor, Work};
use gemm::launch::Matrix;
use nf4::CODEBOOK;

use super::params::{LORA_MAX_PROJECTIONS, LoraParams, LoraProjection};
use super::{Weight, check_buffer, dropout};
use crate::{Dropout, LoraError, LoraShape};

/// One projection in device memory: [`Adapter`](crate::Adapter) and the base weight.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a> {
    /// Its sizes.
    pub shape: LoraShape,
    /// The base weight, `[out_features, in_features]`.
    pub weight: Weight<'a>,
    /// The base bias, `[out_features]`.
    pub bias: Option<&'a DeviceBuffer>,
    /// `A`, `[rank, in_features]`.
    pub lora_a: &'a DeviceBuffer,
    /// `B`, `[out_features, rank]`.
    pub lora_b: &'a DeviceBuffer,
    /// Bias of the second product, `[out_features]`.
    pub lora_bias: Option<&'a DeviceBuffer>,
    /// `alpha / rank`, or `alpha / sqrt(rank)` with rsLoRA.
    pub scaling: f32,
    /// Dropout of the adapter's input; `None` in evaluation.
    pub dropout: Option<Dropout>,
}

/// Projections of one input, which are computed together. All buffers are of one device.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Of `x`, the weights and the activations: f32 or bf16.
    pub dtype: DType,
    /// `[num_tokens, in_features]`
    pub x: &'a DeviceBuffer,
    /// One to three, whose shapes agree in `num_tokens` and `in_features`.
    pub projections: &'a [Projection<'a>],
}

impl Projection<'_> {
    fn buffers(&self) -> impl Iterator<Item = &DeviceBuffer> {
        self.weight.buffers().chain([self.lora_a, self.lora_b]).chain(self.bias).chain(self.lora_bias)
    }

    fn check(&self, dtype: DType) -> Result<(), LoraError> {
        let Self { shape, weight, bias, lora_a, lora_b, lora_bias, .. } = self;
        weight.check(shape, dtype)?;
        check_buffer("lora_a", shape.a(), dtype, lora_a)?;
        check_buffer("lora_b", shape.b(), dtype, lora_b)?;
        for (argument, bias) in [("bias", bias), ("lora_bias", lora_bias)] {
            bias.map_or(Ok(()), |bias| check_buffer(argument, shape.bias(), dtype, bias))?;
        }
        Ok(())
    }

    fn params(&self) -> LoraProjection {
        let address = |buffer: Option<&DeviceBuffer>| buffer.map_or(0, DeviceBuffer::address);
        let mut params = LoraProjection {
            bias: address(self.bias),
            lora_a: self.lora_a.address(),
            lora_b: self.lora_b.address(),
            lora_bias: address(self.lora_bias),
            out_features: self.shape.out_features() as u64,
            rank: self.shape.rank() as u64,
            dropout: dropout::params(self.dropout),
            scaling: self.scaling,
            ..LoraProjection::zeroed()
        };
        self.weight.describe(&mut params);
        params
    }

    /// `W` as a matrix `[out_features, in_features]`, if it is dense.
    pub(super) fn matrix(&self, dtype: DType) -> Option<Matrix<'_>> {
        self.weight.matrix(&self.shape, dtype)
    }

    /// Whether its dropout drops anything.
    pub(super) fn drops(&self) -> bool {
        self.dropout.is_some_and(|dropout| !dropout.is_identity())
    }

    /// `1 / (1 - p)` of the dropout.
    pub(super) fn dropout_scale(&self) -> f32 {
        dropout::params(self.dropout).scale
    }
}

impl<'a> Group<'a> {
    /// Checks every operand, and that the type has kernels.
    pub(super) fn check(&self) -> Result<(), LoraError> {
        let most = LORA_MAX_PROJECTIONS as usize;
        let first = match self.projections {
            [first, ..] if self.projections.len() <= most => first.shape,
            other => return Err(LoraError::GroupSize { most, got: other.len() }),
        };
        if self.dtype == DType::F16 {
            return Err(LoraError::KernelDType { got: self.dtype });
        }
        check_buffer("x", first.x(), self.dtype, self.x)?;
        for (index, projection) in self.projections.iter().enumerate() {
            let (expected, got) = (first.x(), projection.shape.x());
            if got != expected {
                return Err(LoraError::GroupInput { index, expected, got });
            }
            projection.check(self.dtype)?;
        }
        let transposed =
            |projection: &Projection<'_>| matches!(projection.weight, Weight::Dense { transposed: true, .. });
        match self.projections.iter().position(transposed) {
            Some(index) if self.is_quantized() => Err(LoraError::GroupLayout { index }),
            _ => Ok(()),
        }
    }

    /// Whether the kernels for quantized weights are needed.
    pub(super) fn is_quantized(&self) -> bool {
        self.projections.iter().any(|projection| matches!(projection.weight, Weight::Nf4(_)))
    }

    /// The device that all operands and `others` are on.
    pub(super) fn executor<'b>(
        &self,
        others: impl IntoIterator<Item = &'b DeviceBuffer>,
    ) -> Result<&'a Executor, LoraError>
    where
        'a: 'b,
    {
        let own = self.projections.iter().flat_map(Projection::buffers);
        Executor::of(self.x, own)?;
        Ok(Executor::of(self.x, others)?)
    }

    /// Of a base product and an update of as many columns as `width` says for every projection: weights, adapters and `x`,
    /// or the gradient of `x`, once.
    pub(super) fn work(&self, width: impl Fn(&LoraShape) -> usize) -> Work {
        let own = self.projections.iter().map(|Projection { shape, weight, lora_b, .. }| {
            let [tokens, inputs] = shape.x();
            let outputs = shape.out_features();
            Work::product([tokens, outputs, inputs])
                + Work::product([tokens, width(shape), shape.rank()])
                + Work::over(weight.buffers().chain([*lora_b]))
        });
        own.sum::<Work>() + Work::over([self.x])
    }

    /// Sizes, which all projections have in common: `[num_tokens, in_features]`.
    pub(super) fn input(&self) -> [usize; 2] {
        self.projections.first().map_or([0, 0], |projection| projection.shape.x())
    }

    /// The parameters that every kernel takes.
    pub(super) fn params(&self) -> LoraParams {
        let [num_tokens, in_features] = self.input().map(|size| size as u64);
        let mut params = LoraParams {
            x: self.x.address(),
            num_tokens,
            in_features,
            codebook: CODEBOOK,
            count: self.projections.len() as u32,
            ..LoraParams::zeroed()
        };
        for (params, projection) in params.projections.iter_mut().zip(self.projections) {
            *params = projection.params();
        }
        params
    }
}
