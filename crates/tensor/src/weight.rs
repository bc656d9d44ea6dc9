//! The matrix operand of a linear layer.

use std::sync::Arc;

use device::launch::DeviceBuffer;
use device::{DType, Device};
use gemm::Matrix;

use crate::nf4_memory::Nf4Memory;
use crate::{Int8Matrix, Nf4Matrix, Result, Tensor, TensorError};

/// How a weight lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[out_features, in_features]`: `nn.Linear`.
    OutIn,
    /// `[in_features, out_features]`: GPT-2's `Conv1D`.
    InOut,
}

/// A weight as it is stored. What reads it does not know how: a method and a storage meet only in the ops.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Weight {
    /// Every element stored by itself.
    Dense {
        /// The matrix; frozen in its stored dtype, or a trainable f32 leaf.
        tensor: Tensor,
        /// Which size comes first.
        layout: Layout,
    },
    /// Quantized blocks of `[out_features, in_features]`, always frozen.
    Nf4(Nf4Matrix),
    /// 8-bit integers `[out_features, in_features]`, always frozen, on the CPU alone.
    Int8(Int8Matrix),
}

impl Weight {
    /// A dense weight.
    ///
    /// # Errors
    /// [`crate::TensorError::Shape`] if `tensor` is no matrix.
    pub fn dense(tensor: Tensor, layout: Layout) -> Result<Self> {
        tensor.matrix_shape("weight", "tensor")?;
        Ok(Weight::Dense { tensor, layout })
    }

    /// Size of the input.
    pub fn in_features(&self) -> usize {
        self.stored()[if self.layout() == Layout::OutIn { 1 } else { 0 }]
    }

    /// Size of the output.
    pub fn out_features(&self) -> usize {
        self.stored()[if self.layout() == Layout::OutIn { 0 } else { 1 }]
    }

    /// Sizes as stored.
    fn stored(&self) -> [usize; 2] {
        match self {
            // `Weight::dense` checked that there are two.
            Weight::Dense { tensor, .. } => [tensor.shape()[0], tensor.shape()[1]],
            Weight::Nf4(matrix) => matrix.shape(),
            Weight::Int8(matrix) => matrix.shape(),
        }
    }

    /// Which size comes first.
    pub fn layout(&self) -> Layout {
        match self {
            Weight::Dense { layout, .. } => *layout,
            Weight::Nf4(_) | Weight::Int8(_) => Layout::OutIn,
        }
    }

    /// The type of its values.
    pub fn dtype(&self) -> DType {
        match self {
            Weight::Dense { tensor, .. } => tensor.dtype(),
            Weight::Nf4(matrix) => matrix.dtype(),
            Weight::Int8(matrix) => matrix.dtype(),
        }
    }

    /// The tensor that a gradient may flow to: an op's input beside its activations.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Weight::Dense { tensor, .. } => Some(tensor),
            Weight::Nf4(_) | Weight::Int8(_) => None,
        }
    }

    /// Whether it is trained.
    pub fn requires_grad(&self) -> bool {
        self.tensor().is_some_and(Tensor::requires_grad)
    }

    /// The values in `dtype` on `device`, for kernels.
    ///
    /// # Errors
    /// [`TensorError::OnHost`], [`TensorError::Device`].
    pub(crate) fn on_device(&self, op: &'static str, device: Device, dtype: DType) -> Result<WeightMemory> {
        match self {
            Weight::Dense { tensor, layout } => {
                let memory = tensor.on_device(op, "weight", dtype)?;
                Ok(WeightMemory::Dense(DenseMemory { memory, dtype, stored: self.stored(), layout: *layout }))
            }
            Weight::Nf4(matrix) => Ok(WeightMemory::Nf4(matrix.on_device(device)?)),
            Weight::Int8(_) => Err(TensorError::NoKernel { op: "a product of 8-bit integers", device }),
        }
    }

    /// Runs `body` on the weight as `[out_features, in_features]`.
    ///
    /// # Errors
    /// [`TensorError::Device`] if blocks that were quantized on a device cannot be copied from there.
    pub(crate) fn with_matrix<R>(&self, body: impl FnOnce(Matrix<'_>) -> R) -> Result<R> {
        match self {
            Weight::Dense { tensor, layout } => {
                let ([rows, columns], read) = (self.stored(), tensor.read());
                let stored = Matrix::new(read.elements(), rows, columns);
                Ok(body(if *layout == Layout::OutIn { stored } else { stored.transposed() }))
            }
            Weight::Nf4(matrix) => matrix.with_matrix(body),
            Weight::Int8(matrix) => Ok(matrix.with_matrix(body)),
        }
    }
}

/// A weight on a device.
#[derive(Debug)]
pub(crate) enum WeightMemory {
    Dense(DenseMemory),
    /// `[out_features, in_features]`; values become the type of what they are multiplied with as they are read.
    Nf4(Arc<Nf4Memory>),
}

impl WeightMemory {
    /// It with every element stored by itself, for an op that has no kernel for quantized blocks: these become a matrix of
    /// `dtype` in memory of the device's pool, which the next such op gets again.
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory.
    pub(crate) fn into_dense(self, op: &'static str, dtype: DType) -> Result<DenseMemory> {
        match self {
            WeightMemory::Dense(dense) => Ok(dense),
            WeightMemory::Nf4(blocks) => {
                let matrix = blocks.matrix().map_err(TensorError::kernel(op))?;
                let memory = matrix.dequantized(dtype).map_err(TensorError::kernel(op))?;
                Ok(DenseMemory { memory, dtype, stored: matrix.shape(), layout: Layout::OutIn })
            }
        }
    }
}

/// A dense weight on a device.
#[derive(Debug)]
pub(crate) struct DenseMemory {
    memory: DeviceBuffer,
    dtype: DType,
    stored: [usize; 2],
    layout: Layout,
}

impl DenseMemory {
    pub(crate) fn memory(&self) -> &DeviceBuffer {
        &self.memory
    }

    /// Sizes as stored.
    pub(crate) fn stored(&self) -> [usize; 2] {
        self.stored
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether it is stored `[in_features, out_features]`.
    pub(crate) fn is_transposed(&self) -> bool {
        self.layout == Layout::InOut
    }

    /// It as `[out_features, in_features]`.
    pub(crate) fn matrix(&self) -> gemm::launch::Matrix<'_> {
        let stored = gemm::launch::Matrix::new(&self.memory, self.dtype, self.stored[0], self.stored[1]);
        if self.is_transposed() { stored.transposed() } else { stored }
    }
}
