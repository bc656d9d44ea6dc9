//! The input of projections.

use device::{Buffer, DType, Device, Elements};
use gemm::{Matrix, Packed};

use crate::shape::{check, matrix};
use crate::{Adapter, Dropout, LoraError, LoraShape};

/// `x`, `[num_tokens, in_features]`: of one projection or of several (q, k and v; gate and up), which pack it once.
#[derive(Debug)]
pub struct Input<'a> {
    x: Elements<'a>,
    shape: [usize; 2],
    packed: Packed<'a>,
    precision: DType,
}

impl<'a> Input<'a> {
    /// The input of [`forward`](crate::forward()). `precision` is what all products round f32 operands to: bf16, or f32 for not
    /// at all.
    ///
    /// # Errors
    /// [`LoraError::Length`] if `x` has another number of elements; [`LoraError::Device`] or [`LoraError::Gemm`] if there is
    /// no memory.
    pub fn forward(x: &'a [f32], shape: [usize; 2], precision: DType) -> Result<Self, LoraError> {
        Self::new(x.into(), shape, precision, Packed::left)
    }

    /// The same for the [`Backward`](crate::Backward) of projections with these adapters: as it was, or rounded, for what is in
    /// bf16 is the operand that a product in bf16 reads.
    ///
    /// # Errors
    /// As [`Input::forward`].
    pub fn saved(
        x: Elements<'a>,
        shape: [usize; 2],
        precision: DType,
        adapters: &[Adapter<'_>],
    ) -> Result<Self, LoraError> {
        let readers = adapters.iter().filter(|adapter| adapter.active_dropout().is_none());
        let ranks: Vec<usize> = readers.map(|adapter| adapter.lora_a.len() / shape[1].max(1)).collect();
        Self::new(x, shape, precision, |x| Packed::right(x, &ranks))
    }

    fn new(
        x: Elements<'a>,
        shape: [usize; 2],
        precision: DType,
        pack: impl FnOnce(Matrix<'a>) -> Result<Packed<'a>, gemm::GemmError>,
    ) -> Result<Self, LoraError> {
        check("x", shape, x.len())?;
        Ok(Self { x, shape, packed: pack(matrix(x, shape).rounded_to(precision))?, precision })
    }

    pub(crate) fn check(&self, shape: &LoraShape) -> Result<(), LoraError> {
        check("x", shape.x(), self.shape[0].saturating_mul(self.shape[1]))
    }

    /// It as an operand of products.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        self.packed.matrix()
    }

    /// What products round their operands to.
    pub(crate) fn precision(&self) -> DType {
        self.precision
    }

    /// `drop(x)`, in f32.
    pub(crate) fn dropped(&self, dropout: Dropout) -> Result<Buffer, LoraError> {
        if let Elements::F32(x) = self.x {
            return dropout.apply(x);
        }
        let mut widened = Buffer::scratch(Device::Cpu, DType::F32, self.x.len())?;
        self.x.widen_into(widened.f32_mut()?);
        dropout.apply(widened.f32()?)
    }
}
