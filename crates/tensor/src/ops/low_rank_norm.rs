//! `norm[o] = |W[o] + s (B A)[o]|`: the norms of the rows of a weight with a low-rank update, which is never formed.
//!
//! Its square is `|W[o]|^2 + 2 s B[o] . (A W^T)[:, o] + s^2 B[o] (A A^T) B[o]^T`. The first term is the same in every step, and
//! the others take a product with r rows instead of a dense sum. There is no backward: DoRA takes the norm as a constant.

use device::launch::Executor;
use device::{Buffer, DType, Device};
use gemm::launch::{Matrix, MatrixMut, Update, gemm};
use lora::dora::{Norms, column_squares, norms, row_squares};
use lora::launch::dora::{self as kernel, Squares};

use crate::weight::WeightMemory;
use crate::{Layout, Result, Tensor, TensorError, Weight, no_grad, ops};

const OP: &str = "low_rank_norm";

/// `|W[o]|^2` for every output of a weight, summed in f64: where the norms are computed.
#[derive(Debug)]
pub struct OutputSquares(Place);

#[derive(Debug)]
enum Place {
    Host(Vec<f64>),
    Device(Squares),
}

/// `|W[o]|^2` for every output of `weight`, for norms that are computed on `device`.
///
/// # Errors
/// [`TensorError::Device`] without memory, also that to dequantize a quantized weight.
pub fn output_squares(weight: &Weight, device: Device) -> Result<OutputSquares> {
    let (tensor, layout) = match weight {
        Weight::Dense { tensor, layout } => (tensor.clone(), *layout),
        Weight::Nf4(matrix) => (matrix.dequantize()?, Layout::OutIn),
        Weight::Int8(matrix) => (matrix.dequantize()?, Layout::OutIn),
    };
    let (rows, columns) = tensor.matrix_shape(OP, "weight")?;
    if tensor.device() != Device::Cpu {
        let memory = tensor.on_device(OP, "weight", tensor.dtype())?;
        let of_layout = if layout == Layout::OutIn { Squares::of_rows } else { Squares::of_columns };
        let squares = of_layout(tensor.dtype(), [rows, columns], &memory).map_err(TensorError::kernel(OP))?;
        return Ok(OutputSquares(Place::Device(squares)));
    }
    let mut squares = vec![0.0; weight.out_features()];
    let of_layout = if layout == Layout::OutIn { row_squares } else { column_squares };
    of_layout(tensor.read().elements(), &mut squares).map_err(TensorError::kernel(OP))?;
    if device == Device::Cpu {
        return Ok(OutputSquares(Place::Host(squares)));
    }
    let squares = Squares::new(&Executor::for_device(device)?, &squares).map_err(TensorError::kernel(OP))?;
    Ok(OutputSquares(Place::Device(squares)))
}

impl OutputSquares {
    fn len(&self) -> usize {
        match &self.0 {
            Place::Host(squares) => squares.len(),
            Place::Device(squares) => squares.outputs(),
        }
    }
}

/// The norms, `[out_features]`, for `A` `[rank, in_features]`, `B` `[out_features, rank]` and `squares`, what
/// [`output_squares`] gave for `weight`.
///
/// # Errors
/// [`TensorError::Shape`] if an operand does not have its shape; [`TensorError::DType`] unless A and B are f32;
/// [`TensorError::OnHost`] or [`TensorError::Device`] for squares of another device than theirs.
pub fn low_rank_norm(weight: &Weight, squares: &OutputSquares, a: &Tensor, b: &Tensor, scaling: f32) -> Result<Tensor> {
    let (rank, inputs) = a.matrix_shape(OP, "lora_a")?;
    let outputs = weight.out_features();
    if b.shape() != [outputs, rank] || squares.len() != outputs {
        return Err(b.unexpected(OP, "lora_b", format!("[{outputs}, {rank}], and as many squares")));
    }
    match &squares.0 {
        Place::Host(squares) => on_host(weight, squares, a, b, scaling),
        Place::Device(squares) => on_device(weight, squares, (a, b), [rank, inputs, outputs], scaling),
    }
}

fn on_host(weight: &Weight, squares: &[f64], a: &Tensor, b: &Tensor, scaling: f32) -> Result<Tensor> {
    let (outputs, rank) = b.matrix_shape(OP, "lora_b")?;
    let (aw, bg) = no_grad(|| {
        let gram = ops::linear(a, &Weight::dense(a.detach(), Layout::OutIn)?, None)?; // [rank, rank]
        // The Gram matrix is its own transpose.
        Ok::<_, TensorError>((
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

/// As kernels. A meets a dense weight in the weight's type, the values of a quantized one in f32; the product is f32, and so is
/// everything else.
fn on_device(
    weight: &Weight,
    squares: &Squares,
    (a, b): (&Tensor, &Tensor),
    [rank, inputs, outputs]: [usize; 3],
    scaling: f32,
) -> Result<Tensor> {
    let (device, dtype) = (b.device(), weight.dtype());
    let (of_a, lora_b) = (a.on_device(OP, "lora_a", DType::F32)?, b.on_device(OP, "lora_b", DType::F32)?);
    let product = |a: Matrix<'_>, b: Matrix<'_>, [rows, columns]: [usize; 2]| {
        let mut c = Buffer::scratch(device, DType::F32, rows * columns)?;
        let to = MatrixMut::new(c.memory_mut()?, DType::F32, rows, columns);
        gemm(1.0, a, b, Update::Overwrite, to).map_err(TensorError::kernel(OP))?;
        Ok::<_, TensorError>(c)
    };
    let aw = match weight.on_device(OP, device, dtype)? {
        WeightMemory::Dense(w) => {
            let a = a.on_device(OP, "lora_a", dtype)?;
            product(Matrix::new(&a, dtype, rank, inputs), w.matrix().transposed(), [rank, outputs])?
        }
        WeightMemory::Nf4(w) => {
            let mut aw = Buffer::scratch(device, DType::F32, rank * outputs)?;
            let (weight, y) = (w.matrix().map_err(TensorError::kernel(OP))?, aw.memory_mut()?);
            let args = nf4::launch::Linear { dtype: DType::F32, num_tokens: rank, x: &of_a, weight, bias: None, y };
            nf4::launch::linear(args).map_err(TensorError::kernel(OP))?;
            aw
        }
    };
    let a = Matrix::new(&of_a, DType::F32, rank, inputs);
    let gram = product(a, a.transposed(), [rank, rank])?;
    let of_b = Matrix::new(&lora_b, DType::F32, outputs, rank);
    let bg = product(of_b, Matrix::new(gram.memory()?, DType::F32, rank, rank), [outputs, rank])?;
    let mut found = Buffer::scratch(device, DType::F32, outputs)?;
    let (aw, bg, norms) = (aw.memory()?, bg.memory()?, found.memory_mut()?);
    kernel::norms(rank, kernel::Norms { squares, lora_b: &lora_b, aw, bg, scaling, norms })
        .map_err(TensorError::kernel(OP))?;
    Tensor::new([outputs], found)
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
            let squares = output_squares(&weight, Device::Cpu).unwrap();
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
        let squares = output_squares(&weight, Device::Cpu).unwrap();
        assert_eq!(low_rank_norm(&weight, &squares, &a, &b, 2.0).unwrap().to_vec(), [5.0, 0.0]);
        assert!(low_rank_norm(&weight, &squares, &a, &a, 2.0).is_err());
    }
}
