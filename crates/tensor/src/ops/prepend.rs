//! `y[s] = [prompt; x[s]]` for every sequence `s` of a packed batch: soft prompts in front of the embeddings.
//!
//! `dprompt = sum_s dy[s][..P]`      `dx[s] = dy[s][P..]`

use std::sync::Arc;

use device::{Buffer, DType, Device};
use transformer::Gradient;
use transformer::launch::{self, Starts, prepend as kernel};
use transformer::prepend::{Shape, backward_prompt, backward_x, forward};

use crate::{Result, Sequences, Tensor, TensorError};

const OP: &str = "prepend";

/// Puts the rows of `prompt`, `[P, width]`, before each of the `sequences` of `x`, `[num_tokens, width]`:
/// `[num_tokens + num_sequences * P, width]`.
///
/// # Errors
/// [`TensorError::Shape`] if the widths differ; [`TensorError::Kernel`] if `x` does not hold the sequences;
/// [`TensorError::DType`] unless both are f32 on the CPU.
pub fn prepend(prompt: &Tensor, x: &Tensor, sequences: &Arc<Sequences>) -> Result<Tensor> {
    let (prompt_rows, width) = prompt.matrix_shape(OP, "prompt")?;
    if x.matrix_shape(OP, "x")?.1 != width {
        return Err(x.unexpected(OP, "x", format!("[num_tokens, {width}]")));
    }
    let shape = Shape { prompt_rows, width, cu_seqlens: sequences.cu_seqlens_q() };
    if x.device() != Device::Cpu {
        return on_device(prompt, x, shape);
    }
    let rows = shape.num_rows();
    let mut y = Buffer::scratch(x.device(), DType::F32, rows * width)?;
    {
        let (prompt, x) = (prompt.read(), x.read());
        forward(shape, prompt.f32(OP, "prompt")?, x.f32(OP, "x")?, y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    }
    let saved = Arc::clone(sequences);
    Tensor::record(OP, [rows, width], y, &[prompt, x], move |grad_y, sink| {
        let (shape, dy) = (Shape { prompt_rows, width, cu_seqlens: saved.cu_seqlens_q() }, grad_y.f32()?);
        sink.accumulate(0, |values, add| {
            backward_prompt(shape, dy, Gradient { values, add }).map_err(TensorError::kernel(OP))
        })?;
        sink.accumulate(1, |values, add| {
            backward_x(shape, dy, Gradient { values, add }).map_err(TensorError::kernel(OP))
        })
    })
}

/// The same as kernels, in the type of `x`; the prompt is read in its own, f32 where it is trained.
fn on_device(prompt: &Tensor, x: &Tensor, shape: Shape<'_>) -> Result<Tensor> {
    let (dtype, rows) = (x.dtype(), shape.num_rows());
    let prompt_dtype = if prompt.dtype() == dtype { dtype } else { DType::F32 };
    let (read_prompt, read_x) = (prompt.on_device(OP, "prompt", prompt_dtype)?, x.on_device(OP, "x", dtype)?);
    let starts = Starts::new(read_x.executor(), shape.cu_seqlens).map_err(TensorError::kernel(OP))?;
    let Shape { prompt_rows, width, .. } = shape;
    let mut y = Buffer::scratch(x.device(), dtype, rows * width)?;
    let shape = kernel::Shape { prompt_rows, width, starts: &starts };
    kernel::forward(shape, (prompt_dtype, &read_prompt), (dtype, &read_x), y.memory_mut()?)
        .map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, [rows, width], y, &[prompt, x], move |grad_y, sink| {
        let shape = kernel::Shape { prompt_rows, width, starts: &starts };
        let dy = (dtype, grad_y.memory()?);
        sink.accumulate_on(0, prompt_dtype, |values, add| {
            let gradient = (prompt_dtype, launch::Gradient { values, add });
            kernel::backward_prompt(shape, dy, gradient).map_err(TensorError::kernel(OP))
        })?;
        sink.accumulate_on(1, dtype, |values, add| {
            kernel::backward_x(shape, dy, launch::Gradient { values, add }).map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::ops;

    #[test]
    fn gradients() {
        let sequences = Arc::new(Sequences::packed(&[0, 2, 2, 3]).unwrap());
        let inputs = [values([2, 3], 1), values([3, 3], 2)];
        // A computed prompt and a leaf.
        let worst = gradcheck(&inputs, |x| prepend(&ops::scale(&x[0], 0.5)?, &x[1], &sequences)).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        let worst = gradcheck(&inputs[..1], |x| {
            let frozen = Tensor::from_f32(inputs[1].0, &inputs[1].1)?;
            prepend(&x[0], &frozen, &sequences)
        })
        .unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn shapes_are_checked() {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let sequences = Arc::new(Sequences::packed(&[0, 2]).unwrap());
        let message = prepend(&tensor(&[1, 3]), &tensor(&[2, 4]), &sequences).unwrap_err().to_string();
        assert_eq!(message, "prepend: `x` has shape [2, 4], expected [num_tokens, 3]");
        assert!(matches!(prepend(&tensor(&[1, 3]), &tensor(&[3, 3]), &sequences), Err(TensorError::Kernel { .. })));
        assert_eq!(prepend(&tensor(&[0, 3]), &tensor(&[2, 3]), &sequences).unwrap().shape(), [2, 3]);
    }
}
