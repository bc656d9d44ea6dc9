//! Base weights, stored element by element or quantized.

use device::DType;
use device::launch::DeviceBuffer;
use gemm::launch::Matrix;
use nf4::launch::dequantizes_first;

use super::params::LoraProjection;
use super::{Group, Projection, check_buffer};
use crate::{LoraError, LoraShape};

/// A base weight in device memory.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a> {
    /// Every element stored by itself.
    Dense {
        /// The matrix, in the type of the activations.
        buffer: &'a DeviceBuffer,
        /// Whether it is stored `[in_features, out_features]`, as GPT-2's `Conv1D`.
        transposed: bool,
    },
    /// Quantized blocks, row by row: QLoRA.
    Nf4(nf4::launch::Matrix<'a>),
}

impl<'a> Weight<'a> {
    pub(super) fn buffers(&self) -> impl Iterator<Item = &'a DeviceBuffer> + use<'a> {
        let (dense, quantized) = match self {
            Weight::Dense { buffer, .. } => (Some(*buffer), None),
            Weight::Nf4(matrix) => (None, Some(matrix.buffers())),
        };
        dense.into_iter().chain(quantized.into_iter().flatten())
    }

    pub(super) fn check(&self, shape: &LoraShape, dtype: DType) -> Result<(), LoraError> {
        let expected = [shape.out_features(), shape.in_features()];
        match self {
            Weight::Dense { buffer, .. } => check_buffer("weight", expected, dtype, buffer),
            Weight::Nf4(matrix) if matrix.shape() == expected => Ok(()),
            Weight::Nf4(matrix) => Err(LoraError::WeightShape { expected, got: matrix.shape() }),
        }
    }

    /// Fills in what kernels are told of it.
    pub(super) fn describe(&self, params: &mut LoraProjection) {
        match self {
            Weight::Dense { buffer, transposed } => {
                (params.weight, params.weight_transposed) = (buffer.address(), u32::from(*transposed));
            }
            Weight::Nf4(matrix) => params.quantized = matrix.params(),
        }
    }

    /// The dense matrix `[out_features, in_features]`, if it is one.
    pub(super) fn matrix(&self, shape: &LoraShape, dtype: DType) -> Option<Matrix<'a>> {
        let (outputs, inputs) = (shape.out_features(), shape.in_features());
        match *self {
            Weight::Dense { buffer, transposed: true } => {
                Some(Matrix::new(buffer, dtype, inputs, outputs).transposed())
            }
            Weight::Dense { buffer, transposed: false } => Some(Matrix::new(buffer, dtype, outputs, inputs)),
            Weight::Nf4(_) => None,
        }
    }
}

/// Weights of a group that are dequantized into memory, where that is faster: [`dequantizes_first`].
pub(super) struct Dequantized(Vec<Option<DeviceBuffer>>);

impl Dequantized {
    /// Of a group that was checked.
    pub(super) fn of(group: &Group<'_>) -> Result<Self, LoraError> {
        let architecture = group.x.executor().architecture();
        let worth_it = dequantizes_first(architecture, group.dtype, group.input()[0]);
        let weights = group.projections.iter().map(|projection| match projection.weight {
            Weight::Nf4(matrix) if worth_it => Ok(Some(matrix.dequantized(group.dtype)?)),
            _ => Ok(None),
        });
        Ok(Self(weights.collect::<Result<_, LoraError>>()?))
    }

    /// The projections of the group with these weights.
    pub(super) fn projections<'a>(&'a self, group: &Group<'a>) -> Vec<Projection<'a>> {
        let dense = |buffer| Weight::Dense { buffer, transposed: false };
        let pairs = group.projections.iter().zip(&self.0);
        pairs
            .map(|(projection, buffer)| Projection {
                weight: buffer.as_ref().map_or(projection.weight, dense),
                ..*projection
            })
            .collect()
    }
}
