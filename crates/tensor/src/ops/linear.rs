//! `y = x W^T + bias`.
//!
//! dx = dY W, dW = dY^T x (its transpose for a weight stored `[in, out]`), dbias = 1^T dY

pub(super) mod on_device;
pub(super) mod on_int8;

use device::{Buffer, DType, Device};
use gemm::{Matrix, MatrixMut, Update, column_sums, gemm};

use crate::saved::Saved;
use crate::{Layout, Result, Sink, Tensor, TensorError, Weight};

const OP: &str = "linear";

/// Projects `x` `[num_tokens, in_features]` to `[num_tokens, out_features]`.
///
/// The weight is read in the dtype it is stored in; sums are in f32. A frozen weight costs its gradient nothing and saves
/// no activation; a trainable one is f32.
///
/// # Errors
/// [`TensorError::Shape`] if `x` has not `in_features` columns or `bias` not `out_features` elements, [`TensorError::DType`]
/// unless `x` is f32 on the CPU.
pub fn linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>) -> Result<Tensor> {
    let (n, inputs, outputs) = sizes(OP, x, weight, bias)?;
    if x.device() != Device::Cpu {
        return on_device::linear(x, weight, bias, (n, inputs, outputs));
    }
    if let Weight::Int8(weight) = weight {
        return on_int8::linear(x, weight, bias, (n, outputs));
    }
    let precision = x.precision();
    let mut y = Buffer::scratch(x.device(), DType::F32, n * outputs)?;
    {
        let (x, bias) = (x.read(), bias.map(widened).transpose()?);
        let bias = bias.as_ref().map(|bias| bias.f32()).transpose()?;
        let x = Matrix::new(x.f32(OP, "x")?, n, inputs).rounded_to(precision);
        let update = bias.map_or(Update::Overwrite, Update::Bias);
        weight
            .with_matrix(|w| gemm(1.0, x, w.transposed(), update, MatrixMut::new(y.f32_mut()?, n, outputs)))?
            .map_err(TensorError::kernel(OP))?;
    }
    let mut parents = vec![x];
    let weight_index = add_parent(&mut parents, weight.tensor());
    let bias_index = add_parent(&mut parents, bias);
    let saved_weight = weight.clone();
    let saved_x = weight.requires_grad().then(|| Saved::new(x)).transpose()?;
    Tensor::record(OP, [n, outputs], y, &parents, move |grad_y, sink| {
        let grad_y = Matrix::new(grad_y.f32()?, n, outputs).rounded_to(precision);
        sink.accumulate(0, |grad_x, add| {
            let grad_x = MatrixMut::new(grad_x, n, inputs);
            saved_weight.with_matrix(|w| gemm(1.0, grad_y, w, update(add), grad_x))?.map_err(TensorError::kernel(OP))
        })?;
        if let (Some(x), Some(index)) = (saved_x, weight_index) {
            give_weight_gradient(OP, sink, index, &saved_weight, grad_y, (&x.stored()?, precision))?;
        }
        bias_index.map_or(Ok(()), |index| give_bias_gradient(OP, sink, index, grad_y))
    })
}

/// `num_tokens`, `in_features` and `out_features` of a projection, checked.
pub(super) fn sizes(
    op: &'static str,
    x: &Tensor,
    weight: &Weight,
    bias: Option<&Tensor>,
) -> Result<(usize, usize, usize)> {
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let (n, columns) = x.matrix_shape(op, "x")?;
    if columns != inputs {
        return Err(x.unexpected(op, "x", format!("[num_tokens, {inputs}]")));
    }
    match bias {
        Some(bias) if bias.shape() != [outputs] => Err(bias.unexpected(op, "bias", format!("[{outputs}]"))),
        _ => Ok((n, inputs, outputs)),
    }
}

/// Adds an input that there may be; returns its position.
pub(super) fn add_parent<'a>(parents: &mut Vec<&'a Tensor>, parent: Option<&'a Tensor>) -> Option<usize> {
    parents.extend(parent);
    parent.map(|_| parents.len() - 1)
}

/// How a gradient joins what is there.
pub(super) fn update(add: bool) -> Update<'static> {
    if add { Update::Accumulate } else { Update::Overwrite }
}

/// Gives `dW`, in the layout of the weight, to input `index`. `x` is multiplied in the precision beside it.
pub(super) fn give_weight_gradient(
    op: &'static str,
    sink: &mut Sink<'_>,
    index: usize,
    weight: &Weight,
    grad_y: Matrix<'_>,
    (x, precision): (&Tensor, DType),
) -> Result<()> {
    let x = x.read();
    let x = Matrix::new(x.elements(), grad_y.rows(), weight.in_features()).rounded_to(precision);
    let (a, b) = match weight.layout() {
        Layout::OutIn => (grad_y.transposed(), x),
        Layout::InOut => (x.transposed(), grad_y),
    };
    sink.accumulate(index, |grad, add| {
        gemm(1.0, a, b, update(add), MatrixMut::new(grad, a.rows(), b.cols())).map_err(TensorError::kernel(op))
    })
}

/// Gives the column sums of `dY` to input `index`.
pub(super) fn give_bias_gradient(
    op: &'static str,
    sink: &mut Sink<'_>,
    index: usize,
    grad_y: Matrix<'_>,
) -> Result<()> {
    sink.accumulate(index, |grad, add| column_sums(1.0, grad_y, update(add), grad).map_err(TensorError::kernel(op)))
}

/// The elements in f32: a bias that is stored in another dtype.
pub(super) fn widened(bias: &Tensor) -> Result<Buffer> {
    let mut buffer = Buffer::scratch(bias.device(), DType::F32, bias.count())?;
    bias.read().elements().widen_into(buffer.f32_mut()?);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use device::SharedBytes;
    use half::bf16;

    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, Int8Matrix, Nf4Matrix, backward, ops};

    #[test]
    fn gradients() {
        for (layout, shape) in [(Layout::OutIn, [4, 3]), (Layout::InOut, [3, 4])] {
            let inputs = [values([5, 3], 1), values(shape, 2), values([4], 3)];
            let worst =
                gradcheck(&inputs, |x| linear(&x[0], &Weight::dense(x[1].clone(), layout)?, Some(&x[2]))).unwrap();
            // Bilinear: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
            assert!(worst <= 1e-4, "{worst}");
        }
    }

    #[test]
    fn known_values_with_frozen_bf16() {
        let bytes: Vec<u8> =
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(bf16::from_f32).iter().flat_map(|v| v.to_le_bytes()).collect();
        let frozen = |shape: &[usize], start, len| {
            let bytes = SharedBytes::new(Arc::new(bytes.clone()), start, len).unwrap();
            Tensor::frozen(shape, DType::BF16, bytes).unwrap()
        };
        let x = Tensor::leaf([1, 2], &[10.0, 1.0]).unwrap();
        let weight = Weight::dense(frozen(&[3, 2], 0, 12), Layout::OutIn).unwrap();
        let y = linear(&x, &weight, Some(&frozen(&[3], 6, 6))).unwrap();
        assert_eq!(y.to_vec(), [16.0, 39.0, 62.0]);
        let mut gradients = Gradients::new([&x]).unwrap();
        backward(&ops::weighted_sum(&y, &[1.0, 0.0, -1.0]).unwrap(), 1.0, &mut gradients).unwrap();
        assert_eq!(gradients.of(&x).unwrap(), [-4.0, -4.0]);
    }

    #[test]
    fn quantized_weights_give_the_bits_of_their_dense_copies() {
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        for (tokens, double_quant) in [(1, false), (1, true), (13, false), (13, true)] {
            let matrix = Nf4Matrix::quantize(&tensor(values([40, 33], 2)), DType::BF16, double_quant).unwrap();
            let dense = Weight::dense(matrix.dequantize().unwrap(), Layout::OutIn).unwrap();
            let quantized = Weight::Nf4(matrix);
            let (x_shape, x) = values([tokens, 33], 1);
            let run = |weight: &Weight| {
                let x = Tensor::leaf(x_shape, &x).unwrap();
                let y = linear(&x, weight, Some(&tensor(values([40], 3)))).unwrap();
                let mut gradients = Gradients::new([&x]).unwrap();
                let weights: Vec<f32> = (0..y.count()).map(|i| (i as f32).cos()).collect();
                backward(&ops::weighted_sum(&y, &weights).unwrap(), 1.0, &mut gradients).unwrap();
                (y.to_vec(), gradients.of(&x).unwrap().to_vec())
            };
            assert_eq!(run(&quantized), run(&dense), "{tokens} {double_quant}");
            assert!(!quantized.requires_grad() && quantized.tensor().is_none());
        }
    }

    #[test]
    fn integers_are_near_the_values_that_they_stand_for() {
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        for tokens in [1, 13] {
            let matrix = Int8Matrix::quantize(&tensor(values([40, 33], 2)), DType::F32).unwrap();
            let dense = Weight::dense(matrix.dequantize().unwrap(), Layout::OutIn).unwrap();
            let (x_shape, x) = values([tokens, 33], 1);
            let run = |weight: &Weight| {
                let (x, bias) = (Tensor::leaf(x_shape, &x).unwrap(), Tensor::leaf([40], &values([40], 3).1).unwrap());
                let y = linear(&x, weight, Some(&bias)).unwrap();
                let mut gradients = Gradients::new([&x, &bias]).unwrap();
                let weights: Vec<f32> = (0..y.count()).map(|i| (i as f32).cos()).collect();
                backward(&ops::weighted_sum(&y, &weights).unwrap(), 1.0, &mut gradients).unwrap();
                [y.to_vec(), gradients.of(&x).unwrap().to_vec(), gradients.of(&bias).unwrap().to_vec()]
            };
            let [quantized, exact] = [Weight::Int8(matrix), dense].map(|weight| run(&weight));
            for (i, (got, exact)) in quantized.iter().zip(&exact).enumerate() {
                let largest = exact.iter().fold(0f32, |max, x| max.max(x.abs()));
                // The weights are the same; activations are off by 1/254 of their largest, at random: sums of 33 or 40 by
                // a small multiple of that. The gradient of the bias is no product.
                let bound = if i == 2 { 1e-6 } else { 0.02 * largest };
                for (got, exact) in got.iter().zip(exact) {
                    assert!((got - exact).abs() <= bound, "{tokens} {i}: {got} {exact}");
                }
            }
        }
    }

    #[test]
    fn shapes_are_checked() {
        let weight = Weight::dense(Tensor::from_f32([4, 3], &[0.0; 12]).unwrap(), Layout::OutIn).unwrap();
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let message = linear(&tensor(&[2, 4]), &weight, None).unwrap_err().to_string();
        assert_eq!(message, "linear: `x` has shape [2, 4], expected [num_tokens, 3]");
        let message = linear(&tensor(&[2, 3]), &weight, Some(&tensor(&[3]))).unwrap_err().to_string();
        assert_eq!(message, "linear: `bias` has shape [3], expected [4]");
        assert!(linear(&tensor(&[6]), &weight, None).is_err());
    }
}
