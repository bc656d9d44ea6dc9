//! Sizes of a tensor, held inline: making one allocates nothing.

/// Up to four sizes, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    sizes: [usize; Shape::MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The largest number of sizes.
    pub const MAX_RANK: usize = 4;

    /// The sizes.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes[..self.rank]
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.sizes().iter().product()
    }
}

impl From<&[usize]> for Shape {
    /// # Panics
    /// With more than [`Shape::MAX_RANK`] sizes: shapes are written in the program, never read from a file.
    fn from(sizes: &[usize]) -> Self {
        assert!(sizes.len() <= Self::MAX_RANK, "a tensor has at most {} sizes, not {sizes:?}", Self::MAX_RANK);
        let mut shape = Shape { sizes: [1; Self::MAX_RANK], rank: sizes.len() };
        shape.sizes[..sizes.len()].copy_from_slice(sizes);
        shape
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Self::from(&sizes[..])
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.sizes())
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}
