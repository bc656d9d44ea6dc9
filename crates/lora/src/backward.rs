//! Gradients of the projection, from `dY` and what the forward pass saved.

use device::{Buffer, DType, Device, Elements};
use gemm::{Matrix, Update, column_sums, gemm, sum_of_products};

use crate::shape::{check, matrix, matrix_mut};
use crate::{Adapter, Dropout, LoraError, LoraShape};

/// What the forward pass read and wrote.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// As in [`Forward`](crate::Forward), or rounded: what is in bf16 is the operand that a product in bf16 reads.
    pub x: Elements<'a>,
    /// As in [`Forward`](crate::Forward); without one `dX` lacks `dY W`.
    pub weight: Option<Matrix<'a>>,
    /// As in [`Forward`](crate::Forward).
    pub adapter: Adapter<'a>,
    /// As the forward pass wrote it.
    pub s: &'a [f32],
    /// As in [`Forward`](crate::Forward).
    pub precision: DType,
}

impl Saved<'_> {
    /// An operand of a product.
    fn operand<'b>(&self, elements: impl Into<Elements<'b>>, shape: [usize; 2]) -> Matrix<'b> {
        matrix(elements, shape).rounded_to(self.precision)
    }
}

/// The backward pass of one projection: `dS = scaling dY B` and, on request, each gradient.
///
/// A gradient is written to the given slice as its [`Update`] says; one that is not asked for costs nothing.
pub struct Backward<'a> {
    shape: LoraShape,
    saved: Saved<'a>,
    grad_y: Matrix<'a>,
    grad_s: Buffer,
}

impl<'a> Backward<'a> {
    /// Checks the arguments and computes `dS`. `grad_y` is `dY`, `[num_tokens, out_features]`.
    ///
    /// # Errors
    /// [`LoraError::Length`] and [`LoraError::WeightShape`] name an argument that does not have its shape;
    /// [`LoraError::Device`] or [`LoraError::Gemm`] if there is no memory. The same holds for every method.
    pub fn new(shape: &LoraShape, saved: Saved<'a>, grad_y: &'a [f32]) -> Result<Self, LoraError> {
        check("x", shape.x(), saved.x.len())?;
        saved.weight.as_ref().map_or(Ok(()), |weight| shape.check_weight(weight))?;
        saved.adapter.check(shape)?;
        check("s", shape.s(), saved.s.len())?;
        check("grad_y", shape.y(), grad_y.len())?;
        let grad_y = saved.operand(grad_y, shape.y());
        let mut grad_s = scratch(shape.s())?;
        let lora_b = saved.operand(saved.adapter.lora_b, shape.b());
        gemm(saved.adapter.scaling, grad_y, lora_b, Update::Overwrite, matrix_mut(grad_s.f32_mut()?, shape.s()))?;
        Ok(Self { shape: *shape, saved, grad_y, grad_s })
    }

    /// `dX = dY W + mask / (1 - p) (dS A)`, `[num_tokens, in_features]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn x(&self, update: Update<'_>, grad_x: &mut [f32]) -> Result<(), LoraError> {
        let shape = self.shape.x();
        check("grad_x", shape, grad_x.len())?;
        let base = self.saved.weight.map(|weight| (self.grad_y, weight));
        let (grad_s, lora_a) = (self.grad_s.f32()?, self.saved.adapter.lora_a);
        let delta = (self.saved.operand(grad_s, self.shape.s()), self.saved.operand(lora_a, self.shape.a()));
        match self.saved.adapter.active_dropout() {
            None => {
                let products: Vec<_> = base.into_iter().chain([delta]).collect();
                sum_of_products(1.0, &products, update, matrix_mut(grad_x, shape))?;
            }
            Some(dropout) => {
                sum_of_products(1.0, base.as_slice(), update, matrix_mut(grad_x, shape))?;
                let mut product = scratch(shape)?;
                sum_of_products(1.0, &[delta], Update::Overwrite, matrix_mut(product.f32_mut()?, shape))?;
                dropout.apply_add(product.f32()?, grad_x);
            }
        }
        Ok(())
    }

    /// `dA = dS^T drop(x)`, `[rank, in_features]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_a(&self, update: Update<'_>, grad_a: &mut [f32]) -> Result<(), LoraError> {
        check("grad_a", self.shape.a(), grad_a.len())?;
        let dropped = self.saved.adapter.active_dropout().map(|dropout| self.dropped(dropout)).transpose()?;
        let x = dropped.as_ref().map_or(Ok(self.saved.x), |buffer| buffer.f32().map(Elements::from))?;
        let x = self.saved.operand(x, self.shape.x());
        let grad_s = self.saved.operand(self.grad_s.f32()?, self.shape.s());
        Ok(gemm(1.0, grad_s.transposed(), x, update, matrix_mut(grad_a, self.shape.a()))?)
    }

    fn dropped(&self, dropout: Dropout) -> Result<Buffer, LoraError> {
        if let Elements::F32(x) = self.saved.x {
            return dropout.apply(x);
        }
        let mut widened = scratch(self.shape.x())?;
        self.saved.x.widen_into(widened.f32_mut()?);
        dropout.apply(widened.f32()?)
    }

    /// `dB = dY^T s`, `[out_features, rank]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_b(&self, update: Update<'_>, grad_b: &mut [f32]) -> Result<(), LoraError> {
        check("grad_b", self.shape.b(), grad_b.len())?;
        let s = self.saved.operand(self.saved.s, self.shape.s());
        Ok(gemm(1.0, self.grad_y.transposed(), s, update, matrix_mut(grad_b, self.shape.b()))?)
    }

    /// The gradient of `lora_bias`: `scaling` times the column sums of `dY`, `[out_features]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_bias(&self, update: Update<'_>, grad_bias: &mut [f32]) -> Result<(), LoraError> {
        check("grad_lora_bias", self.shape.bias(), grad_bias.len())?;
        Ok(column_sums(self.saved.adapter.scaling, self.grad_y, update, grad_bias)?)
    }
}

fn scratch([rows, cols]: [usize; 2]) -> Result<Buffer, LoraError> {
    Ok(Buffer::scratch(Device::Cpu, DType::F32, rows * cols)?)
}
