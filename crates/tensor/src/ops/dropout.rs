//! `y = mask / (1 - p) x`: inverted dropout with a mask that is drawn again in backward.
//!
//! dx = mask / (1 - p) dy

use device::{Buffer, Device};
use lora::Dropout;
use lora::launch::{Gradient, dropout as kernel};

use crate::{Result, Tensor, TensorError};

const OP: &str = "dropout";

/// Drops elements of `x`. Nothing is saved.
///
/// # Errors
/// [`TensorError::DType`] unless `x` is f32 on the CPU.
pub fn dropout(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    let y = match x.device() {
        Device::Cpu => dropout.apply(x.read().f32(OP, "x")?).map_err(TensorError::kernel(OP))?,
        _ => apply(&dropout, &Buffer::on_device(x.on_device(OP, "x", x.dtype())?, x.dtype())?)?,
    };
    Tensor::record(OP, x.shape(), y, &[x], move |grad_y, sink| {
        let grad_x = match grad_y.device() {
            Device::Cpu => dropout.apply(grad_y.f32()?).map_err(TensorError::kernel(OP))?,
            _ => apply(&dropout, &grad_y)?,
        };
        sink.give(0, grad_x)
    })
}

/// The same as a kernel.
fn apply(dropout: &Dropout, x: &Buffer) -> Result<Buffer> {
    let mut y = Buffer::scratch(x.device(), x.dtype(), x.len())?;
    let gradient = Gradient { values: y.memory_mut()?, add: false };
    kernel(dropout, x.dtype(), x.len(), x.memory()?, gradient).map_err(TensorError::kernel(OP))?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use device::philox::Stream;

    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let half = Dropout::new(0.5, Stream::new(3, 1, 4)).unwrap();
        let worst = gradcheck(&[values([6, 5], 1)], |x| dropout(&x[0], half)).unwrap();
        // Linear: only the rounding of the difference quotient is left, eps / h = 1.5e-5.
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn an_element_is_dropped_or_divided_by_the_probability_of_keeping() {
        let stream = Stream::new(3, 1, 4);
        let x = Tensor::from_f32([1, 64], &[1.0; 64]).unwrap();
        let y = dropout(&x, Dropout::new(0.75, stream).unwrap()).unwrap().to_vec();
        let expected = (0..64).map(|i| if stream.uniform(i) >= 0.75 { 4.0 } else { 0.0 });
        assert_eq!(y, expected.collect::<Vec<_>>());
    }
}
