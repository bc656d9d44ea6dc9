//! Cross-entropy of `hidden W^T` without the logits in memory.
//!
//! ```text
//! logits  = hidden W^T                    loss as in `cross_entropy`
//! dhidden = dlogits W
//! dW      = dlogits^T hidden              for a trainable head
//! ```
//!
//! Rows are taken in chunks, each carried through to its gradient before the next, so that the logits of one chunk are
//! all that exists. Rows whose label is -100 are never multiplied. Source of the chunking: Hsu et al. 2024, "Liger Kernel".

use device::{Buffer, DType, Device};
use gemm::{Matrix, MatrixMut, Update, gemm};

use crate::cross_entropy::{self, IGNORE_INDEX, LossSum};
use crate::error::check_len;
use crate::{Result, rows};

const OP: &str = "linear_cross_entropy";

/// Sizes and constants of one loss.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of `hidden`, and labels.
    pub rows: usize,
    /// Elements of a row of `hidden`.
    pub hidden: usize,
    /// Rows of the head.
    pub vocab_size: usize,
    /// Soft cap of the logits.
    pub softcap: Option<f32>,
    /// What the products round f32 operands to: bf16, or f32 for not at all.
    pub precision: DType,
}

/// The most rows of a chunk: what 32 MiB of logits hold, or 64 MiB in bf16, where products are so fast that packing the head
/// takes as long. A large head is packed for as many rows as make that worth it, within three times 32 MiB, or 64 MiB.
pub fn most_rows(vocab_size: usize, precision: DType) -> usize {
    const FEWEST: usize = 64;
    let (bytes, worthwhile): (usize, usize) = if precision == DType::BF16 { (64 << 20, 256) } else { (32 << 20, 160) };
    let rows_of = |bytes: usize| bytes / size_of::<f32>() / vocab_size.max(1);
    rows_of(bytes).max(worthwhile.min(rows_of(3 * bytes))).max(FEWEST)
}

/// Arguments of [`forward_backward`].
#[derive(Debug)]
pub struct Arguments<'a> {
    /// `[rows, hidden]`
    pub hidden: &'a [f32],
    /// `[vocab_size, hidden]`, in any dtype and layout.
    pub head: Matrix<'a>,
    /// `[rows]`
    pub labels: &'a [i64],
    /// `[rows, hidden]`, written if wanted: the gradient of the loss sum.
    pub dhidden: Option<&'a mut [f32]>,
    /// `[vocab_size, hidden]`, added to if wanted: the gradient of the loss sum.
    pub dhead: Option<&'a mut [f32]>,
}

/// The loss and, in the same pass, the gradients that are wanted.
///
/// # Errors
/// [`crate::TransformerError::Label`], [`crate::TransformerError::Softcap`], [`crate::TransformerError::Length`],
/// [`crate::TransformerError::Gemm`] for a head of another shape, [`crate::TransformerError::Device`] without memory.
pub fn forward_backward(shape: Shape, args: Arguments<'_>) -> Result<LossSum> {
    in_chunks(shape, args, most_rows(shape.vocab_size, shape.precision))
}

fn in_chunks(shape: Shape, args: Arguments<'_>, most_rows: usize) -> Result<LossSum> {
    let Arguments { hidden, head, labels, mut dhidden, mut dhead } = args;
    let Shape { rows, hidden: width, vocab_size, softcap, precision } = shape;
    cross_entropy::Shape { rows, vocab_size, softcap }.check(labels)?;
    check_len(OP, "hidden", &[rows, width], hidden.len())?;
    if let Some(dhidden) = &mut dhidden {
        check_len(OP, "dhidden", &[rows, width], dhidden.len())?;
        dhidden.fill(0.0);
    }
    if let Some(dhead) = &dhead {
        check_len(OP, "dhead", &[vocab_size, width], dhead.len())?;
    }
    let supervised: Vec<u32> = (0..rows as u32).filter(|&row| labels[row as usize] != IGNORE_INDEX).collect();
    // Chunks of equal size: a short last one would read the whole head for a few rows.
    let chunk = supervised.len().div_ceil(supervised.len().div_ceil(most_rows).max(1));
    let scratch = |len| Buffer::scratch(Device::Cpu, DType::F32, len);
    let (mut logits, mut compact) = (scratch(chunk * vocab_size)?, scratch(chunk * width)?);
    let all_rows = rows::Shape { rows, width };

    let mut loss = LossSum::default();
    for selected in supervised.chunks(chunk.max(1)) {
        let n = selected.len();
        let logits = &mut logits.f32_mut()?[..n * vocab_size];
        let compact = &mut compact.f32_mut()?[..n * width];
        let labels: Vec<i64> = selected.iter().map(|&row| labels[row as usize]).collect();
        rows::gather(all_rows, hidden, selected, compact)?;
        let product = MatrixMut::new(logits, n, vocab_size);
        let x = Matrix::new(&*compact, n, width).rounded_to(precision);
        gemm(1.0, x, head.transposed(), Update::Overwrite, product)?;
        let chunk_shape = cross_entropy::Shape { rows: n, vocab_size, softcap };
        if dhidden.is_none() && dhead.is_none() {
            loss.add(cross_entropy::forward(chunk_shape, logits, &labels)?);
            continue;
        }
        loss.add(cross_entropy::forward_backward(chunk_shape, logits, &labels, 1.0)?);
        let dlogits = Matrix::new(&*logits, n, vocab_size).rounded_to(precision);
        if let Some(dhead) = &mut dhead {
            let product = MatrixMut::new(dhead, vocab_size, width);
            gemm(1.0, dlogits.transposed(), x, Update::Accumulate, product)?;
        }
        if let Some(dhidden) = &mut dhidden {
            gemm(1.0, dlogits, head, Update::Overwrite, MatrixMut::new(compact, n, width))?;
            rows::scatter_add(all_rows, compact, selected, dhidden)?;
        }
    }
    Ok(loss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransformerError;
    use crate::testing::{assert_close, values, widen, with_threads};
    use half::bf16;

    const SHAPE: Shape = Shape { rows: 50, hidden: 12, vocab_size: 300, softcap: None, precision: DType::F32 };

    fn inputs() -> (Vec<f32>, Vec<bf16>, Vec<i64>) {
        let head = values(SHAPE.vocab_size * SHAPE.hidden, 2, 1.0).into_iter().map(bf16::from_f32).collect();
        let label = |i: usize| if i % 3 == 1 { IGNORE_INDEX } else { (i * 7919 % SHAPE.vocab_size) as i64 };
        (values(SHAPE.rows * SHAPE.hidden, 1, 2.0), head, (0..SHAPE.rows).map(label).collect())
    }

    #[test]
    fn chunks_add_up_to_cross_entropy_of_the_whole_product() {
        let (hidden, stored, labels) = inputs();
        let Shape { rows, hidden: width, vocab_size, .. } = SHAPE;
        let head = Matrix::new(&stored[..], vocab_size, width);

        let mut logits = vec![0.0; rows * vocab_size];
        let x = Matrix::new(&hidden[..], rows, width);
        gemm(1.0, x, head.transposed(), Update::Overwrite, MatrixMut::new(&mut logits, rows, vocab_size)).unwrap();
        let whole = cross_entropy::Shape { rows, vocab_size, softcap: None };
        let expected = cross_entropy::forward_backward(whole, &mut logits, &labels, 1.0).unwrap();
        let dlogits = Matrix::new(&logits[..], rows, vocab_size);
        let (mut whole_dhidden, mut whole_dhead) = (vec![0.0; rows * width], vec![1.0; vocab_size * width]);
        let product = MatrixMut::new(&mut whole_dhidden, rows, width);
        gemm(1.0, dlogits, head, Update::Overwrite, product).unwrap();
        let product = MatrixMut::new(&mut whole_dhead, vocab_size, width);
        gemm(1.0, dlogits.transposed(), x, Update::Accumulate, product).unwrap();

        for most_rows in [1, 7, 34, 1000] {
            let (mut dhidden, mut dhead) = (vec![f32::NAN; rows * width], vec![1.0; vocab_size * width]);
            let (dhidden_out, dhead_out) = (Some(&mut dhidden[..]), Some(&mut dhead[..]));
            let args = Arguments { hidden: &hidden, head, labels: &labels, dhidden: dhidden_out, dhead: dhead_out };
            let sum = in_chunks(SHAPE, args, most_rows).unwrap();
            let only_loss = Arguments { hidden: &hidden, head, labels: &labels, dhidden: None, dhead: None };
            assert_eq!(in_chunks(SHAPE, only_loss, most_rows).unwrap(), sum);
            // Products of few rows are summed in another order: roundings of logits of size 10.
            assert!((sum.loss - expected.loss).abs() <= 1e-6 * expected.loss);
            assert_eq!((sum.num_supervised, sum.num_correct), (expected.num_supervised, expected.num_correct));
            assert_close(&dhidden, &widen(&whole_dhidden), 1e-5);
            assert_close(&dhead, &widen(&whole_dhead), 1e-5);
            // Rows that are not supervised have no gradient.
            assert_eq!(dhidden[width..2 * width], vec![0.0; width]);
        }
    }

    #[test]
    fn the_logits_in_memory_are_bounded() {
        let most = |precision| [32_768, 151_936, 262_144, 1 << 40].map(|vocab_size| most_rows(vocab_size, precision));
        assert_eq!(most(DType::F32), [256, 160, 96, 64]);
        assert_eq!(most(DType::BF16), [512, 256, 192, 64]);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (hidden, stored, labels) = inputs();
        let head = Matrix::new(&stored[..], SHAPE.vocab_size, SHAPE.hidden);
        let [one, four] = with_threads(|| {
            let mut dhidden = vec![0.0; hidden.len()];
            let dhidden_out = Some(&mut dhidden[..]);
            let args = Arguments { hidden: &hidden, head, labels: &labels, dhidden: dhidden_out, dhead: None };
            (in_chunks(SHAPE, args, 20).unwrap().loss.to_bits(), dhidden)
        });
        assert!(one == four);
    }

    #[test]
    fn nothing_supervised_is_no_loss() {
        let shape = Shape { rows: 2, hidden: 1, vocab_size: 2, ..SHAPE };
        let mut dhidden = [f32::NAN; 2];
        let head = Matrix::new(&[1.0f32, 2.0][..], 2, 1);
        let labels = [IGNORE_INDEX; 2];
        let args = Arguments { hidden: &[1.0; 2], head, labels: &labels, dhidden: Some(&mut dhidden), dhead: None };
        assert_eq!(forward_backward(shape, args).unwrap(), LossSum::default());
        assert_eq!(dhidden, [0.0; 2]);
    }

    #[test]
    fn sizes_and_labels_are_checked() {
        let shape = Shape { rows: 1, hidden: 2, vocab_size: 3, ..SHAPE };
        let run = |head: Matrix<'_>, label: i64| {
            let args = Arguments { hidden: &[1.0; 2], head, labels: &[label], dhidden: None, dhead: None };
            forward_backward(shape, args)
        };
        let head = [1.0f32; 6];
        assert!(matches!(run(Matrix::new(&head[..], 3, 2), 3), Err(TransformerError::Label { label: 3, .. })));
        assert!(matches!(run(Matrix::new(&head[..], 2, 3), 0), Err(TransformerError::Gemm(_))));
    }
}
