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
}

impl Shape {
    /// Rows of a chunk: as many as 32 MiB of logits hold, but enough to be worth reading the head for.
    fn chunk(&self) -> usize {
        const LOGITS: usize = (32 << 20) / size_of::<f32>();
        const FEWEST: usize = 32;
        (LOGITS / self.vocab_size.max(1)).max(FEWEST)
    }
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
    let Arguments { hidden, head, labels, mut dhidden, mut dhead } = args;
    let Shape { rows, hidden: width, vocab_size, softcap } = shape;
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
    let chunk = shape.chunk().min(supervised.len());
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
        gemm(1.0, Matrix::new(&*compact, n, width), head.transposed(), Update::Overwrite, product)?;
        let chunk_shape = cross_entropy::Shape { rows: n, vocab_size, softcap };
        if dhidden.is_none() && dhead.is_none() {
            loss.add(cross_entropy::forward(chunk_shape, logits, &labels)?);
            continue;
        }
        loss.add(cross_entropy::forward_backward(chunk_shape, logits, &labels, 1.0)?);
        let dlogits = Matrix::new(&*logits, n, vocab_size);
        if let Some(dhead) = &mut dhead {
            let product = MatrixMut::new(dhead, vocab_size, width);
            gemm(1.0, dlogits.transposed(), Matrix::new(&*compact, n, width), Update::Accumulate, product)?;
        }
        if let Some(dhidden) = &mut dhidden {
            gemm(1.0, dlogits, head, Update::Overwrite, MatrixMut::new(compact, n, width))?;
            rows::scatter_add(all_rows, compact, selected, dhidden)?;
        }
    }
    Ok(loss)
}
