//! Dense matrix products on the CPU: packed panels, one micro-kernel per instruction set.
//!
//! `C[m, n] = alpha A[m, k] B[k, n]`, or the same added to `C` or to a bias.
//!
//! | operand | shape | dtype |
//! |---|---|---|
//! | `A`, `B` | [`Matrix`]: row-major, transposed, or a block of columns of a wider matrix | f32, bf16 or f16, each its own |
//! | `C` | [`MatrixMut`]: row-major or a block of columns | f32 |
//!
//! Operands are widened exactly and every sum is kept in f32, so that
//! `|C - exact| <= (k + 2) 2^-24 |alpha| |A| |B|` to first order (Higham 2002, "Accuracy and Stability of Numerical
//! Algorithms", section 3.5), one rounding of `C` more where the product is added.
//!
//! The blocking is that of Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication", and Van Zee
//! and van de Geijn 2015, "BLIS"; see `blocked.rs`. Products of at most eight rows read `B` in place instead; see
//! `narrow.rs`. AVX-512F, AVX2 or plain Rust is chosen when the program runs. The result depends on the instruction set
//! but not on the number of threads.

mod blocked;
mod error;
mod isa;
mod matrix;
mod narrow;
mod pack;
mod problem;
mod sums;
mod tile;

pub use error::GemmError;
pub use matrix::{Matrix, MatrixMut};
pub use sums::column_sums;

use isa::Isa;
use matrix::Stored;
use problem::{Addend, Output, Problem};

/// What the product is added to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update<'a> {
    /// `C = alpha A B`. `C` is not read.
    Overwrite,
    /// `C += alpha A B`.
    Accumulate,
    /// `C = alpha A B + bias`, with the same `[n]` added to every row. `C` is not read.
    Bias(&'a [f32]),
}

/// `C = alpha A B`, `C += alpha A B` or `C = alpha A B + bias`.
///
/// A product of depth zero is zero; one without rows or columns is nothing.
///
/// # Errors
/// [`GemmError::InnerSize`] and [`GemmError::OutputShape`] if the shapes do not belong together, [`GemmError::Length`] and
/// [`GemmError::RowStride`] if a slice does not hold its matrix or bias, [`GemmError::Device`] if there is no memory to pack in.
pub fn gemm(alpha: f32, a: Matrix<'_>, b: Matrix<'_>, update: Update<'_>, c: MatrixMut<'_>) -> Result<(), GemmError> {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(isa) = isa::avx512::Avx512::detect() {
            return gemm_with(isa, alpha, a, b, update, c);
        }
        if let Some(isa) = isa::avx2::Avx2::detect() {
            return gemm_with(isa, alpha, a, b, update, c);
        }
    }
    gemm_with(isa::portable::Portable, alpha, a, b, update, c)
}

fn gemm_with<I: Isa>(
    isa: I,
    alpha: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    update: Update<'_>,
    c: MatrixMut<'_>,
) -> Result<(), GemmError> {
    if a.cols() != b.rows() {
        return Err(GemmError::InnerSize { a: a.shape(), b: b.shape() });
    }
    let (m, n, k) = (a.rows(), b.cols(), a.cols());
    if [c.rows(), c.cols()] != [m, n] {
        return Err(GemmError::OutputShape { expected: [m, n], got: [c.rows(), c.cols()] });
    }
    a.check("A")?;
    b.check("B")?;
    c.check()?;
    if let Update::Bias(bias) = update {
        Stored::dense(1, n).check("bias", bias.len())?;
    }
    if m == 0 || n == 0 {
        return Ok(());
    }
    let row_stride = c.stored.row_stride;
    if k == 0 {
        let rows = c.elements.chunks_mut(row_stride).take(m);
        match update {
            Update::Overwrite => rows.for_each(|row| row[..n].fill(0.0)),
            Update::Accumulate => {}
            Update::Bias(bias) => rows.for_each(|row| row[..n].copy_from_slice(bias)),
        }
        return Ok(());
    }
    let (a, b) = (a.row_lines(), b.column_lines());
    let c = Output { start: c.elements.as_mut_ptr(), row_stride };
    let problem = Problem { m, n, k, a, b, alpha, addend: Addend::new(update, c), c };
    // SAFETY: `check` proved that `C` holds `m` rows of `n` elements, and its borrow is exclusive.
    unsafe { if m <= narrow::MAX_ROWS { narrow::run(isa, &problem) } else { blocked::run(isa, &problem) } }
}

#[cfg(test)]
mod tests;
