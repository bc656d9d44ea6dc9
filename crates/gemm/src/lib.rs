//! Dense matrix products: on the CPU with packed panels and one micro-kernel per instruction set, and as kernels.
//!
//! `C[m, n] = alpha A[m, k] B[k, n]`, or the same added to `C` or to a bias; [`gemm_scaled`] gives the columns factors as well.
//!
//! | operand | shape | dtype |
//! |---|---|---|
//! | `A`, `B` | [`Matrix`]: row-major, transposed, a block of columns of a wider matrix, or expanded as it is read | f32, bf16 or f16, each its own; f32 may be read as the nearest bf16 |
//! | `C` | [`MatrixMut`]: row-major or a block of columns | f32, bf16 or f16 |
//!
//! Operands are widened exactly and every sum is kept in f32, so that
//! `|C - exact| <= (k + 2) 2^-24 |alpha| |A| |B|` to first order (Higham 2002, "Accuracy and Stability of Numerical
//! Algorithms", section 3.5), where what is added counts as one more product. A complete sum is rounded once to the dtype
//! of `C`.
//!
//! The blocking (`blocked.rs`) is that of Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication",
//! and Van Zee and van de Geijn 2015, "BLIS". Products of at most eight rows read `B` in place instead (`narrow`), and those of
//! up to 64 rows where its columns are tiles as they lie (`in_place`). The kernels are chosen when the program runs: AMX
//! tiles fed with exact pieces of the operands (`amx`), pairs of bf16 where all operands are that (`avx512_bf16`), AVX-512F, AVX2,
//! NEON or plain Rust (`simd`). The result depends on that choice but not on the number of threads. An operand of several products
//! may be packed once for all of them ([`Packed`]), which changes no bit.
//!
//! The functions here are the definition of the result, on slices; [`launch`] has kernels for them, on device buffers.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_tiles;
mod blocked;
mod dispatch;
mod error;
mod expand;
#[cfg(target_arch = "x86_64")]
mod in_place;
mod kernel;
pub mod launch;
mod matrix;
mod narrow;
mod packed;
mod panels;
mod problem;
mod scale;
mod simd;
mod sums;

pub use error::GemmError;
pub use expand::{Expand, Window};
pub use matrix::{Matrix, MatrixMut};
pub use packed::Packed;
pub use scale::{ColumnScale, gemm_scaled};
pub use sums::column_sums;

use device::DType;
use dispatch::{Task, dispatch};
use kernel::Kernel;
use matrix::Stored;
use problem::{Addend, Problem, Term};
use scale::Scale;
use simd::Isa;

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
/// [`GemmError::RowStride`] if a slice does not hold its matrix or bias, [`GemmError::Device`] if there is no memory to
/// pack in.
pub fn gemm(alpha: f32, a: Matrix<'_>, b: Matrix<'_>, update: Update<'_>, c: MatrixMut<'_>) -> Result<(), GemmError> {
    sum_of_products(alpha, &[(a, b)], update, c)
}

/// [`gemm`] of several products with the same result: `C = alpha sum_i A_i B_i`, plus what `update` says. Each has a depth
/// of its own.
///
/// A part of the sum stays in the cache while all of them are added, so that a low-rank product costs little beside a
/// large one.
///
/// # Errors
/// Those of [`gemm`], for each product. A sum of none is zero.
pub fn sum_of_products(
    alpha: f32,
    products: &[(Matrix<'_>, Matrix<'_>)],
    update: Update<'_>,
    c: MatrixMut<'_>,
) -> Result<(), GemmError> {
    sum_scaled(alpha, products, update, None, c)
}

/// [`sum_of_products`], and the factors of its columns.
fn sum_scaled(
    alpha: f32,
    products: &[(Matrix<'_>, Matrix<'_>)],
    update: Update<'_>,
    scale: Option<Scale>,
    c: MatrixMut<'_>,
) -> Result<(), GemmError> {
    let depth = products.iter().map(|(a, _)| a.cols()).max().unwrap_or_default();
    let is_bf16 = products.iter().all(|(a, b)| a.dtype() == DType::BF16 && b.dtype() == DType::BF16);
    dispatch(depth, is_bf16, SumOfProducts { alpha, products, update, scale, c })
}

/// The arguments of [`sum_scaled`].
struct SumOfProducts<'a> {
    alpha: f32,
    products: &'a [(Matrix<'a>, Matrix<'a>)],
    update: Update<'a>,
    scale: Option<Scale>,
    c: MatrixMut<'a>,
}

impl Task for SumOfProducts<'_> {
    type Output = Result<(), GemmError>;

    fn run<K: Kernel, I: Isa>(self, kernel: K, isa: I) -> Self::Output {
        let Self { alpha, products, update, scale, c } = self;
        sum_with(kernel, isa, alpha, products, update, scale, c)
    }
}

/// The sum with a given kernel, and a given instruction set for few rows.
fn sum_with<K: Kernel, I: Isa>(
    kernel: K,
    isa: I,
    alpha: f32,
    products: &[(Matrix<'_>, Matrix<'_>)],
    update: Update<'_>,
    scale: Option<Scale>,
    mut c: MatrixMut<'_>,
) -> Result<(), GemmError> {
    let (m, n) = (c.rows(), c.cols());
    for (a, b) in products {
        if a.cols() != b.rows() {
            return Err(GemmError::InnerSize { a: a.shape(), b: b.shape() });
        }
        if [a.rows(), b.cols()] != [m, n] {
            return Err(GemmError::OutputShape { expected: [a.rows(), b.cols()], got: [m, n] });
        }
        a.check("A")?;
        b.check("B")?;
    }
    c.check()?;
    if let Update::Bias(bias) = update {
        Stored::dense(1, n).check("bias", bias.len())?;
    }
    if m == 0 || n == 0 {
        return Ok(());
    }
    let terms: Vec<Term<'_>> = products.iter().filter(|(a, _)| a.cols() > 0).map(Term::new).collect();
    if terms.is_empty() {
        without_terms(update, &mut c);
        if let Some(scale) = scale {
            // SAFETY: `check` proved that `C`, which is f32, holds `m` rows of `n` elements, and its borrow is exclusive.
            unsafe { scale.apply(c.output(), [0, 0], [m, n]) };
        }
        return Ok(());
    }
    let output = c.output();
    let problem = Problem { m, n, alpha, terms: &terms, addend: Addend::new(update, output), scale, c: output };
    let in_place = kernel.in_place(&problem);
    let is_narrow = in_place.is_none() && m <= narrow::MAX_ROWS;
    let turned: Vec<Term<'_>> = match in_place.is_none() && !is_narrow && kernel.prefers_transposed(&problem) {
        true => terms.iter().map(Term::transposed).collect(),
        false => Vec::new(),
    };
    let problem = if turned.is_empty() { problem } else { problem.transposed(&turned) };
    if output.dtype != DType::F32 {
        let is_single_pass = in_place.is_some() || !is_narrow && blocked::is_single_pass(kernel, &problem);
        if !is_single_pass || update == Update::Accumulate {
            return c.through_f32(|c| sum_with(kernel, isa, alpha, products, update, scale, c));
        }
    }
    // SAFETY: `check` proved that `C` holds `m` rows of `n` elements, and its borrow is exclusive.
    unsafe {
        match in_place {
            Some(compute) => compute(kernel, &problem),
            None if is_narrow => narrow::run(isa, &problem),
            None => blocked::run(kernel, &problem),
        }
    }
}

/// What an empty sum leaves.
fn without_terms(update: Update<'_>, c: &mut MatrixMut<'_>) {
    match update {
        Update::Overwrite => c.for_each_row(|mut row| row.narrow_from(&vec![0.0; row.len()])),
        Update::Accumulate => {}
        Update::Bias(bias) => c.for_each_row(|mut row| row.narrow_from(bias)),
    }
}

#[cfg(test)]
mod tests;
