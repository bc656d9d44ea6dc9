//! The best approximation of a product by one of lower rank.
//!
//! ```text
//! B A = U S V^T,   B' = U[:, :r] S[:r],   A' = V[:, :r]^T
//! ```
//!
//! No other product of rank r is nearer (Eckart and Young 1936). A product of two narrow matrices is not formed: with
//! `B = Qb Rb` and `A^T = Qa Ra` its singular values are those of the small `Rb Ra^T`.

use device::philox::Stream;
use nalgebra::DMatrix;

use crate::PeftError;

/// Two factors, and what was lost.
pub(crate) struct Truncated {
    /// `[rank, in]`
    pub(crate) a: Vec<f32>,
    /// `[out, rank]`
    pub(crate) b: Vec<f32>,
    /// `|B A - B' A'| / |B A|` in the Frobenius norm; 0 of nothing.
    pub(crate) error: f64,
}

/// Factors of rank `rank` for the product of `b` (`[out, inner]`) and `a` (`[inner, in]`). What the product's own rank does
/// not fill is zero.
pub(crate) fn of_product(
    module: &str,
    b: &[f32],
    a: &[f32],
    inner: usize,
    rank: usize,
) -> Result<Truncated, PeftError> {
    let of_b = widened(b, inner).qr();
    let of_a = widened(a, a.len() / inner.max(1)).transpose().qr();
    let core = svd(module, of_b.r() * of_a.r().transpose())?;
    Ok(truncated(&(of_b.q() * core.left), &core.values, &(core.right * of_a.q().transpose()), rank))
}

/// The same for a matrix `[out, in]`.
pub(crate) fn of_matrix(module: &str, values: &[f32], out: usize, rank: usize) -> Result<Truncated, PeftError> {
    let Svd { left, values, right } = svd(module, widened(values, values.len() / out.max(1)))?;
    Ok(truncated(&left, &values, &right, rank))
}

/// As [`of_matrix`] within a subspace that multiplications with the matrix and its transpose leave of a random one drawn from
/// `stream`: Halko, Martinsson and Tropp 2011, algorithm 4.4, with more vectors than the rank, so that the ones that are kept
/// are settled. The error is exact all the same: what lies in the subspace and what does not are orthogonal.
pub(crate) fn of_large_matrix(
    module: &str,
    values: &[f32],
    out: usize,
    rank: usize,
    stream: &Stream,
) -> Result<Truncated, PeftError> {
    const MORE: usize = 16;
    const ITERATIONS: usize = 6;
    let matrix = widened(values, values.len() / out.max(1));
    let width = (rank + MORE).min(matrix.nrows()).min(matrix.ncols());
    let mut draws = (0..).map(|i| f64::from(stream.normal(i)));
    let random = DMatrix::from_fn(matrix.ncols(), width, |_, _| draws.next().unwrap_or_default());
    let mut basis = (&matrix * random).qr().q();
    for _ in 0..ITERATIONS {
        basis = (&matrix * matrix.tr_mul(&basis).qr().q()).qr().q();
    }
    let Svd { left, values, right } = svd(module, basis.tr_mul(&matrix))?;
    let all = matrix.norm_squared();
    let cut = truncated(&(basis * left), &values, &right, rank);
    let kept: f64 = values.iter().take(rank).map(|value| value * value).sum();
    let error = if all > 0.0 { ((all - kept).max(0.0) / all).sqrt() } else { 0.0 };
    Ok(Truncated { error, ..cut })
}

fn widened(values: &[f32], columns: usize) -> DMatrix<f64> {
    let rows = values.len() / columns.max(1);
    DMatrix::from_row_iterator(rows, columns, values.iter().map(|value| f64::from(*value)))
}

struct Svd {
    left: DMatrix<f64>,
    /// The largest first.
    values: Vec<f64>,
    /// Transposed.
    right: DMatrix<f64>,
}

fn svd(module: &str, matrix: DMatrix<f64>) -> Result<Svd, PeftError> {
    /// Far more than a matrix takes that can be decomposed at all.
    const MAX_ITERATIONS: usize = 1 << 20;
    let found = matrix.try_svd(true, true, f64::EPSILON, MAX_ITERATIONS).ok_or_else(|| not_converged(module))?;
    let (Some(left), Some(right)) = (found.u, found.v_t) else { return Err(not_converged(module)) };
    Ok(Svd { left, values: found.singular_values.iter().copied().collect(), right })
}

fn truncated(left: &DMatrix<f64>, values: &[f64], right: &DMatrix<f64>, rank: usize) -> Truncated {
    let kept = rank.min(values.len());
    let (out, input) = (left.nrows(), right.ncols());
    let mut a = vec![0.0; rank * input];
    let mut b = vec![0.0; out * rank];
    // The vectors of a value that is zero mean nothing.
    for (k, &value) in values.iter().enumerate().take(kept).filter(|(_, value)| **value > 0.0) {
        (0..input).for_each(|j| a[k * input + j] = right[(k, j)] as f32);
        (0..out).for_each(|i| b[i * rank + k] = (left[(i, k)] * value) as f32);
    }
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let all = norm(values);
    Truncated { a, b, error: if all > 0.0 { norm(&values[kept..]) / all } else { 0.0 } }
}

fn not_converged(module: &str) -> PeftError {
    PeftError::Combination {
        module: module.to_owned(),
        reason: "its singular values cannot be computed; look at its values".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;
    use proptest::prelude::*;

    fn values(len: usize, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; len];
        init::normal(&mut values, 1.0, seed, 0);
        values
    }

    fn product(b: &[f32], a: &[f32], inner: usize) -> Vec<f32> {
        let input = a.len() / inner;
        let element =
            |row: &[f32], j: usize| (0..inner).map(|k| f64::from(row[k]) * f64::from(a[k * input + j])).sum::<f64>();
        b.chunks(inner).flat_map(|row| (0..input).map(move |j| element(row, j) as f32).collect::<Vec<_>>()).collect()
    }

    fn distance(x: &[f32], y: &[f32]) -> f64 {
        x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The two ways agree, the error is what it says, and enough rank loses nothing.
        #[test]
        fn a_product_keeps_what_its_rank_holds(out in 1usize..9, input in 1usize..9, inner in 1usize..6, rank in 1usize..9, seed: u64) {
            let (b, a) = (values(out * inner, seed), values(inner * input, seed ^ 1));
            let whole = product(&b, &a, inner);
            let norm = distance(&whole, &vec![0.0; whole.len()]);
            let small = of_product("m", &b, &a, inner, rank).unwrap();
            let dense = of_matrix("m", &whole, out, rank).unwrap();
            for truncated in [&small, &dense] {
                let again = product(&truncated.b, &truncated.a, rank);
                // Results are rounded to f32 once, and so is `whole`.
                prop_assert!((distance(&whole, &again) / norm - truncated.error).abs() <= 1e-5);
            }
            prop_assert!((small.error - dense.error).abs() <= 1e-5);
            if rank >= inner.min(out).min(input) {
                prop_assert!(small.error <= 1e-6, "{}", small.error);
            }
        }
    }

    #[test]
    fn iterating_finds_what_decomposing_does() {
        let (b, a) = (values(40 * 6, 3), values(6 * 50, 4));
        // Rank 6 and a little noise.
        let noise = values(40 * 50, 5);
        let whole: Vec<f32> = product(&b, &a, 6).iter().zip(&noise).map(|(x, noise)| x + 0.01 * noise).collect();
        for rank in [2, 6, 40] {
            let (exact, near) = (
                of_matrix("m", &whole, 40, rank).unwrap(),
                of_large_matrix("m", &whole, 40, rank, &Stream::new(1, 2, 3)).unwrap(),
            );
            // Six multiplications settle the vectors before the gap, and squares of what is left round in f64.
            assert!((exact.error - near.error).abs() <= 1e-6, "{rank}: {} and {}", exact.error, near.error);
            let again = product(&near.b, &near.a, rank);
            let norm = distance(&whole, &vec![0.0; whole.len()]);
            assert!((distance(&whole, &again) / norm - near.error).abs() <= 1e-6);
        }
    }

    #[test]
    fn nothing_has_no_error() {
        let zero = of_product("m", &[0.0; 6], &[0.0; 8], 2, 3).unwrap();
        assert_eq!((zero.error, zero.a, zero.b), (0.0, vec![0.0; 12], vec![0.0; 9]));
    }
}
