//! The projection as kernels.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use gemm::launch::{Matrix, MatrixMut, Update, column_sums, gemm};

use super::{OP, add_parent};
use crate::weight::{DenseMemory, WeightMemory};
use crate::{Layout, Result, Sink, Tensor, TensorError, Weight};

/// As [`super::linear()`], for operands of these sizes. Sums are f32; what is stored has the type of `x`, gradients of weights
/// and biases are f32.
pub(super) fn linear(
    x: &Tensor,
    weight: &Weight,
    bias: Option<&Tensor>,
    (n, inputs, outputs): (usize, usize, usize),
) -> Result<Tensor> {
    let dtype = x.dtype();
    let memory = x.on_device(OP, "x", dtype)?;
    let w = weight.on_device(OP, x.device(), dtype)?;
    let added = bias.map(|bias| bias.on_device(OP, "bias", dtype)).transpose()?;
    let mut y = Buffer::scratch(x.device(), dtype, n * outputs)?;
    match &w {
        WeightMemory::Dense(w) => {
            let update = added.as_ref().map_or(Update::Overwrite, Update::Bias);
            let product = MatrixMut::new(y.memory_mut()?, dtype, n, outputs);
            gemm(1.0, Matrix::new(&memory, dtype, n, inputs), w.matrix().transposed(), update, product)
                .map_err(TensorError::kernel(OP))?;
        }
        WeightMemory::Nf4(w) => {
            let weight = w.matrix().map_err(TensorError::kernel(OP))?;
            let (bias, y) = (added.as_ref(), y.memory_mut()?);
            nf4::launch::linear(nf4::launch::Linear { dtype, num_tokens: n, x: &memory, weight, bias, y })
                .map_err(TensorError::kernel(OP))?;
        }
    }

    let mut parents = vec![x];
    let weight_index = add_parent(&mut parents, weight.tensor());
    let bias_index = add_parent(&mut parents, bias);
    let saved_x = weight.requires_grad().then_some(memory);
    Tensor::record(OP, [n, outputs], y, &parents, move |grad_y, sink| {
        let grad_y_memory = grad_y.memory()?;
        let grad_y = Matrix::new(grad_y_memory, dtype, n, outputs);
        sink.accumulate_on(0, dtype, |grad_x, add| match &w {
            WeightMemory::Dense(w) => {
                let grad_x = MatrixMut::new(grad_x, dtype, n, inputs);
                gemm(1.0, grad_y, w.matrix(), update_of(add), grad_x).map_err(TensorError::kernel(OP))
            }
            WeightMemory::Nf4(w) => {
                let weight = w.matrix().map_err(TensorError::kernel(OP))?;
                let args = nf4::launch::GradX { dtype, num_tokens: n, grad_y: grad_y_memory, weight, grad_x, add };
                nf4::launch::grad_x(args).map_err(TensorError::kernel(OP))
            }
        })?;
        if let (Some(x), Some(index), WeightMemory::Dense(w)) = (saved_x, weight_index, &w) {
            give_weight_gradient(OP, sink, index, w, grad_y, Matrix::new(&x, dtype, n, inputs))?;
        }
        bias_index.map_or(Ok(()), |index| give_bias_gradient(OP, sink, index, grad_y))
    })
}

/// How a gradient joins what is there.
pub(in crate::ops) fn update_of(add: bool) -> Update<'static> {
    if add { Update::Accumulate } else { Update::Overwrite }
}

/// Gives `dW`, in the layout of the weight, to input `index`.
pub(in crate::ops) fn give_weight_gradient(
    op: &'static str,
    sink: &mut Sink<'_>,
    index: usize,
    weight: &DenseMemory,
    grad_y: Matrix<'_>,
    x: Matrix<'_>,
) -> Result<()> {
    let [rows, columns] = weight.stored();
    let (a, b) = match weight.layout() {
        Layout::OutIn => (grad_y.transposed(), x),
        Layout::InOut => (x.transposed(), grad_y),
    };
    sink.accumulate_on(index, DType::F32, |grad, add| {
        gemm(1.0, a, b, update_of(add), MatrixMut::new(grad, DType::F32, rows, columns))
            .map_err(TensorError::kernel(op))
    })
}

/// Gives the column sums of `dY` to input `index`.
pub(in crate::ops) fn give_bias_gradient(
    op: &'static str,
    sink: &mut Sink<'_>,
    index: usize,
    grad_y: Matrix<'_>,
) -> Result<()> {
    sink.accumulate_on(index, DType::F32, |grad: &mut DeviceBuffer, add| {
        column_sums(1.0, grad_y, update_of(add), grad).map_err(TensorError::kernel(op))
    })
}
