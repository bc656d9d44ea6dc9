//! `y[s] = mean of x[i] over the rows i of sequence s`: mean pooling.
//!
//! `dx[i] = dy[s] / len(s)`

use std::sync::Arc;

use device::{Buffer, DType, parallel};

use crate::{Result, Sequences, Tensor};

/// The mean row of each of the `sequences` of `x`, `[num_rows, width]`: `[num_sequences, width]`. A sequence without rows
/// has zeros. Rows are added in their order, in f32.
///
/// # Errors
/// [`crate::TensorError::Shape`] if `x` does not hold the sequences; [`crate::TensorError::DType`] unless it is f32.
pub fn mean_rows(x: &Tensor, sequences: &Arc<Sequences>) -> Result<Tensor> {
    const OP: &str = "mean_rows";
    let (num_rows, width) = x.matrix_shape(OP, "x")?;
    let expected = sequences.cu_seqlens_q().last().map_or(0, |&rows| rows as usize);
    if num_rows != expected {
        return Err(x.unexpected(OP, "x", format!("[{expected}, {width}]")));
    }
    let mut y = Buffer::zeroed(x.device(), DType::F32, sequences.len() * width)?;
    {
        let x = x.read();
        let x = x.f32(OP, "x")?;
        parallel::rows_mut(y.f32_mut()?, width.max(1), 1, |first, y| {
            for (mean, ends) in y.chunks_exact_mut(width).zip(sequences.cu_seqlens_q()[first..].windows(2)) {
                let rows = &x[ends[0] as usize * width..ends[1] as usize * width];
                rows.chunks_exact(width).for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x));
                let share = share(ends);
                mean.iter_mut().for_each(|mean| *mean *= share);
            }
        });
    }
    let saved = Arc::clone(sequences);
    Tensor::record(OP, [sequences.len(), width], y, &[x], move |grad_y, sink| {
        sink.accumulate(0, |dx, add| {
            if !add {
                dx.fill(0.0);
            }
            for (dy, ends) in grad_y.f32()?.chunks_exact(width.max(1)).zip(saved.cu_seqlens_q().windows(2)) {
                let (rows, share) = (&mut dx[ends[0] as usize * width..ends[1] as usize * width], share(ends));
                for row in rows.chunks_exact_mut(width) {
                    row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += share * dy);
                }
            }
            Ok(())
        })
    })
}

/// What one row of a sequence contributes.
fn share(ends: &[u32]) -> f32 {
    1.0 / (ends[1] - ends[0]).max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    #[test]
    fn literal() {
        let x = Tensor::from_f32([3, 2], &[1.0, 2.0, 3.0, 6.0, 5.0, 7.0]).unwrap();
        let sequences = Arc::new(Sequences::packed(&[0, 2, 2, 3]).unwrap());
        let y = mean_rows(&x, &sequences).unwrap();
        assert_eq!((y.shape(), y.to_vec()), (&[3, 2][..], vec![2.0, 4.0, 0.0, 0.0, 5.0, 7.0]));
        let two = Arc::new(Sequences::packed(&[0, 2]).unwrap());
        let error = mean_rows(&x, &two).unwrap_err().to_string();
        assert_eq!(error, "mean_rows: `x` has shape [3, 2], expected [2, 2]");
    }

    #[test]
    fn gradients() {
        let sequences = Arc::new(Sequences::packed(&[0, 3, 4]).unwrap());
        let worst = gradcheck(&[values([4, 3], 1)], |x| mean_rows(&x[0], &sequences)).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
    }
}
