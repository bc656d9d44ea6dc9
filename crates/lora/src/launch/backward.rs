//! Launching the backward pass.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Work};
use gemm::launch::{Matrix, MatrixMut, Sum, Update, column_sums, sums_on_hopper};

use super::kernels::{
    LORA_GRAD_A_BF16, LORA_GRAD_A_F32, LORA_GRAD_B_BF16, LORA_GRAD_B_F32, LORA_GRAD_S_BF16, LORA_GRAD_S_F32,
    LORA_GRAD_X_BF16, LORA_GRAD_X_F32, LORA_GRAD_X_NF4_BF16, LORA_GRAD_X_NF4_F32,
};
use super::params::{LORA_NF4_SHARED_BYTES, LORA_SHARED_BYTES, LORA_THREADS, LORA_TILE, LoraParams};
use super::weight::Dequantized;
use super::{Gradient, Group, check_buffer, check_count, matrix, narrow, of_dtype};
use crate::{LoraError, LoraShape};

/// What the forward pass of one projection left, and the gradient of its output.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// `[num_tokens, rank]`, as the forward pass wrote it.
    pub s: &'a DeviceBuffer,
    /// `[num_tokens, out_features]`
    pub grad_y: &'a DeviceBuffer,
}

/// The backward pass of a group: `dS` of every projection and, on request, each gradient. One that is not asked for costs
/// nothing.
#[derive(Debug)]
pub struct Backward<'a> {
    group: Group<'a>,
    saved: &'a [Saved<'a>],
    grad_s: Vec<DeviceBuffer>,
}

impl<'a> Backward<'a> {
    /// Checks the arguments and computes `dS` of all projections.
    ///
    /// # Errors
    /// Those of [`forward`](super::forward()). The same holds for every method.
    pub fn new(group: Group<'a>, saved: &'a [Saved<'a>]) -> Result<Self, LoraError> {
        group.check()?;
        check_count("grad_y", group.projections.len(), saved.len())?;
        for (projection, saved) in group.projections.iter().zip(saved) {
            check_buffer("s", projection.shape.s(), group.dtype, saved.s)?;
            check_buffer("grad_y", projection.shape.y(), group.dtype, saved.grad_y)?;
        }
        let executor = group.executor(saved.iter().flat_map(|saved| [saved.s, saved.grad_y]))?;
        let bytes = |shape: &LoraShape| shape.s()[0] * shape.s()[1] * group.dtype.size_bytes();
        let grad_s = group.projections.iter().map(|projection| executor.allocate(bytes(&projection.shape)));
        let mut backward = Self { group, saved, grad_s: grad_s.collect::<Result<_, _>>()? };
        let params = backward.params();
        let products = group.projections.iter().zip(&mut backward.grad_s).map(|(projection, grad_s)| {
            let shape = projection.shape;
            narrow::Product {
                sizes: [shape.num_tokens(), shape.rank(), shape.out_features()],
                alpha: projection.scaling,
                result: grad_s,
                dtype: group.dtype,
                add: false,
            }
        });
        let kernel = of_dtype(group.dtype, &LORA_GRAD_S_F32, &LORA_GRAD_S_BF16)?;
        // SAFETY: the buffers were checked to be of this executor and to hold what the shapes say; `grad_s` was just made.
        unsafe { narrow::launch(executor, kernel, group.dtype, params, products.collect())? };
        Ok(backward)
    }

    fn params(&self) -> LoraParams {
        self.params_of(&self.group)
    }

    /// The parameters of a group that is as ours but for its weights.
    fn params_of(&self, group: &Group<'_>) -> LoraParams {
        let mut params = group.params();
        for ((params, saved), grad_s) in params.projections.iter_mut().zip(self.saved).zip(&self.grad_s) {
            (params.s, params.y, params.grad_s) = (saved.s.address(), saved.grad_y.address(), grad_s.address());
        }
        params
    }

    /// `dX = sum of dY W + mask / (1 - p) (dS A)` over the projections, `[num_tokens, in_features]` in the group's type.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn x(&self, gradient: Gradient<'_>) -> Result<(), LoraError> {
        let [num_tokens, in_features] = self.group.input();
        let dtype = self.group.dtype;
        check_buffer("grad_x", [num_tokens, in_features], dtype, gradient.values)?;
        let executor = Executor::of(self.group.x, [&*gradient.values])?;
        let weights = Dequantized::of(&self.group)?;
        let group = Group { projections: &weights.projections(&self.group), ..self.group };
        if self.x_on_hopper(group, gradient.add, gradient.values)? {
            return Ok(());
        }
        let (f32, bf16, shared) = match group.is_quantized() {
            true => (&LORA_GRAD_X_NF4_F32, &LORA_GRAD_X_NF4_BF16, LORA_NF4_SHARED_BYTES),
            false => (&LORA_GRAD_X_F32, &LORA_GRAD_X_BF16, LORA_SHARED_BYTES),
        };
        let params =
            LoraParams { grad_x: gradient.values.address(), add: u32::from(gradient.add), ..self.params_of(&group) };
        let tile = LORA_TILE as usize;
        let blocks = num_tokens.div_ceil(tile).saturating_mul(in_features.div_ceil(tile));
        let read = self.saved.iter().map(|saved| saved.grad_y).chain(&self.grad_s);
        let work = group.work(LoraShape::in_features) + Work::over(read);
        let grid = Grid::covering(blocks, 1, LORA_THREADS).with_shared(shared).doing(work);
        let kernel = of_dtype(dtype, f32, bf16)?;
        // SAFETY: as in `new`; the gradient is borrowed mutably.
        Ok(unsafe { executor.launch(kernel, grid, &params) }?)
    }

    /// The same of `group` with the kernel for Hopper; `false` where it does not fit.
    fn x_on_hopper(&self, group: Group<'_>, add: bool, grad_x: &mut DeviceBuffer) -> Result<bool, LoraError> {
        let Group { dtype, projections, .. } = group;
        let weights = projections.iter().map(|projection| projection.matrix(dtype).filter(|_| !projection.drops()));
        let Some(weights) = weights.collect::<Option<Vec<_>>>() else { return Ok(false) };
        let deltas = projections.iter().zip(&self.grad_s).map(|(projection, grad_s)| {
            let shape = projection.shape;
            (matrix(grad_s, dtype, shape.s()), matrix(projection.lora_a, dtype, shape.a()))
        });
        let bases = projections
            .iter()
            .zip(self.saved)
            .zip(weights)
            .map(|((projection, saved), weight)| (matrix(saved.grad_y, dtype, projection.shape.y()), weight));
        let [rows, cols] = group.input();
        let c = MatrixMut::new(grad_x, dtype, rows, cols);
        let sum = Sum { terms: deltas.chain(bases).collect(), bias: None, scale: None, c };
        Ok(sums_on_hopper(1.0, add, &mut [sum])?)
    }

    /// `dA = dS^T drop(x)` of every projection, `[rank, in_features]` f32.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_a(&self, gradients: &mut [Gradient<'_>]) -> Result<(), LoraError> {
        self.check_gradients("grad_a", LoraShape::a, gradients)?;
        let products = self.group.projections.iter().zip(gradients).map(|(projection, gradient)| {
            let shape = projection.shape;
            let sizes = [shape.rank(), shape.in_features(), shape.num_tokens()];
            let alpha = projection.dropout_scale();
            narrow::Product { sizes, alpha, result: gradient.values, dtype: DType::F32, add: gradient.add }
        });
        let kernel = of_dtype(self.group.dtype, &LORA_GRAD_A_F32, &LORA_GRAD_A_BF16)?;
        // SAFETY: as in `new`; the gradients are borrowed mutably.
        unsafe { narrow::launch(self.group.x.executor(), kernel, self.group.dtype, self.params(), products.collect()) }
    }

    /// `dB = dY^T s` of every projection, `[out_features, rank]` f32.
    ///
    /// # Errors
    /// See [`Backward::new`].
    pub fn lora_b(&self, gradients: &mut [Gradient<'_>]) -> Result<(), LoraError> {
        self.check_gradients("grad_b", LoraShape::b, gradients)?;
        let products = self.group.projections.iter().zip(gradients).map(|(projection, gradient)| {
            let shape = projection.shape;
            let sizes = [shape.out_features(), shape.rank(), shape.num_tokens()];
            narrow::Product { sizes, alpha: 1.0, result: gradient.values, dtype: DType::F32, add: gradient.add }
        });
        let kernel = of_dtype(self.group.dtype, &LORA_GRAD_B_F32, &LORA_GRAD_B_BF16)?;
        // SAFETY: as in `new`; the gradients are borrowed mutably.
        unsafe { narrow::launch(self.group.x.executor(), kernel, self.group.dtype, self.params(), products.collect()) }
    }

    /// The gradient of `lora_bias` of projection `index`: `scaling` times the column sums of `dY`, `[out_features]` f32.
    ///
    /// # Errors
    /// See [`Backward::new`]; [`LoraError::GroupBuffers`] if there is no such projection.
    pub fn lora_bias(&self, index: usize, gradient: Gradient<'_>) -> Result<(), LoraError> {
        let expected = self.saved.len();
        let of_index = self.group.projections.get(index).zip(self.saved.get(index));
        let (projection, saved) =
            of_index.ok_or(LoraError::GroupBuffers { argument: "grad_lora_bias", expected, got: index })?;
        let shape = projection.shape;
        check_buffer("grad_lora_bias", shape.bias(), DType::F32, gradient.values)?;
        let grad_y = Matrix::new(saved.grad_y, self.group.dtype, shape.num_tokens(), shape.out_features());
        let update = if gradient.add { Update::Accumulate } else { Update::Overwrite };
        Ok(column_sums(projection.scaling, grad_y, update, gradient.values)?)
    }

    /// One gradient for each projection, of the right shape and device.
    fn check_gradients(
        &self,
        argument: &'static str,
        shape: impl Fn(&LoraShape) -> [usize; 2],
        gradients: &[Gradient<'_>],
    ) -> Result<(), LoraError> {
        check_count(argument, self.group.projections.len(), gradients.len())?;
        for (projection, gradient) in self.group.projections.iter().zip(gradients) {
            check_buffer(argument, shape(&projection.shape), DType::F32, gradient.values)?;
        }
        Executor::of(self.group.x, gradients.iter().map(|gradient| &*gradient.values))?;
        Ok(())
    }
}
