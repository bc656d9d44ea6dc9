//! Gradients of projections, from `dY` and what the forward pass saved.

use device::{Buffer, DType, Device, Elements};
use gemm::{Matrix, Packed, Update, column_sums, gemm, sum_of_products};

use crate::shape::{check, matrix, matrix_mut};
use crate::{Adapter, Input, LoraError, LoraShape};

/// What the forward pass of one projection read and wrote.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// [`Input::saved`].
    pub input: &'a Input<'a>,
    /// As in [`Forward`](crate::Forward); without one `dX` lacks `dY W`.
    pub weight: Option<Matrix<'a>>,
    /// As in [`Forward`](crate::Forward).
    pub adapter: Adapter<'a>,
    /// As the forward pass wrote it.
    pub s: &'a [f32],
}

impl Saved<'_> {
    /// An operand of a product.
    fn operand<'b>(&self, elements: impl Into<Elements<'b>>, shape: [usize; 2]) -> Matrix<'b> {
        matrix(elements, shape).rounded_to(self.input.precision())
    }
}

/// The backward pass of one projection: `dS = scaling dY B` and, on request, each gradient; that of `x` with those of others
/// ([`grad_x`]).
///
/// A gradient is written to the given slice as its [`Update`] says; one that is not asked for costs nothing.
pub struct Backward<'a> {
    shape: LoraShape,
    saved: Saved<'a>,
    grad_y: Packed<'a>,
    grad_s: Buffer,
}

/// `dX = sum of dY W + mask / (1 - p) (dS A)` over projections of one input, `[num_tokens, in_features]`: all products are
/// summed before it is written, but those behind a dropout.
///
/// # Errors
/// See [`Backward::new`]; [`LoraError::GroupInput`] if the inputs differ in shape.
pub fn grad_x(projections: &[Backward<'_>], update: Update<'_>, grad_x: &mut [f32]) -> Result<(), LoraError> {
    let Some(shape) = projections.first().map(|projection| projection.shape.x()) else { return Ok(()) };
    check("grad_x", shape, grad_x.len())?;
    for (index, projection) in projections.iter().enumerate() {
        let got = projection.shape.x();
        if got != shape {
            return Err(LoraError::GroupInput { index, expected: shape, got });
        }
    }
    let mut products = Vec::new();
    for projection in projections {
        products.extend(projection.saved.weight.map(|weight| (projection.grad_y.matrix(), weight)));
        if projection.saved.adapter.active_dropout().is_none() {
            products.push(projection.delta()?);
        }
    }
    sum_of_products(1.0, &products, update, matrix_mut(grad_x, shape))?;
    for projection in projections {
        if let Some(dropout) = projection.saved.adapter.active_dropout() {
            let mut product = scratch(shape)?;
            let (grad_s, lora_a) = projection.delta()?;
            gemm(1.0, grad_s, lora_a, Update::Overwrite, matrix_mut(product.f32_mut()?, shape))?;
            dropout.apply_add(product.f32()?, grad_x);
        }
    }
    Ok(())
}

impl<'a> Backward<'a> {
    /// Checks the arguments and computes `dS`. `grad_y` is `dY`, `[num_tokens, out_features]`.
    ///
    /// # Errors
    /// [`LoraError::Length`] and [`LoraError::WeightShape`] name an argument that does not have its shape;
    /// [`LoraError::Device`] or [`LoraError::Gemm`] if there is no memory. The same holds for every method.
    pub fn new(shape: &LoraShape, saved: Saved<'a>, grad_y: &'a [f32]) -> Result<Self, LoraError> {
        saved.input.check(shape)?;
        saved.weight.as_ref().map_or(Ok(()), |weight| shape.check_weight(weight))?;
        saved.adapter.check(shape)?;
        check("s", shape.s(), saved.s.len())?;
        check("grad_y", shape.y(), grad_y.len())?;
        let grad_y = Packed::left(saved.operand(grad_y, shape.y()))?;
        let mut grad_s = scratch(shape.s())?;
        let lora_b = saved.operand(saved.adapter.lora_b, shape.b());
        gemm(
            saved.adapter.scaling,
            grad_y.matrix(),
            lora_b,
            Update::Overwrite,
            matrix_mut(grad_s.f32_mut()?, shape.s()),
        )?;
        Ok(Self { shape: *shape, saved, grad_y, grad_s })
    }

    /// The factors of `dS A`.
    fn delta(&self) -> Result<(Matrix<'_>, Matrix<'_>), LoraError> {
        let lora_a = self.saved.operand(self.saved.adapter.lora_a, self.shape.a());
        Ok((self.saved.operand(self.grad_s.f32()?, self.shape.s()), lora_a))
    }

    /// `dA = dS^T drop(x)`, `[rank, in_features]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_a(&self, update: Update<'_>, grad_a: &mut [f32]) -> Result<(), LoraError> {
        check("grad_a", self.shape.a(), grad_a.len())?;
        let input = self.saved.input;
        let dropped = self.saved.adapter.active_dropout().map(|dropout| input.dropped(dropout)).transpose()?;
        let x = match &dropped {
            Some(dropped) => self.saved.operand(dropped.f32()?, self.shape.x()),
            None => input.matrix(),
        };
        let grad_s = self.saved.operand(self.grad_s.f32()?, self.shape.s());
        Ok(gemm(1.0, grad_s.transposed(), x, update, matrix_mut(grad_a, self.shape.a()))?)
    }

    /// `dB = dY^T s`, `[out_features, rank]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_b(&self, update: Update<'_>, grad_b: &mut [f32]) -> Result<(), LoraError> {
        check("grad_b", self.shape.b(), grad_b.len())?;
        let s = self.saved.operand(self.saved.s, self.shape.s());
        Ok(gemm(1.0, self.grad_y.matrix().transposed(), s, update, matrix_mut(grad_b, self.shape.b()))?)
    }

    /// The gradient of `lora_bias`: `scaling` times the column sums of `dY`, `[out_features]`.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_bias(&self, update: Update<'_>, grad_bias: &mut [f32]) -> Result<(), LoraError> {
        check("grad_lora_bias", self.shape.bias(), grad_bias.len())?;
        Ok(column_sums(self.saved.adapter.scaling, self.grad_y.matrix(), update, grad_bias)?)
    }
}

fn scratch([rows, cols]: [usize; 2]) -> Result<Buffer, LoraError> {
    Ok(Buffer::scratch(Device::Cpu, DType::F32, rows * cols)?)
}
