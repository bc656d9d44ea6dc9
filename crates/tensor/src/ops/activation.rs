//! `y = act(x)`, element by element.
//!
//! dx = dy act'(x)
//!
//! x is saved; y is computed again from it for those that need it.

use device::{Buffer, Device};
use transformer::{Activation, activation as kernel, launch};

use crate::saved::Saved;
use crate::{Result, Tensor, TensorError};

const OP: &str = "activation";

/// Applies `function` to every element of `x`.
///
/// # Errors
/// [`TensorError::DType`] unless `x` is f32.
pub fn activation(x: &Tensor, function: Activation) -> Result<Tensor> {
    let (dtype, len) = (x.compute_dtype(), x.count());
    let y = activated(x, function)?;
    let saved = Saved::new(x)?;
    let again = saved.clone();
    let y = Tensor::record(OP, x.shape(), y, &[x], move |mut grad_y, sink| {
        let saved = saved.stored()?;
        match saved.device() {
            Device::Cpu => kernel::backward(function, saved.read().on_cpu(OP)?, grad_y.f32_mut()?),
            _ => {
                let x = saved.on_device(OP, "x", dtype)?;
                launch::activation::backward(dtype, function, len, &x, grad_y.memory_mut()?)
            }
        }
        .map_err(TensorError::kernel(OP))?;
        sink.give(0, grad_y)
    })?;
    Ok(y.with_recipe(move || {
        let x = again.stored()?;
        Tensor::new(x.shape(), activated(&x, function)?)
    }))
}

fn activated(x: &Tensor, function: Activation) -> Result<Buffer> {
    let (dtype, len) = (x.compute_dtype(), x.count());
    let mut y = Buffer::scratch(x.device(), dtype, len)?;
    match x.device() {
        Device::Cpu => kernel::forward(function, x.read().on_cpu(OP)?, y.f32_mut()?),
        _ => launch::activation::forward(dtype, function, len, &x.on_device(OP, "x", dtype)?, y.memory_mut()?),
    }
    .map_err(TensorError::kernel(OP))?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        for name in ["silu", "gelu", "gelu_new", "quick_gelu", "tanh"] {
            let worst = gradcheck(&[values([4, 5], 1)], |x| activation(&x[0], name.parse().unwrap())).unwrap();
            // The difference quotient's own error.
            assert!(worst <= 1e-3, "{name}: {worst}");
        }
        // Not smooth at zero: away from it, linear.
        let away = ([4].into(), vec![-2.0, -0.5, 0.5, 2.0]);
        let worst = gradcheck(&[away], |x| activation(&x[0], Activation::Relu)).unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }
}
