//! Consecutive rows of a tensor; nothing is copied.
//!
//! `dx[rows] = dy`, and zero elsewhere

use std::ops::Range;

use device::Device;

use crate::convert::convert_memory;
use crate::{Result, Shape, Tensor, TensorError};

/// The `rows` of `x` along its first size.
///
/// # Errors
/// [`TensorError::Shape`] if it has not so many.
pub fn slice_rows(x: &Tensor, rows: Range<usize>) -> Result<Tensor> {
    const OP: &str = "slice_rows";
    let mut sizes = x.shape().to_vec();
    match sizes.first_mut() {
        Some(first) if rows.start <= rows.end && rows.end <= *first => *first = rows.len(),
        _ => return Err(x.unexpected(OP, "x", format!("[at least {}, ...]", rows.start.max(rows.end)))),
    }
    let width: usize = sizes[1..].iter().product();
    let elements = rows.start * width..rows.end * width;
    Ok(Tensor::record_slice(OP, Shape::from(&sizes[..]), x, elements.clone(), move |grad_y, sink| {
        if grad_y.device() != Device::Cpu {
            let (dtype, size) = (grad_y.dtype(), grad_y.dtype().size_bytes());
            return sink.accumulate_on(0, dtype, |dx, add| {
                if !add {
                    dx.zero()?;
                }
                let mut rows = dx.view(elements.start * size..elements.end * size);
                convert_memory(grad_y.len(), (dtype, grad_y.memory()?), (dtype, &mut rows), true)
            });
        }
        sink.accumulate(0, |dx, add| {
            if !add {
                dx.fill(0.0);
            }
            let grad_y = grad_y.f32().map_err(TensorError::from)?;
            dx[elements.clone()].iter_mut().zip(grad_y).for_each(|(dx, dy)| *dx += dy);
            Ok(())
        })
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use device::{DType, SharedBytes};

    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::ops;

    #[test]
    fn gradients() {
        let worst = gradcheck(&[values([4, 3], 1)], |x| {
            ops::add(&slice_rows(&x[0], 1..3)?, &slice_rows(&ops::scale(&x[0], 2.0)?, 2..4)?)
        })
        .unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        let worst = gradcheck(&[values([5], 1)], |x| slice_rows(&x[0], 2..4)).unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn rows_of_memory_and_of_a_mapped_file() {
        let values = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let x = Tensor::from_f32([3, 2], &values).unwrap();
        let inner = slice_rows(&slice_rows(&x, 1..3).unwrap(), 1..2).unwrap();
        assert_eq!((inner.shape(), inner.to_vec()), (&[1, 2][..], vec![5.0, 6.0]));
        assert_eq!(slice_rows(&x, 3..3).unwrap().shape(), [0, 2]);
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let bytes = SharedBytes::new(Arc::new(bytes), 0, 24).unwrap();
        let frozen = Tensor::frozen([3, 2], DType::F32, bytes).unwrap();
        assert_eq!(slice_rows(&frozen, 1..3).unwrap().to_vec(), [3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn rows_that_are_not_there_are_refused() {
        let x = Tensor::from_f32([3, 2], &[0.0; 6]).unwrap();
        let message = slice_rows(&x, 2..4).unwrap_err().to_string();
        assert_eq!(message, "slice_rows: `x` has shape [3, 2], expected [at least 4, ...]");
    }
}
