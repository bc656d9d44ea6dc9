//! `y = addend + scaling (act(x D^T + d) U^T + u)`: a bottleneck adapter with what it is added to.
//!
//! With `z = x D^T + d` saved, `a = act(z)` computed again, and `dz = act'(z) (scaling dy U)`:
//! dx = dz D, dD = dz^T x, dd = 1^T dz, dU = scaling dy^T a, du = scaling 1^T dy, daddend = dy

mod on_device;

use device::{Buffer, DType, Device};
use gemm::{Matrix, MatrixMut, Update, column_sums, gemm};
use transformer::{Activation, activation as kernel, broadcast};

use super::linear::update;
use crate::backward::assign;
use crate::saved::Saved;
use crate::{Read, Result, Tensor, TensorError};

const OP: &str = "bottleneck";

/// The trainable side of [`bottleneck`].
#[derive(Clone, Debug)]
pub struct BottleneckOperands {
    /// `D`, `[bottleneck_size, hidden_size]`.
    pub down: Tensor,
    /// `d`, `[bottleneck_size]`.
    pub down_bias: Option<Tensor>,
    /// `U`, `[hidden_size, bottleneck_size]`.
    pub up: Tensor,
    /// `u`, `[hidden_size]`.
    pub up_bias: Option<Tensor>,
    /// `act`.
    pub activation: Activation,
    /// The factor of the result.
    pub scaling: f32,
}

/// Projects `x` `[num_tokens, hidden_size]` down, applies the activation, projects up, and adds the result to `addend` of the
/// same shape, to nothing without one. Of what lies between only `z` `[num_tokens, bottleneck_size]` is kept, and no second
/// array of the size of `x` is made.
///
/// # Errors
/// [`TensorError::Shape`] if an operand has not the shape named above; [`TensorError::DType`] unless all are f32 on the
/// CPU.
pub fn bottleneck(x: &Tensor, addend: Option<&Tensor>, operands: &BottleneckOperands) -> Result<Tensor> {
    let sizes = Sizes::of(x, addend, operands)?;
    if x.device() != Device::Cpu {
        return on_device::bottleneck(x, addend, operands, sizes);
    }
    let Sizes { tokens, hidden, inner } = sizes;
    let mut z = Buffer::scratch(x.device(), DType::F32, tokens * inner)?;
    let mut y = Buffer::scratch(x.device(), DType::F32, tokens * hidden)?;
    {
        let (x, operands_read) = (x.read(), operands.read());
        let Slices { down, down_bias, up, up_bias } = operands_read.slices()?;
        let x = Matrix::new(x.f32(OP, "x")?, tokens, hidden);
        let down = Matrix::new(down, inner, hidden).transposed();
        let bias = down_bias.map_or(Update::Overwrite, Update::Bias);
        gemm(1.0, x, down, bias, MatrixMut::new(z.f32_mut()?, tokens, inner)).map_err(TensorError::kernel(OP))?;
        let a = activated(operands.activation, &z)?;
        let joins = start(addend, up_bias, operands.scaling, [tokens, hidden], y.f32_mut()?)?;
        let (a, up) = (Matrix::new(a.f32()?, tokens, inner), Matrix::new(up, hidden, inner).transposed());
        let y = MatrixMut::new(y.f32_mut()?, tokens, hidden);
        gemm(operands.scaling, a, up, update(joins), y).map_err(TensorError::kernel(OP))?;
    }
    let constant = x.detach();
    let (saved_x, saved) = (Saved::new(x)?, operands.clone());
    Tensor::record(OP, x.shape(), y, &parents(x, addend, operands, &constant), move |grad_y, sink| {
        {
            let (x, operands) = (saved_x.get()?, saved.read());
            let x = x.read();
            let Slices { down, up, .. } = operands.slices()?;
            let dy = Matrix::new(grad_y.f32()?, tokens, hidden);
            let kernel_error = TensorError::kernel(OP);
            if sink.needs(2) {
                let a = activated(saved.activation, &z)?;
                let a = Matrix::new(a.f32()?, tokens, inner);
                sink.accumulate(2, |grad, add| {
                    let grad = MatrixMut::new(grad, hidden, inner);
                    gemm(saved.scaling, dy.transposed(), a, update(add), grad).map_err(&kernel_error)
                })?;
            }
            sink.accumulate(4, |grad, add| column_sums(saved.scaling, dy, update(add), grad).map_err(&kernel_error))?;
            let mut dz = Buffer::scratch(grad_y.device(), DType::F32, tokens * inner)?;
            let da = MatrixMut::new(dz.f32_mut()?, tokens, inner);
            gemm(saved.scaling, dy, Matrix::new(up, hidden, inner), Update::Overwrite, da).map_err(&kernel_error)?;
            kernel::backward(saved.activation, z.f32()?, dz.f32_mut()?).map_err(TensorError::kernel(OP))?;
            let dz = Matrix::new(dz.f32()?, tokens, inner);
            let x = Matrix::new(x.f32(OP, "x")?, tokens, hidden);
            sink.accumulate(0, |grad, add| {
                let grad = MatrixMut::new(grad, tokens, hidden);
                gemm(1.0, dz, Matrix::new(down, inner, hidden), update(add), grad).map_err(&kernel_error)
            })?;
            sink.accumulate(1, |grad, add| {
                let grad = MatrixMut::new(grad, inner, hidden);
                gemm(1.0, dz.transposed(), x, update(add), grad).map_err(&kernel_error)
            })?;
            sink.accumulate(3, |grad, add| column_sums(1.0, dz, update(add), grad).map_err(&kernel_error))?;
        }
        sink.give(5, grad_y)
    })
}

/// The inputs that a gradient may flow to. What is not there has its place taken by a constant, which needs none.
fn parents<'a>(
    x: &'a Tensor,
    addend: Option<&'a Tensor>,
    operands: &'a BottleneckOperands,
    constant: &'a Tensor,
) -> [&'a Tensor; 6] {
    let BottleneckOperands { down, down_bias, up, up_bias, .. } = operands;
    let or_constant = |tensor: Option<&'a Tensor>| tensor.unwrap_or(constant);
    [x, down, up, or_constant(down_bias.as_ref()), or_constant(up_bias.as_ref()), or_constant(addend)]
}

/// Sizes of the operands, checked.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    hidden: usize,
    inner: usize,
}

impl Sizes {
    fn of(x: &Tensor, addend: Option<&Tensor>, operands: &BottleneckOperands) -> Result<Self> {
        let (tokens, hidden) = x.matrix_shape(OP, "x")?;
        let (inner, columns) = operands.down.matrix_shape(OP, "down")?;
        if columns != hidden {
            return Err(operands.down.unexpected(OP, "down", format!("[bottleneck_size, {hidden}]")));
        }
        let expect = |argument, tensor: Option<&Tensor>, shape: &[usize]| match tensor {
            Some(tensor) if tensor.shape() != shape => Err(tensor.unexpected(OP, argument, format!("{shape:?}"))),
            _ => Ok(()),
        };
        expect("up", Some(&operands.up), &[hidden, inner])?;
        expect("down_bias", operands.down_bias.as_ref(), &[inner])?;
        expect("up_bias", operands.up_bias.as_ref(), &[hidden])?;
        expect("addend", addend, &[tokens, hidden])?;
        Ok(Self { tokens, hidden, inner })
    }
}

impl BottleneckOperands {
    fn read(&self) -> ReadOperands<'_> {
        ReadOperands {
            down: self.down.read(),
            down_bias: self.down_bias.as_ref().map(Tensor::read),
            up: self.up.read(),
            up_bias: self.up_bias.as_ref().map(Tensor::read),
        }
    }
}

struct ReadOperands<'a> {
    down: Read<'a>,
    down_bias: Option<Read<'a>>,
    up: Read<'a>,
    up_bias: Option<Read<'a>>,
}

struct Slices<'a> {
    down: &'a [f32],
    down_bias: Option<&'a [f32]>,
    up: &'a [f32],
    up_bias: Option<&'a [f32]>,
}

impl ReadOperands<'_> {
    fn slices(&self) -> Result<Slices<'_>> {
        Ok(Slices {
            down: self.down.f32(OP, "down")?,
            down_bias: self.down_bias.as_ref().map(|read| read.f32(OP, "down_bias")).transpose()?,
            up: self.up.f32(OP, "up")?,
            up_bias: self.up_bias.as_ref().map(|read| read.f32(OP, "up_bias")).transpose()?,
        })
    }
}

/// `act(z)`.
fn activated(activation: Activation, z: &Buffer) -> Result<Buffer> {
    let mut a = Buffer::scratch(z.device(), DType::F32, z.len())?;
    kernel::forward(activation, z.f32()?, a.f32_mut()?).map_err(TensorError::kernel(OP))?;
    Ok(a)
}

/// `y = addend + scaling bias`, what the product is then added to. Without either there is nothing: `false`.
fn start(
    addend: Option<&Tensor>,
    bias: Option<&[f32]>,
    scaling: f32,
    [rows, columns]: [usize; 2],
    y: &mut [f32],
) -> Result<bool> {
    let read = addend.map(Tensor::read);
    let addend = read.as_ref().map(|read| read.f32(OP, "addend")).transpose()?;
    match (addend, bias) {
        (addend, Some(bias)) => {
            let shape = broadcast::Shape { rows, columns };
            broadcast::broadcast(shape, addend, scaling, bias, y).map_err(TensorError::kernel(OP))?;
        }
        (Some(addend), None) => assign(y, addend, false),
        (None, None) => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::{Layout, Weight, ops};

    fn operands(x: &[Tensor], activation: Activation) -> BottleneckOperands {
        let (down_bias, up_bias) = (x.get(4).cloned(), x.get(5).cloned());
        BottleneckOperands { down: x[1].clone(), up: x[2].clone(), down_bias, up_bias, activation, scaling: 0.75 }
    }

    fn inputs() -> [(crate::Shape, Vec<f32>); 6] {
        let (x, down, up, addend) = ([5, 4], [3, 4], [4, 3], [5, 4]);
        [values(x, 1), values(down, 2), values(up, 3), values(addend, 4), values([3], 5), values([4], 6)]
    }

    #[test]
    fn gradients() {
        for activation in [Activation::Gelu, Activation::Silu, Activation::Tanh] {
            let run = |x: &[Tensor]| bottleneck(&x[0], Some(&x[3]), &operands(x, activation));
            let worst = gradcheck(&inputs(), run).unwrap();
            // The difference quotient's own error.
            assert!(worst <= 1e-3, "{activation:?}: {worst}");
        }
        let run = |x: &[Tensor]| bottleneck(&x[0], None, &operands(x, Activation::Gelu));
        let worst = gradcheck(&inputs()[..3], run).unwrap();
        assert!(worst <= 1e-3, "{worst}");
    }

    #[test]
    fn it_is_its_parts_one_after_another() {
        let x = inputs().map(|(shape, values)| Tensor::from_f32(shape, &values).unwrap());
        let weight = |tensor: &Tensor| Weight::dense(tensor.clone(), Layout::OutIn).unwrap();
        let inner = ops::linear(&x[0], &weight(&x[1]), Some(&x[4])).unwrap();
        let inner = ops::activation(&inner, Activation::Relu).unwrap();
        let outer = ops::scale(&ops::linear(&inner, &weight(&x[2]), Some(&x[5])).unwrap(), 0.75).unwrap();
        let expected = ops::add(&x[3], &outer).unwrap().to_vec();
        let got = bottleneck(&x[0], Some(&x[3]), &operands(&x, Activation::Relu)).unwrap().to_vec();
        // Sums of at most seven terms of size one, in another order.
        assert!(got.iter().zip(&expected).all(|(g, e)| (g - e).abs() <= 1e-6), "{got:?} {expected:?}");
    }

    #[test]
    fn shapes_are_checked() {
        let tensor = |shape: &[usize]| Tensor::from_f32(shape, &vec![0.0; shape.iter().product()]).unwrap();
        let error = |down: &[usize], up: &[usize], bias: &[usize], addend: &[usize]| {
            let (up_bias, activation) = (Some(tensor(bias)), Activation::Relu);
            let (down, up) = (tensor(down), tensor(up));
            let operands = BottleneckOperands { down, down_bias: None, up, up_bias, activation, scaling: 1.0 };
            bottleneck(&tensor(&[2, 4]), Some(&tensor(addend)), &operands).unwrap_err().to_string()
        };
        let expected = "bottleneck: `down` has shape [3, 5], expected [bottleneck_size, 4]";
        assert_eq!(error(&[3, 5], &[4, 3], &[4], &[2, 4]), expected);
        let expected = "bottleneck: `up` has shape [3, 4], expected [4, 3]";
        assert_eq!(error(&[3, 4], &[3, 4], &[4], &[2, 4]), expected);
        assert_eq!(error(&[3, 4], &[4, 3], &[3], &[2, 4]), "bottleneck: `up_bias` has shape [3], expected [4]");
        let expected = "bottleneck: `addend` has shape [1, 4], expected [2, 4]";
        assert_eq!(error(&[3, 4], &[4, 3], &[4], &[1, 4]), expected);
    }
}
