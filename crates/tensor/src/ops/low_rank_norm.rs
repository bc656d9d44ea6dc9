//! `norm[o] = |W[o] + s (B A)[o]|`: the norms of the rows of a weight with a low-rank update, which is never formed.
//!
//! Its square is `|W[o]|^2 + 2 s B[o] . (A W^T)[:, o] + s^2 B[o] (A A^T) B[o]^T`. The first term is the same in every step, and
//! the others take a product with r rows instead of a dense sum. There is no backward: DoRA takes the norm as a constant.

use lora::dora::{Norms, column_squares, norms, row_squares};

use crate::{Layout, Result, Tensor, TensorError, Weight, no_grad, ops};

const OP: &str = "low_rank_norm";

/// `|W[o]|^2` for every output of `weight`, summed in f64.
///
/// # Errors
/// [`crate::TensorError::Device`] without memory to dequantize a quantized weight.
pub fn output_squares(weight: &Weight) -> Result<Vec<f64>> {
    let (tensor, layout) = match weight {
        Weight::Dense { tensor, layout } => (tensor.clone(), *layout),
        Weight::Nf4(matrix) => (matrix.dequantize()?, Layout::OutIn),
    };
    let mut squares = vec![0.0; weight.out_features()];
    let read = tensor.read();
    let of_layout = if layout == Layout::OutIn { row_squares } else { column_squares };
    of_layout(read.elements(), &mut squares).map_err(TensorError::kernel(OP))?;
    Ok(squares)
}

/// The norms, `[out_features]`, for `A` `[rank, in_features]`, `B` `[out_features, rank]` and `squares`, what
/// [`output_squares`] gave for `weight`.
///
/// # Errors
/// [`crate::TensorError::Shape`] if an operand does not have its shape; [`crate::TensorError::DType`] unless A and B are f32.
pub fn low_rank_norm(weight: &Weight, squares: &[f64], a: &Tensor, b: &Tensor, scaling: f32) -> Result<Tensor> {
    let (rank, _) = a.matrix_shape(OP, "lora_a")?;
    let outputs = weight.out_features();
    if b.shape() != [outputs, rank] || squares.len() != outputs {
        return Err(b.unexpected(OP, "lora_b", format!("[{outputs}, {rank}], and as many squares")));
    }
    let (aw, bg) = no_grad(|| {
        let gram = ops::linear(a, &Weight::dense(a.detach(), Layout::OutIn)?, None)?; // [rank, rank]
        // The Gram matrix is its own transpose.
        Ok::<_, crate::TensorError>((
            ops::linear(a, weight, None)?.to_vec(), // [rank, out_features]
            ops::linear(b, &Weight::dense(gram, Layout::OutIn)?, None)?.to_vec(), // [out_features, rank]
        ))
    })?;
    let mut found = vec![0.0; outputs];
    let b = b.read();
    let args = Norms { squares, lora_b: b.f32(OP, "lora_b")?, aw: &aw, bg: &bg, scaling, norms: &mut found };
    norms(rank, args).map_err(TensorError::kernel(OP))?;
    Tensor::from_f32([outputs], &found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::values;

    #[test]
    fn the_norms_are_those_of_the_dense_sum() {
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        let (inputs, outputs, rank, scaling) = (7, 5, 3, 0.75);
        let (a, b) = (tensor(values([rank, inputs], 1)), tensor(values([outputs, rank], 2)));
        for (layout, shape) in [(Layout::OutIn, [outputs, inputs]), (Layout::InOut, [inputs, outputs])] {
            let weight = Weight::dense(tensor(values(shape, 3)), layout).unwrap();
            let squares = output_squares(&weight).unwrap();
            let got = low_rank_norm(&weight, &squares, &a, &b, scaling).unwrap().to_vec();
            let (w, a, b) = (tensor(values(shape, 3)).to_vec(), a.to_vec(), b.to_vec());
            for (o, got) in got.iter().enumerate() {
                let element = |i: usize| {
                    let w = if layout == Layout::OutIn { w[o * inputs + i] } else { w[i * outputs + o] };
                    w + scaling * (0..rank).map(|k| b[o * rank + k] * a[k * inputs + i]).sum::<f32>()
                };
                let expected = (0..inputs).map(|i| element(i).powi(2)).sum::<f32>().sqrt();
                // Sums of a dozen terms of size 1 in f32.
                assert!((got - expected).abs() <= 1e-5, "{layout:?} {o}: {got} {expected}");
            }
        }
    }

    #[test]
    fn without_an_update_it_is_the_norm_of_the_weight() {
        let weight = Weight::dense(Tensor::from_f32([2, 2], &[3.0, 4.0, 0.0, 0.0]).unwrap(), Layout::OutIn).unwrap();
        let (a, b) = (Tensor::from_f32([1, 2], &[1.0, 2.0]).unwrap(), Tensor::from_f32([2, 1], &[0.0; 2]).unwrap());
        let squares = output_squares(&weight).unwrap();
        assert_eq!(squares, [25.0, 0.0]);
        assert_eq!(low_rank_norm(&weight, &squares, &a, &b, 2.0).unwrap().to_vec(), [5.0, 0.0]);
        assert!(low_rank_norm(&weight, &squares, &a, &a, 2.0).is_err());
    }
}
