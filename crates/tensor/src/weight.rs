//! The matrix operand of a linear layer.

use device::DType;

use crate::{Result, Tensor};

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
        let Weight::Dense { tensor, layout } = self;
        tensor.shape()[if *layout == Layout::OutIn { 1 } else { 0 }]
    }

    /// Size of the output.
    pub fn out_features(&self) -> usize {
        let Weight::Dense { tensor, layout } = self;
        tensor.shape()[if *layout == Layout::OutIn { 0 } else { 1 }]
    }

    /// How its elements are stored.
    pub fn dtype(&self) -> DType {
        let Weight::Dense { tensor, .. } = self;
        tensor.dtype()
    }

    /// Whether it is trained.
    pub fn requires_grad(&self) -> bool {
        let Weight::Dense { tensor, .. } = self;
        tensor.requires_grad()
    }
}
