//! `y = mask / (1 - p) x`: inverted dropout with a mask that is drawn again in backward.
//!
//! dx = mask / (1 - p) dy

use lora::Dropout;

use crate::{Result, Tensor, TensorError};

/// Drops elements of `x`. Nothing is saved.
///
/// # Errors
/// [`TensorError::DType`] unless `x` is f32.
pub fn dropout(x: &Tensor, dropout: Dropout) -> Result<Tensor> {
    const OP: &str = "dropout";
    let y = dropout.apply(x.read().f32(OP, "x")?).map_err(TensorError::kernel(OP))?;
    Tensor::record(OP, x.shape(), y, &[x], move |grad_y, sink| {
        sink.give(0, dropout.apply(grad_y.f32()?).map_err(TensorError::kernel(OP))?)
    })
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
