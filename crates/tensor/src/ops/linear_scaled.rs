//! `y[t, c] = (x W^T + bias)[t, c] * l[c]`: a projection whose outputs have a learned factor each, which its product applies
//! before it writes them.
//!
//! dx = (dY diag(l)) W, `dl[c] = sum over t of dY[t, c] (x W^T + bias)[t, c]`
//!
//! What the factors multiply is kept for their own gradient alone.

mod on_device;

use device::{Buffer, DType, Device};
use gemm::{ColumnScale, Matrix, MatrixMut, gemm, gemm_scaled};
use ia3::Ia3Shape;

use super::ia3_scale::{gradients, ia3_scale};
use super::linear::{linear, sizes, update, widened};
use crate::saved::narrowed;
use crate::{Result, Tensor, TensorError, Weight, tape};

const OP: &str = "linear_scaled";

/// Projects `x` `[num_tokens, in_features]` to `[num_tokens, out_features]` and scales the outputs by `ia3_l`, `out_features`
/// elements in any shape: (IA)^3 of keys and values. A base that is trained as well, or is quantized on a device, is projected
/// first and scaled then.
///
/// # Errors
/// Those of [`linear()`](super::linear()); [`TensorError::Shape`] if there are not as many factors as outputs.
pub fn linear_scaled(x: &Tensor, weight: &Weight, bias: Option<&Tensor>, ia3_l: &Tensor) -> Result<Tensor> {
    let (n, inputs, outputs) = sizes(OP, x, weight, bias)?;
    if ia3_l.count() != outputs {
        return Err(ia3_l.unexpected(OP, "ia3_l", format!("{outputs} elements")));
    }
    let is_trained = weight.requires_grad() || bias.is_some_and(Tensor::requires_grad);
    let is_quantized = match weight {
        Weight::Dense { .. } => false,
        Weight::Nf4(_) => x.device() != Device::Cpu,
        Weight::Int8(_) => true,
    };
    if is_trained || is_quantized {
        return ia3_scale(&linear(x, weight, bias)?, ia3_l);
    }
    if x.device() != Device::Cpu {
        return on_device::linear_scaled(x, weight, bias, ia3_l, (n, inputs, outputs));
    }
    let precision = x.precision();
    let mut y = Buffer::scratch(Device::Cpu, DType::F32, n * outputs)?;
    let mut unscaled = scratch_to_keep(ia3_l, Device::Cpu, DType::F32, n * outputs)?;
    {
        let (x, bias, factors) = (x.read(), bias.map(widened).transpose()?, ia3_l.read());
        let bias = bias.as_ref().map(Buffer::f32).transpose()?;
        let x = Matrix::new(x.f32(OP, "x")?, n, inputs).rounded_to(precision);
        let unscaled = unscaled.as_mut().map(Buffer::f32_mut).transpose()?;
        let scale = ColumnScale { factors: factors.f32(OP, "ia3_l")?, unscaled };
        let y = y.f32_mut()?;
        weight.with_matrix(|w| gemm_scaled(x, w.transposed(), bias, scale, y))?.map_err(TensorError::kernel(OP))?;
    }
    let unscaled = match unscaled {
        Some(unscaled) if precision == DType::BF16 => Some(Tensor::new([n, outputs], narrowed(unscaled.f32()?)?)?),
        Some(unscaled) => Some(Tensor::new([n, outputs], unscaled)?),
        None => None,
    };
    let (weight, factors) = (weight.clone(), ia3_l.detach());
    Tensor::record(OP, [n, outputs], y, &[x, ia3_l], move |grad_y, sink| {
        let shape = Ia3Shape { num_tokens: n, features: outputs };
        let unscaled = unscaled.map(|kept| kept.widened()).transpose()?;
        let (grad, grad_l) = gradients(OP, shape, unscaled.as_ref(), &factors, &grad_y, sink.needs(0))?;
        if let Some(grad) = grad {
            let grad = Matrix::new(grad.f32()?, n, outputs).rounded_to(precision);
            sink.accumulate(0, |grad_x, add| {
                let grad_x = MatrixMut::new(grad_x, n, inputs);
                weight.with_matrix(|w| gemm(1.0, grad, w, update(add), grad_x))?.map_err(TensorError::kernel(OP))
            })?;
        }
        grad_l.map_or(Ok(()), |grad_l| sink.give(1, grad_l))
    })
}

/// Memory for the outputs before they are scaled, if the gradient of the factors will read them.
fn scratch_to_keep(ia3_l: &Tensor, device: Device, dtype: DType, count: usize) -> Result<Option<Buffer>> {
    match ia3_l.requires_grad() && tape::is_recording() {
        true => Ok(Some(Buffer::scratch(device, dtype, count)?)),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, Layout, Nf4Matrix, backward, ops};

    fn tensor(shape: impl Into<crate::Shape>, seed: u64) -> Tensor {
        let (shape, values) = values(shape, seed);
        Tensor::from_f32(shape, &values).unwrap()
    }

    #[test]
    fn gradients() {
        for (layout, shape) in [(Layout::OutIn, [4, 3]), (Layout::InOut, [3, 4])] {
            let (weight, bias) = (Weight::dense(tensor(shape, 2), layout).unwrap(), tensor([4], 3));
            let inputs = [values([5, 3], 1), values([4, 1], 4)];
            let worst = gradcheck(&inputs, |x| linear_scaled(&x[0], &weight, Some(&bias), &x[1])).unwrap();
            // Bilinear: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
            assert!(worst <= 1e-4, "{worst}");
        }
        // A base that is trained too.
        let inputs = [values([5, 3], 1), values([4, 3], 2), values([4], 3), values([4], 4)];
        let worst = gradcheck(&inputs, |x| {
            linear_scaled(&x[0], &Weight::dense(x[1].clone(), Layout::OutIn)?, Some(&x[2]), &x[3])
        })
        .unwrap();
        assert!(worst <= 1e-3, "{worst}");
    }

    #[test]
    fn it_is_linear_then_ia3_scale_bit_for_bit() {
        let base = tensor([40, 33], 2);
        let quantized = Weight::Nf4(Nf4Matrix::quantize(&base, DType::BF16, true).unwrap());
        for (weight, tokens) in [(Weight::dense(base, Layout::OutIn).unwrap(), 13), (quantized, 70)] {
            let (bias, (x_shape, x), (l_shape, l)) = (tensor([40], 3), values([tokens, 33], 1), values([40], 4));
            let run = |op: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>| {
                let (x, l) = (Tensor::leaf(x_shape, &x).unwrap(), Tensor::leaf(l_shape, &l).unwrap());
                let y = op(&x, &l).unwrap();
                let mut gradients = Gradients::new([&x, &l]).unwrap();
                let weights: Vec<f32> = (0..y.count()).map(|i| (i as f32).cos()).collect();
                backward(&ops::weighted_sum(&y, &weights).unwrap(), 1.0, &mut gradients).unwrap();
                (y.to_vec(), gradients.of(&x).unwrap().to_vec(), gradients.of(&l).unwrap().to_vec())
            };
            let apart = run(&|x, l| ia3_scale(&linear(x, &weight, Some(&bias))?, l));
            assert_eq!(run(&|x, l| linear_scaled(x, &weight, Some(&bias), l)), apart, "{tokens}");
        }
    }

    #[test]
    fn shapes_are_checked() {
        let weight = Weight::dense(tensor([4, 3], 1), Layout::OutIn).unwrap();
        let message = linear_scaled(&tensor([2, 3], 2), &weight, None, &tensor([3], 3)).unwrap_err().to_string();
        assert_eq!(message, "linear_scaled: `ia3_l` has shape [3], expected 4 elements");
    }
}
