//! `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`, of one projection or of several of the same `x`.
//!
//! With `s = scaling drop(x) A^T` saved and `dS = scaling dY B`:
//! dx = dY W + mask / (1 - p) (dS A), the sum of it over the projections; dA = dS^T drop(x), dB = dY^T s,
//! dlora_bias = scaling 1^T dY; dW and dbias as in `linear`, for a base that is trained as well.

mod on_cpu;
mod on_device;

use device::Device;
use lora::{Adapter, Dropout, LoraShape};

use super::linear::{add_parent, sizes};
use crate::{Read, Result, Tensor, TensorError, Weight};

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

/// One projection of [`lora_linears`].
#[derive(Clone, Copy, Debug)]
pub struct LoraProjection<'a> {
    /// `[out_features, in_features]`, as it is stored.
    pub weight: &'a Weight,
    /// `[out_features]`.
    pub bias: Option<&'a Tensor>,
    /// What is added to the weight.
    pub adapter: &'a LoraOperands,
}

/// Projects `x` `[num_tokens, in_features]` to `[num_tokens, out_features]` with a low-rank update of the weight.
///
/// # Errors
/// [`TensorError::Shape`] if an operand does not have its shape, [`TensorError::DType`] unless `x` and the adapter are f32.
pub fn lora_linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>, adapter: &LoraOperands) -> Result<Tensor> {
    Ok(lora_linears(x, &[LoraProjection { weight, bias, adapter }])?.swap_remove(0))
}

/// Several projections of one `x` (q, k and v; gate and up), which is packed once for all of them: as many results as
/// projections, each with the bits of [`lora_linear`]. Their gradients of `x` are summed as one product. On a device up to
/// three projections are one launch, where their operands allow it.
///
/// # Errors
/// As [`lora_linear`].
pub fn lora_linears(x: &Tensor, projections: &[LoraProjection<'_>]) -> Result<Vec<Tensor>> {
    let shapes = projections.iter().map(|projection| projection.shape(x)).collect::<Result<Vec<_>>>()?;
    let sited: Vec<_> = shapes.into_iter().zip(projections.iter().copied()).collect();
    match x.device() {
        Device::Cpu => on_cpu::lora_linears(x, &sited),
        _ if on_device::are_one_launch(projections) => on_device::lora_linears(x, &sited),
        _ => Ok(sited.chunks(1).map(|one| on_device::lora_linears(x, one)).collect::<Result<Vec<_>>>()?.concat()),
    }
}

impl LoraProjection<'_> {
    /// The sizes, checked.
    fn shape(&self, x: &Tensor) -> Result<LoraShape> {
        let (n, inputs, outputs) = sizes(OP, x, self.weight, self.bias)?;
        let rank = self.adapter.check(inputs, outputs)?;
        LoraShape::new(n, inputs, outputs, rank).map_err(TensorError::kernel(OP))
    }
}

/// Where the gradients of one projection go: positions among the op's inputs, of which `x` is the first.
#[derive(Clone, Copy)]
struct Indices {
    a: usize,
    b: usize,
    lora_bias: Option<usize>,
    weight: Option<usize>,
    bias: Option<usize>,
}

impl Indices {
    /// Adds the inputs of a projection.
    fn add<'a>(parents: &mut Vec<&'a Tensor>, projection: LoraProjection<'a>) -> Self {
        let LoraProjection { weight, bias, adapter } = projection;
        let a = parents.len();
        parents.extend([&adapter.a, &adapter.b]);
        Self {
            a,
            b: a + 1,
            lora_bias: add_parent(parents, adapter.bias.as_ref()),
            weight: add_parent(parents, weight.tensor()),
            bias: add_parent(parents, bias),
        }
    }
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
    use device::DType;
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

    /// Three projections, of which the second drops and the last is not used.
    #[test]
    fn gradients_of_several() {
        let dropout = Dropout::new(0.4, Stream::new(1, 2, 3)).unwrap();
        let inputs = [
            values([5, 3], 1),
            values([4, 3], 2),
            values([2, 3], 3),
            values([4, 2], 4),
            values([3, 3], 5),
            values([1, 3], 6),
            values([4, 1], 7),
        ];
        let worst = gradcheck(&inputs, |x| {
            let operands = |a: usize, dropout| LoraOperands {
                a: x[a].clone(),
                b: x[a + 1].clone(),
                bias: None,
                scaling: 0.75,
                dropout,
            };
            let weight = Weight::dense(x[1].clone(), Layout::OutIn)?;
            let adapters = [operands(2, None), operands(5, Some(dropout)), operands(2, None)];
            let projections =
                adapters.each_ref().map(|adapter| LoraProjection { weight: &weight, bias: None, adapter });
            let y = lora_linears(&x[0], &projections)?;
            ops::add(&y[0], &ops::scale(&y[1], -0.5)?)
        })
        .unwrap();
        // As for one.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn several_are_each_by_itself() {
        let leaf = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::leaf(shape, &values).unwrap();
        let tensor = |(shape, values): (crate::Shape, Vec<f32>)| Tensor::from_f32(shape, &values).unwrap();
        for (tokens, precision) in [(3, DType::F32), (40, DType::F32), (40, DType::BF16)] {
            let weights = [
                Weight::dense(tensor(values([50, 70], 2)), Layout::OutIn).unwrap(),
                Weight::Nf4(Nf4Matrix::quantize(&tensor(values([40, 70], 3)), precision, true).unwrap()),
                Weight::Int8(Int8Matrix::quantize(&tensor(values([30, 70], 4)), precision).unwrap()),
            ];
            let adapters = [(50, 5), (40, 7), (30, 9)].map(|(outputs, seed)| LoraOperands {
                a: leaf(values([12, 70], seed)),
                b: leaf(values([outputs, 12], seed + 1)),
                bias: None,
                scaling: 0.75,
                dropout: None,
            });
            let run = |together: bool| {
                let leaf = leaf(values([tokens, 70], 1));
                let x = ops::scale(&leaf, 1.0).unwrap().with_precision(precision);
                let projections: Vec<_> = weights
                    .iter()
                    .zip(&adapters)
                    .map(|(weight, adapter)| LoraProjection { weight, bias: None, adapter })
                    .collect();
                let y = match together {
                    true => lora_linears(&x, &projections),
                    false => projections.iter().map(|p| lora_linear(&x, p.weight, p.bias, p.adapter)).collect(),
                }
                .unwrap();
                let mut gradients =
                    Gradients::new([&leaf].into_iter().chain(adapters.iter().flat_map(|of| [&of.a, &of.b]))).unwrap();
                let losses = y.iter().map(|y| {
                    let weights: Vec<f32> = (0..y.count()).map(|i| (i as f32).cos()).collect();
                    ops::weighted_sum(y, &weights).unwrap()
                });
                let loss = losses.reduce(|a, b| ops::add(&a, &b).unwrap()).unwrap();
                backward(&loss, 1.0, &mut gradients).unwrap();
                let of_x = gradients.of(&leaf).unwrap().to_vec();
                let rest: Vec<f32> =
                    y.iter().flat_map(|y| y.to_vec()).chain(gradients.flat().unwrap()[of_x.len()..].to_vec()).collect();
                (rest, of_x)
            };
            let ((y, of_x), (y_alone, of_x_alone)) = (run(true), run(false));
            assert_eq!(y, y_alone, "{tokens} {precision}");
            for (one, alone) in of_x.iter().zip(&of_x_alone) {
                // The same 120 products and more, summed in another order.
                assert!((one - alone).abs() <= 1e-5 * (10.0 + alone.abs()), "{tokens} {precision}: {one} {alone}");
            }
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
