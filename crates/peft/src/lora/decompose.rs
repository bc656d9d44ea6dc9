//! Parts of a weight matrix as products of two narrow ones, computed in f64.

use device::philox::Stream;
use nalgebra::{DMatrix, QR, SVD};

/// `B` `[out, rank]` and `A` `[rank, in]`.
pub(super) struct Factors {
    pub(super) b: DMatrix<f64>,
    pub(super) a: DMatrix<f64>,
}

/// The part of the `rank` largest singular values, `B = U sqrt(S / scaling)` and `A = sqrt(S / scaling) V^T`.
pub(super) fn principal(weight: DMatrix<f64>, rank: usize, scaling: f64) -> Factors {
    let SVD { u, v_t, singular_values } = SVD::new(weight, true, true);
    // Both are there because both were asked for.
    let (u, v_t) = (u.unwrap_or_default(), v_t.unwrap_or_default());
    let roots = singular_values.rows(0, rank).map(|value| (value / scaling).sqrt());
    let (mut b, mut a) = (u.columns(0, rank).into_owned(), v_t.rows(0, rank).into_owned());
    for (i, root) in roots.iter().enumerate() {
        b.column_mut(i).scale_mut(*root);
        a.row_mut(i).scale_mut(*root);
    }
    Factors { b, a }
}

/// As [`principal`] within the subspace that `iterations` multiplications with the weight and its transpose leave of a random
/// one drawn from `stream`: Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4.
pub(super) fn principal_by_iteration(
    weight: &DMatrix<f64>,
    rank: usize,
    scaling: f64,
    iterations: u32,
    stream: &Stream,
) -> Factors {
    let mut draws = (0..).map(|i| f64::from(stream.normal(i)));
    let random = DMatrix::from_fn(weight.ncols(), rank, |_, _| draws.next().unwrap_or_default());
    let mut basis = orthonormal(weight * random);
    for _ in 0..iterations {
        basis = orthonormal(weight * orthonormal(weight.tr_mul(&basis)));
    }
    let Factors { b, a } = principal(basis.tr_mul(weight), rank, scaling);
    Factors { b: basis * b, a }
}

/// `B = Q[:, :rank]` and `A = R[:rank]` of the QR decomposition. The first columns of Q are those of a decomposition of the
/// first columns alone, and A is what of the weight lies along them.
pub(super) fn leading(weight: &DMatrix<f64>, rank: usize) -> Factors {
    let b = orthonormal(weight.columns(0, rank).into_owned());
    let a = b.tr_mul(weight);
    Factors { b, a }
}

/// A and B that start with `B A = 0` without either being zero: halves of an orthogonal matrix between two random ones.
/// `rank` is even.
pub(super) fn orthogonal(inputs: usize, outputs: usize, rank: usize, streams: &[Stream; 3]) -> Factors {
    let random = |stream: &Stream, rows: usize, columns: usize| {
        DMatrix::from_fn(rows, columns, |i, j| f64::from(stream.normal((i * columns + j) as u64)))
    };
    let q = orthonormal(random(&streams[0], rank, rank));
    let half = |first: usize| DMatrix::from_fn(rank / 2, rank, |i, j| q[(2 * i + first, j)]);
    let a = (random(&streams[1], inputs, rank / 2) * half(0)).transpose() / 10.0;
    let b = random(&streams[2], outputs, rank / 2) * half(1) / 10.0;
    Factors { b, a }
}

fn orthonormal(columns: DMatrix<f64>) -> DMatrix<f64> {
    QR::new(columns).q()
}

#[cfg(test)]
mod tests {
    use nalgebra::DVector;

    use super::*;

    fn matrix(rows: usize, columns: usize) -> DMatrix<f64> {
        let stream = Stream::new(5, rows as u32, columns as u32);
        DMatrix::from_fn(rows, columns, |i, j| f64::from(stream.normal((i * columns + j) as u64)))
    }

    fn largest(matrix: &DMatrix<f64>) -> f64 {
        matrix.iter().fold(0.0, |largest, value| if value.abs() <= largest { largest } else { value.abs() })
    }

    #[test]
    fn all_singular_values_are_the_whole_matrix() {
        for (rows, columns) in [(7, 5), (5, 7), (6, 6), (1, 4), (4, 1)] {
            let weight = matrix(rows, columns);
            let rank = rows.min(columns);
            for Factors { b, a } in [
                principal(weight.clone(), rank, 0.5),
                principal_by_iteration(&weight, rank, 0.5, 2, &Stream::new(1, 2, 3)),
            ] {
                // Rounding in f64.
                assert!(largest(&(&b * &a * 0.5 - &weight)) <= 1e-12, "{rows} x {columns}");
            }
        }
    }

    #[test]
    fn the_principal_part_is_the_nearest_of_its_rank() {
        let diagonal = |values: [f64; 4]| DMatrix::from_diagonal(&DVector::from_row_slice(&values));
        // Its singular values 4, 3, 2, 1 in another order.
        let weight = diagonal([2.0, 4.0, 1.0, 3.0]);
        let nearest = diagonal([0.0, 4.0, 0.0, 3.0]);
        let Factors { b, a } = principal(weight.clone(), 2, 1.0);
        assert!(largest(&(&b * &a - &nearest)) <= 1e-12);
        assert!((b.column(0).norm() - 2.0).abs() <= 1e-12 && (a.row(0).norm() - 2.0).abs() <= 1e-12);
        let Factors { b, a } = principal_by_iteration(&weight, 2, 1.0, 40, &Stream::new(1, 2, 3));
        // Forty iterations leave (2 / 3)^80 of the rest.
        assert!(largest(&(b * a - nearest)) <= 1e-10);
    }

    #[test]
    fn the_leading_part_is_that_of_the_whole_decomposition() {
        let weight = matrix(6, 9);
        let Factors { b, a } = leading(&weight, 3);
        let whole = QR::new(weight.clone());
        let (q, r) = (whole.q(), whole.r());
        let expected = q.columns(0, 3) * r.rows(0, 3);
        assert!(largest(&(&b * &a - expected)) <= 1e-12);
        assert!(largest(&(b.tr_mul(&b) - DMatrix::identity(3, 3))) <= 1e-12);
    }

    #[test]
    fn orthogonal_halves_cancel() {
        let streams = [0, 1, 2].map(|i| Stream::new(7, 0, i));
        let Factors { b, a } = orthogonal(5, 4, 6, &streams);
        assert_eq!((b.shape(), a.shape()), ((4, 6), (6, 5)));
        assert!(largest(&(&b * &a)) <= 1e-14 && largest(&b) > 0.01 && largest(&a) > 0.01);
    }
}
