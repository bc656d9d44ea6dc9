//! The same elements under another shape; nothing is copied.
//!
//! dx = dy

use crate::{Result, Shape, Tensor};

/// Views `x` under `shape`.
///
/// # Errors
/// [`crate::TensorError::Count`] if the number of elements differs.
pub fn reshape(x: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::record_view("reshape", shape.into(), x, |grad_y, sink| sink.give(0, grad_y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([2, 6], 1)], |x| reshape(&x[0], [4, 3])).unwrap();
        // The identity: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        assert!(reshape(&Tensor::from_f32([2], &[0.0; 2]).unwrap(), [3]).is_err());
    }
}
