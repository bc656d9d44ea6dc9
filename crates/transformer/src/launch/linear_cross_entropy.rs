//! Launching the cross-entropy of a product: [`crate::linear_cross_entropy`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor};
use gemm::launch::{Matrix, MatrixMut, Update, gemm};

use super::check_len;
use super::cross_entropy::{self, Labels, Sums};
use super::rows::{self, Selected};
use crate::Result;
use crate::cross_entropy::{IGNORE_INDEX, Shape as LogitsShape};
use crate::linear_cross_entropy::Shape;
use crate::rows::Shape as RowsShape;

const OP: &str = "linear_cross_entropy";

/// Bytes of logits that exist at once: enough rows for a product that reads the head once to be bound by arithmetic.
const LOGITS_BYTES: usize = 256 << 20;

/// Where no gradient of the head is wanted, rows are multiplied in multiples of these, a tile of the product, as far as there are
/// as many and memory for them: so batches with about as many labels are launched alike, and [graphs](Executor::in_graphs) of them
/// come again.
const ROWS: usize = 128;

/// Arguments of [`forward_backward`], all but the labels on one device.
#[derive(Debug)]
pub struct Arguments<'a> {
    /// Of `hidden`, `head` and `dhidden`, and of the logits: f32 or bf16.
    pub dtype: DType,
    /// `[rows, hidden]`
    pub hidden: &'a DeviceBuffer,
    /// `[vocab_size, hidden]`
    pub head: Matrix<'a>,
    /// `[rows]`: which rows are multiplied is decided here, before anything is launched.
    pub labels: &'a [i64],
    /// `[rows, hidden]`, added to if wanted: the gradient of the loss sum.
    pub dhidden: Option<&'a mut DeviceBuffer>,
    /// `[vocab_size, hidden]` f32, added to if wanted: the gradient of the loss sum.
    pub dhead: Option<&'a mut DeviceBuffer>,
    /// What the losses are added to.
    pub sums: &'a mut Sums,
}

/// The loss and, in the same pass, the gradients that are wanted. bf16 rounds the logits and their gradient.
///
/// # Errors
/// [`crate::TransformerError::Label`], [`crate::TransformerError::Softcap`], [`crate::TransformerError::Length`],
/// [`crate::TransformerError::KernelDType`] for f16, [`crate::TransformerError::Gemm`] for a head of another shape,
/// [`crate::TransformerError::Device`] for buffers of different devices, without memory, and for what a launch refuses.
pub fn forward_backward(shape: Shape, args: Arguments<'_>) -> Result<()> {
    in_chunks(shape, args, LOGITS_BYTES)
}

/// As [`forward_backward`], with `logits_bytes` of logits at once, or those of one row.
///
/// # Errors
/// As [`forward_backward`].
pub fn in_chunks(shape: Shape, args: Arguments<'_>, logits_bytes: usize) -> Result<()> {
    let Arguments { dtype, hidden, head, labels, mut dhidden, mut dhead, sums } = args;
    let Shape { rows, hidden: width, vocab_size, softcap, .. } = shape;
    LogitsShape { rows, vocab_size, softcap }.check(labels)?;
    check_len(OP, "hidden", &[rows, width], dtype, hidden)?;
    if let Some(dhidden) = &dhidden {
        check_len(OP, "dhidden", &[rows, width], dtype, dhidden)?;
    }
    if let Some(dhead) = &dhead {
        check_len(OP, "dhead", &[vocab_size, width], DType::F32, dhead)?;
    }
    let executor = Executor::of(hidden, dhidden.as_deref().into_iter().chain(dhead.as_deref()))?;
    // A row that is no number must not come into the gradient of a head.
    let multiple = if dhead.is_none() { ROWS } else { 1 };
    let multiplied = multiplied(labels, multiple);
    let most_rows = (logits_bytes / (vocab_size * dtype.size_bytes()).max(1)).max(1);

    for chosen in multiplied.chunks(chunk_rows(multiplied.len(), most_rows, multiple)) {
        let n = chosen.len();
        let labels: Vec<i64> = chosen.iter().map(|&row| labels[row as usize]).collect();
        let labels = Labels::new(executor, &labels, vocab_size)?;
        let selected = Selected::new(executor, chosen, rows)?;
        let mut logits = executor.allocate(n * vocab_size * dtype.size_bytes())?;
        let mut compact = executor.allocate(n * width * dtype.size_bytes())?;
        let all_rows = RowsShape { rows, width };
        rows::gather(all_rows, 1.0, (dtype, hidden), &selected, (dtype, &mut compact))?;
        let x = Matrix::new(&compact, dtype, n, width);
        gemm(1.0, x, head.transposed(), Update::Overwrite, MatrixMut::new(&mut logits, dtype, n, vocab_size))?;
        let of_chunk = LogitsShape { rows: n, vocab_size, softcap };
        if dhidden.is_none() && dhead.is_none() {
            cross_entropy::forward(of_chunk, dtype, &logits, &labels, sums)?;
            continue;
        }
        cross_entropy::forward_backward(of_chunk, dtype, &mut logits, &labels, 1.0, sums)?;
        let dlogits = Matrix::new(&logits, dtype, n, vocab_size);
        if let Some(dhead) = &mut dhead {
            let product = MatrixMut::new(dhead, DType::F32, vocab_size, width);
            gemm(1.0, dlogits.transposed(), x, Update::Accumulate, product)?;
        }
        if let Some(dhidden) = &mut dhidden {
            gemm(1.0, dlogits, head, Update::Overwrite, MatrixMut::new(&mut compact, dtype, n, width))?;
            rows::scatter_add(all_rows, 1.0, (dtype, &compact), &selected, (dtype, dhidden), None)?;
        }
    }
    Ok(())
}

/// Rows of a chunk, where no more than `most` of all `rows` are multiplied at once. Chunks have about the same size, as a short last
/// one would read the whole head for a few rows; all but the last are multiples of `multiple`, if `most` is not less.
fn chunk_rows(rows: usize, most: usize, multiple: usize) -> usize {
    let multiple = if most < multiple { 1 } else { multiple };
    let most = most - most % multiple;
    rows.div_ceil(rows.div_ceil(most).max(1)).next_multiple_of(multiple).max(1)
}

/// The rows that have a label, and as many more of the first ones without as make them a multiple of `multiple`. Those add nothing.
fn multiplied(labels: &[i64], multiple: usize) -> Vec<u32> {
    let is_supervised = |row: u32| labels[row as usize] != IGNORE_INDEX;
    let rows = 0..labels.len() as u32;
    let supervised = rows.clone().filter(|&row| is_supervised(row)).count();
    let mut more = supervised.next_multiple_of(multiple) - supervised;
    let is_taken = |row: &u32| {
        let is_filling = !is_supervised(*row) && more > 0;
        more -= usize::from(is_filling);
        is_filling || is_supervised(*row)
    };
    rows.filter(is_taken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_tiles_of_about_the_same_size() {
        assert_eq!(chunk_rows(384, 300, 128), 256);
        assert_eq!(chunk_rows(1024, 700, 128), 512);
        assert_eq!(chunk_rows(1000, 700, 1), 500);
        // Without memory for a tile, as many rows as there is memory for.
        assert_eq!(chunk_rows(384, 100, 128), 96);
        assert_eq!((chunk_rows(5, 1, 128), chunk_rows(0, 300, 128)), (1, 1));
        for (rows, most) in [(1, 128), (129, 128), (640, 511), (5000, 777)] {
            let chunk = chunk_rows(rows, most, 128);
            assert!(chunk.is_multiple_of(128) && chunk <= most, "{rows} rows, {most} at once: {chunk}");
        }
    }

    #[test]
    fn rows_without_a_label_fill_a_tile() {
        let labels = [IGNORE_INDEX, 5, IGNORE_INDEX, IGNORE_INDEX, 7, 8];
        assert_eq!(multiplied(&labels, 1), [1, 4, 5]);
        assert_eq!(multiplied(&labels, 4), [0, 1, 4, 5]);
        assert_eq!(multiplied(&labels, 100), [0, 1, 2, 3, 4, 5]);
        assert_eq!(multiplied(&[IGNORE_INDEX; 3], 4), [0u32; 0]);
    }
}
