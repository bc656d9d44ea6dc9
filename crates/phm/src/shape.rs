//! Sizes of one weight.

use crate::PhmError;

/// Sizes of one weight, checked once; everything below trusts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhmShape {
    pub(crate) n: usize,
    pub(crate) p: usize,
    pub(crate) q: usize,
    pub(crate) rank: usize,
}

impl PhmShape {
    /// `n` products of a rule and of `[p, rank] [rank, q]` matrices: a weight `[n q, n p]`.
    ///
    /// # Errors
    /// [`PhmError::Sizes`] if one is 0 or they are too large to be addressed.
    pub fn new(n: usize, p: usize, q: usize, rank: usize) -> Result<Self, PhmError> {
        let fits = |sizes: &[usize]| {
            let elements = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
            elements.is_some_and(|elements| elements <= isize::MAX as usize / size_of::<f32>())
        };
        let indexed = [n, p, q, rank].iter().all(|&size| size > 0 && u32::try_from(size).is_ok());
        if indexed && fits(&[n, q, n, p]) && fits(&[n, n, n]) && fits(&[n, p.max(q), rank]) {
            Ok(Self { n, p, q, rank })
        } else {
            Err(PhmError::Sizes { n, p, q, rank })
        }
    }

    /// Elements of the rule.
    pub(crate) fn rule(&self) -> usize {
        self.n * self.n * self.n
    }

    /// Elements of the left factors.
    pub(crate) fn left(&self) -> usize {
        self.n * self.p * self.rank
    }

    /// Elements of the right factors.
    pub(crate) fn right(&self) -> usize {
        self.n * self.rank * self.q
    }

    /// Elements of the products of the factors.
    pub(crate) fn products(&self) -> usize {
        self.n * self.q * self.p
    }

    /// Elements of the weight.
    pub(crate) fn weight(&self) -> usize {
        self.n * self.q * self.n * self.p
    }
}

/// Checks that `got` elements are those expected.
pub(crate) fn check(argument: &'static str, expected: usize, got: usize) -> Result<(), PhmError> {
    if got == expected { Ok(()) } else { Err(PhmError::Length { argument, expected, got }) }
}
