//! Sizes of one projection.

use device::Elements;
use gemm::{Matrix, MatrixMut};

use crate::LoraError;

/// Sizes of one projection, checked once; everything below trusts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoraShape {
    num_tokens: usize,
    in_features: usize,
    out_features: usize,
    rank: usize,
}

impl LoraShape {
    /// Sizes of a projection of `num_tokens` rows. Sizes of zero other than the rank are allowed.
    ///
    /// # Errors
    /// [`LoraError::RankZero`]; [`LoraError::TooLarge`] if a matrix of these sizes cannot be addressed.
    pub fn new(num_tokens: usize, in_features: usize, out_features: usize, rank: usize) -> Result<Self, LoraError> {
        if rank == 0 {
            return Err(LoraError::RankZero);
        }
        let features = in_features.max(out_features);
        let largest = num_tokens.max(rank).max(in_features.min(out_features)).checked_mul(features.max(rank));
        if largest.is_none_or(|elements| elements > isize::MAX as usize / size_of::<f32>()) {
            return Err(LoraError::TooLarge { num_tokens, in_features, out_features, rank });
        }
        Ok(Self { num_tokens, in_features, out_features, rank })
    }

    /// Rows of `x` and `y`.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// Columns of `x`, `W` and `A`.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Columns of `y`, rows of `W` and `B`.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Rows of `A`, columns of `B`.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// `[num_tokens, in_features]`.
    pub(crate) fn x(&self) -> [usize; 2] {
        [self.num_tokens, self.in_features]
    }

    /// `[num_tokens, out_features]`.
    pub(crate) fn y(&self) -> [usize; 2] {
        [self.num_tokens, self.out_features]
    }

    /// `[num_tokens, rank]`.
    pub(crate) fn s(&self) -> [usize; 2] {
        [self.num_tokens, self.rank]
    }

    /// `[rank, in_features]`.
    pub(crate) fn a(&self) -> [usize; 2] {
        [self.rank, self.in_features]
    }

    /// `[out_features, rank]`.
    pub(crate) fn b(&self) -> [usize; 2] {
        [self.out_features, self.rank]
    }

    /// `[1, out_features]`.
    pub(crate) fn bias(&self) -> [usize; 2] {
        [1, self.out_features]
    }

    pub(crate) fn check_weight(&self, weight: &Matrix<'_>) -> Result<(), LoraError> {
        let (expected, got) = ([self.out_features, self.in_features], [weight.rows(), weight.cols()]);
        if expected == got { Ok(()) } else { Err(LoraError::WeightShape { expected, got }) }
    }
}

/// Checks that `got` elements fill `shape`.
pub(crate) fn check(argument: &'static str, shape: [usize; 2], got: usize) -> Result<(), LoraError> {
    // Saturated, the product is no slice's length.
    if got == shape[0].saturating_mul(shape[1]) { Ok(()) } else { Err(LoraError::Length { argument, shape, got }) }
}

/// [`check`] of an argument that may be left out.
pub(crate) fn check_optional(argument: &'static str, shape: [usize; 2], got: Option<usize>) -> Result<(), LoraError> {
    got.map_or(Ok(()), |got| check(argument, shape, got))
}

/// A row-major operand.
pub(crate) fn matrix<'a>(elements: impl Into<Elements<'a>>, [rows, cols]: [usize; 2]) -> Matrix<'a> {
    Matrix::new(elements, rows, cols)
}

/// A row-major result.
pub(crate) fn matrix_mut(elements: &mut [f32], [rows, cols]: [usize; 2]) -> MatrixMut<'_> {
    MatrixMut::new(elements, rows, cols)
}
