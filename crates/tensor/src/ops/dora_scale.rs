//! `y[t, o] = m[o] / norm[o] * z[t, o] + bias[o]`: the outputs of weights whose rows are brought to a learned norm.
//!
//! `dz = m / norm * dy`, `dm[o] = sum over t of dy[t, o] z[t, o] / norm[o]`, `dbias = 1^T dy`. The norm is a constant, as
//! section 4.3 of DoRA proposes.

mod on_device;

use device::{Buffer, DType, Device};
use gemm::Matrix;
use ia3::{Backward, Forward, Ia3Shape, backward, forward};
use transformer::{broadcast, elementwise};

use super::linear::{add_parent, give_bias_gradient};
use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "dora_scale";

/// Scales the columns of `z`, `[num_tokens, out_features]`, by `magnitude / norm`, `[out_features]` each, and adds `bias`.
///
/// # Errors
/// [`TensorError::Shape`] if an operand does not have one element for each column; [`TensorError::DType`] unless all but
/// the bias are f32 on the CPU.
pub fn dora_scale(z: &Tensor, magnitude: &Tensor, norm: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (num_tokens, features) = z.matrix_shape(OP, "z")?;
    for (argument, operand) in [("magnitude", Some(magnitude)), ("norm", Some(norm)), ("bias", bias)] {
        if let Some(operand) = operand.filter(|operand| operand.shape() != [features]) {
            return Err(operand.unexpected(OP, argument, format!("[{features}]")));
        }
    }
    let shape = Ia3Shape { num_tokens, features };
    if z.device() != Device::Cpu {
        return on_device::dora_scale(shape, z, magnitude, norm, bias);
    }
    let factors = quotient(magnitude, norm)?;
    let mut y = Buffer::scratch(z.device(), DType::F32, z.count())?;
    {
        let z = z.read();
        let args = Forward { x: z.f32(OP, "z")?, ia3_l: &factors, y: y.f32_mut()? };
        forward(shape, args).map_err(TensorError::kernel(OP))?;
    }
    if let Some(bias) = bias {
        let shape = broadcast::Shape { rows: num_tokens, columns: features };
        broadcast::in_place(shape, 1.0, &bias.to_vec(), y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    }
    let mut parents = vec![z, magnitude];
    let bias_index = add_parent(&mut parents, bias);
    let (saved_z, norm) = (magnitude.requires_grad().then(|| Saved::new(z)).transpose()?, norm.clone());
    Tensor::record(OP, z.shape(), y, &parents, move |grad_y, sink| {
        let mut grad_z = Buffer::scratch(grad_y.device(), DType::F32, grad_y.len())?;
        match saved_z {
            None => {
                let args = Forward { x: grad_y.f32()?, ia3_l: &factors, y: grad_z.f32_mut()? };
                forward(shape, args).map_err(TensorError::kernel(OP))?;
            }
            Some(z) => {
                let mut sums = Buffer::scratch(grad_y.device(), DType::F32, features)?;
                let z = z.get()?;
                let z = z.read();
                let args = Backward {
                    x: z.f32(OP, "z")?,
                    ia3_l: &factors,
                    grad_y: grad_y.f32()?,
                    grad_x: Some(grad_z.f32_mut()?),
                    grad_ia3_l: Some(sums.f32_mut()?),
                };
                backward(shape, args).map_err(TensorError::kernel(OP))?;
                elementwise::divide_in_place(norm.read().f32(OP, "norm")?, sums.f32_mut()?)
                    .map_err(TensorError::kernel(OP))?;
                sink.give(1, sums)?;
            }
        }
        if let Some(index) = bias_index {
            give_bias_gradient(OP, sink, index, Matrix::new(grad_y.f32()?, num_tokens, features))?;
        }
        sink.give(0, grad_z)
    })
}

fn quotient(magnitude: &Tensor, norm: &Tensor) -> Result<Vec<f32>> {
    let mut factors = vec![0.0; magnitude.count()];
    let (magnitude, norm) = (magnitude.read(), norm.read());
    elementwise::divide(magnitude.f32(OP, "magnitude")?, norm.f32(OP, "norm")?, &mut factors)
        .map_err(TensorError::kernel(OP))?;
    Ok(factors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let norm = Tensor::from_f32([3], &[0.5, 2.0, 4.0]).unwrap();
        let inputs = [values([5, 3], 1), values([3], 2), values([3], 3)];
        let worst = gradcheck(&inputs, |x| dora_scale(&x[0], &x[1], &norm, Some(&x[2]))).unwrap();
        // Bilinear: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
        assert!(worst <= 1e-4, "{worst}");
        let frozen = Tensor::from_f32([3], &[1.0, -1.0, 3.0]).unwrap();
        let worst = gradcheck(&[values([5, 3], 1)], |x| dora_scale(&x[0], &frozen, &norm, None)).unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn known_values_and_shapes() {
        let tensor = |shape: &[usize], values: &[f32]| Tensor::from_f32(shape, values).unwrap();
        let z = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let (m, norm, bias) = (tensor(&[2], &[2.0, 3.0]), tensor(&[2], &[1.0, 6.0]), tensor(&[2], &[0.5, -1.0]));
        assert_eq!(dora_scale(&z, &m, &norm, Some(&bias)).unwrap().to_vec(), [2.5, 0.0, 6.5, 1.0]);
        let message = dora_scale(&z, &m, &tensor(&[1], &[1.0]), None).unwrap_err().to_string();
        assert_eq!(message, "dora_scale: `norm` has shape [1], expected [2]");
    }
}
