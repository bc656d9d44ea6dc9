//! `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`.
//!
//! With `s = scaling drop(x) A^T` saved and `dS = scaling dY B`:
//! dx = dY W + mask / (1 - p) (dS A), dA = dS^T drop(x), dB = dY^T s, dlora_bias = scaling 1^T dY;
//! dW and dbias as in `linear`, for a base that is trained as well.

mod on_device;

use device::{Buffer, DType, Device};
use gemm::Matrix;
use lora::{Adapter, Backward, Dropout, Forward, LoraShape};

use super::linear::{add_parent, give_bias_gradient, give_weight_gradient, on_int8, sizes, update};
use crate::saved::Saved;
use crate::{Read, Result, Sink, Tensor, TensorError, Weight};

const OP: &str = "lora_linear";

/// The trainable side of one projection.
#[derive(Clone, Debug)]
pub struct LoraOperands {
    /// `A`, `[rank, in_features]`.
    pub a: Tensor,
    /// `B`, `[out_features, rank]`.
    pub b: Tensor,
    /// Bias of the second product, `[out_features]`: PEFT's `lora_bias`.
    pub bias: Option<Tensor>,
    /// `alpha / rank`, or `alpha / sqrt(rank)` with rsLoRA.
    pub scaling: f32,
    /// Dropout of the adapter's input; `None` in evaluation.
    pub dropout: Option<Dropout>,
}

/// Projects `x` `[num_tokens, in_features]` to `[num_tokens, out_features]` with a low-rank update of the weight.
///
/// # Errors
/// [`TensorError::Shape`] if an operand does not have its shape, [`TensorError::DType`] unless `x` and the adapter are f32.
pub fn lora_linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>, adapter: &LoraOperands) -> Result<Tensor> {
    let (n, inputs, outputs) = sizes(OP, x, weight, bias)?;
    let rank = adapter.check(inputs, outputs)?;
    let shape = LoraShape::new(n, inputs, outputs, rank).map_err(TensorError::kernel(OP))?;
    if x.device() != Device::Cpu {
        return on_device::lora_linear(shape, x, weight, bias, adapter);
    }
    let precision = x.precision();
    let mut y = Buffer::scratch(x.device(), DType::F32, n * outputs)?;
    let mut s = Buffer::scratch(x.device(), DType::F32, n * rank)?;
    {
        let (y, s) = (y.f32_mut()?, s.f32_mut()?);
        // What integers have given already is not given again.
        let bias = match weight {
            Weight::Int8(weight) => on_int8::project(OP, x, weight, bias, y).map(|()| None)?,
            _ => bias,
        };
        let (x, bias, operands) = (x.read(), bias.map(Tensor::read), adapter.read());
        let (x, bias, adapter) = (x.f32(OP, "x")?, bias.as_ref().map(Read::elements), operands.adapter(adapter)?);
        let mut forward =
            |weight: Option<Matrix<'_>>| lora::forward(&shape, Forward { x, weight, bias, adapter, precision, y, s });
        match weight {
            Weight::Int8(_) => forward(None),
            _ => weight.with_matrix(|weight| forward(Some(weight)))?,
        }
        .map_err(TensorError::kernel(OP))?;
    }
    let mut parents = vec![x, &adapter.a, &adapter.b];
    let lora_bias_index = add_parent(&mut parents, adapter.bias.as_ref());
    let weight_index = add_parent(&mut parents, weight.tensor());
    let bias_index = add_parent(&mut parents, bias);
    let (saved_x, saved_weight, saved_adapter) = (Saved::new(x)?, weight.clone(), adapter.clone());
    Tensor::record(OP, [n, outputs], y, &parents, move |grad_y, sink| {
        let (grad_y, saved_x) = (grad_y.f32()?, saved_x.stored()?);
        {
            let (x, operands) = (saved_x.read(), saved_adapter.read());
            let (x, adapter, s) = (x.elements(), operands.adapter(&saved_adapter)?, s.f32()?);
            let kernel = TensorError::kernel(OP);
            let give = |weight: Option<Matrix<'_>>, sink: &mut Sink<'_>| {
                let backward =
                    Backward::new(&shape, lora::Saved { x, weight, adapter, s, precision }, grad_y).map_err(&kernel)?;
                sink.accumulate(0, |grad, add| backward.x(update(add), grad).map_err(&kernel))?;
                sink.accumulate(1, |grad, add| backward.lora_a(update(add), grad).map_err(&kernel))?;
                sink.accumulate(2, |grad, add| backward.lora_b(update(add), grad).map_err(&kernel))?;
                lora_bias_index.map_or(Ok(()), |index| {
                    sink.accumulate(index, |grad, add| backward.lora_bias(update(add), grad).map_err(&kernel))
                })
            };
            match &saved_weight {
                Weight::Int8(weight) => {
                    on_int8::give_input_gradient(OP, sink, weight, grad_y)?;
                    give(None, sink)?;
                }
                weight => weight.with_matrix(|weight| give(Some(weight), sink))??,
            }
        }
        let grad_y = Matrix::new(grad_y, n, outputs).rounded_to(precision);
        if let Some(index) = weight_index.filter(|&index| sink.needs(index)) {
            give_weight_gradient(OP, sink, index, &saved_weight, grad_y, (&saved_x, precision))?;
        }
        bias_index.map_or(Ok(()), |index| give_bias_gradient(OP, sink, index, grad_y))
    })
}

impl LoraOperands {
    /// Checks the shapes and returns the rank.
    fn check(&self, inputs: usize, outputs: usize) -> Result<usize> {
        let (rank, columns) = self.a.matrix_shape(OP, "lora_a")?;
        if columns != inputs {
            return Err(self.a.unexpected(OP, "lora_a", format!("[rank, {inputs}]")));
        }
        if self.b.shape() != [outputs, rank] {
            return Err(self.b.unexpected(OP, "lora_b", format!("[{outputs}, {rank}]")));
        }
        match &self.bias {
            Some(bias) if bias.shape() != [outputs] => Err(bias.unexpected(OP, "lora_bias", format!("[{outputs}]"))),
            _ => Ok(rank),
        }
    }

    fn read(&self) -> ReadOperands<'_> {
        ReadOperands { a: self.a.read(), b: self.b.read(), bias: self.bias.as_ref().map(Tensor::read) }
    }
}

/// Read access to the operands.
struct ReadOperands<'a> {
    a: Read<'a>,
    b: Read<'a>,
    bias: Option<Read<'a>>,
}

impl ReadOperands<'_> {
    fn adapter(&self, of: &LoraOperands) -> Result<Adapter<'_>> {
        let lora_bias = self.bias.as_ref().map(|bias| bias.f32(OP, "lora_bias")).transpose()?;
        let (lora_a, lora_b) = (self.a.f32(OP, "lora_a")?, self.b.f32(OP, "lora_b")?);
        Ok(Adapter { lora_a, lora_b, lora_bias, scaling: of.scaling, dropout: of.dropout })
    }
}

#[cfg(test)]
mod tests {
    use device::philox::Stream;

    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Gradients, Int8Matrix, Layout, Nf4Matrix, backward, ops};

    /// Inputs: x, W, bias, A, B, lora bias.
    fn apply(x: &[Tensor], layout: Layout, dropout: Option<Dropout>) -> Result<Tensor> {
        let (a, b, bias) = (x[3].clone(), x[4].clone(), Some(x[5].clone()));
        let operands = LoraOperands { a, b, bias, scaling: 0.75, dropout };
        lora_linear(&x[0], &Weight::dense(x[1].clone(), layout)?, Some(&x[2]), &operands)
    }

    #[test]
    fn gradients() {
        let dropout = Dropout::new(0.4, Stream::new(1, 2, 3)).unwrap();
        for (layout, shape, dropout) in [(Layout::OutIn, [4, 3], None), (Layout::InOut, [3, 4], Some(dropout))] {
            let inputs = [
                values([5, 3], 1),
                values(shape, 2),
                values([4], 3),
                values([2, 3], 4),
                values([4, 2], 5),
                values([4], 6),
            ];
            let worst = gradcheck(&inputs, |x| apply(x, layout, dropout)).unwrap();
            // Linear in each input: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
            assert!(worst <= 1e-4, "{worst}");
        }
    }

    /// QLoRA. Inputs: x, A, B.
    #[test]
    fn gradients_through_a_quantized_base() {
        let (shape, base) = values([4, 3], 2);
        let base = Tensor::from_f32(shape, &base).unwrap();
        for double_quant in [false, true] {
            let weight = Weight::Nf4(Nf4Matrix::quantize(&base, DType::F32, double_quant).unwrap());
            let worst = gradcheck(&[values([5, 3], 1), values([2, 3], 4), values([4, 2], 5)], |x| {
                let (a, b) = (x[1].clone(), x[2].clone());
                lora_linear(&x[0], &weight, None, &LoraOperands { a, b, bias: None, scaling: 0.75, dropout: None })
            })
            .unwrap();
            // Linear in each input: rounding only.
            assert!(worst <= 1e-4, "{worst}");
        }
    }

    #[test]
    fn on_integers_it_is_their_projection_and_the_update() {
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        let weight = Weight::Int8(Int8Matrix::quantize(&tensor(values([40, 33], 2)), DType::F32).unwrap());
        let zeros = Weight::dense(Tensor::from_f32([40, 33], &[0.0; 40 * 33]).unwrap(), Layout::OutIn).unwrap();
        let dropout = Dropout::new(0.4, Stream::new(1, 2, 3)).unwrap();
        for (tokens, dropout) in [(1, None), (13, None), (13, Some(dropout))] {
            let leaf = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::leaf(shape, &values).unwrap();
            let run = |in_one: bool| {
                let [x, bias, lora_bias] = [([tokens, 33].into(), 1), ([40].into(), 3), ([40].into(), 6)]
                    .map(|(shape, seed): (crate::Shape, _)| leaf(values(shape, seed)));
                let (a, b) = (leaf(values([2, 33], 4)), leaf(values([40, 2], 5)));
                let (of_a, of_b, of_bias) = (a.clone(), b.clone(), Some(lora_bias.clone()));
                let operands = LoraOperands { a: of_a, b: of_b, bias: of_bias, scaling: 0.75, dropout };
                let y = match in_one {
                    true => lora_linear(&x, &weight, Some(&bias), &operands),
                    false => ops::add(
                        &ops::linear(&x, &weight, Some(&bias)).unwrap(),
                        &lora_linear(&x, &zeros, None, &operands).unwrap(),
                    ),
                }
                .unwrap();
                let leaves = [&x, &bias, &a, &b, &lora_bias];
                let mut gradients = Gradients::new(leaves).unwrap();
                let weights: Vec<f32> = (0..y.count()).map(|i| (i as f32).cos()).collect();
                backward(&ops::weighted_sum(&y, &weights).unwrap(), 1.0, &mut gradients).unwrap();
                let of_leaves = leaves.map(|leaf| gradients.of(leaf).unwrap().to_vec());
                [y.to_vec()].into_iter().chain(of_leaves).flatten().collect::<Vec<f32>>()
            };
            for (one, parts) in run(true).into_iter().zip(run(false)) {
                // The same sums in another order: a few roundings.
                assert!((one - parts).abs() <= 1e-5 * (1.0 + parts.abs()), "{tokens}: {one} {parts}");
            }
        }
    }

    #[test]
    fn without_an_update_it_is_linear() {
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        let (x, bias) = (tensor(values([3, 3], 1)), tensor(values([4], 2)));
        let weight = Weight::dense(tensor(values([4, 3], 3)), Layout::OutIn).unwrap();
        let b = Tensor::from_f32([4, 2], &[0.0; 8]).unwrap();
        let operands = LoraOperands { a: tensor(values([2, 3], 4)), b, bias: None, scaling: 2.0, dropout: None };
        let y = lora_linear(&x, &weight, Some(&bias), &operands).unwrap();
        assert_eq!(y.to_vec(), ops::linear(&x, &weight, Some(&bias)).unwrap().to_vec());
    }

    #[test]
    fn shapes_are_checked() {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let weight = Weight::dense(tensor(&[4, 3]), Layout::OutIn).unwrap();
        let error = |a: &[usize], b: &[usize], bias: &[usize]| {
            let bias = Some(tensor(bias));
            let operands = LoraOperands { a: tensor(a), b: tensor(b), bias, scaling: 1.0, dropout: None };
            lora_linear(&tensor(&[2, 3]), &weight, None, &operands).unwrap_err().to_string()
        };
        assert_eq!(error(&[2, 4], &[4, 2], &[4]), "lora_linear: `lora_a` has shape [2, 4], expected [rank, 3]");
        assert_eq!(error(&[2, 3], &[4, 3], &[4]), "lora_linear: `lora_b` has shape [4, 3], expected [4, 2]");
        assert_eq!(error(&[2, 3], &[4, 2], &[3]), "lora_linear: `lora_bias` has shape [3], expected [4]");
        assert!(error(&[0, 3], &[4, 0], &[4]).contains("the rank is 0"));
    }
}
