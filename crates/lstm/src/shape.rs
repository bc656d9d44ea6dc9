//! Sizes and direction of one recurrence.

use std::ops::Range;

use crate::LstmError;

/// Sizes and direction of one recurrence, checked once; everything below trusts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LstmShape {
    num_steps: usize,
    hidden_size: usize,
    reverse: bool,
}

impl LstmShape {
    /// A sequence of `num_steps` steps with states of `hidden_size` elements, read from its last step if `reverse`.
    ///
    /// # Errors
    /// [`LstmError::TooLarge`] if a matrix of these sizes cannot be addressed.
    pub fn new(num_steps: usize, hidden_size: usize, reverse: bool) -> Result<Self, LstmError> {
        let largest = hidden_size.checked_mul(4).and_then(|gates| gates.checked_mul(num_steps.max(hidden_size)));
        match largest {
            Some(elements) if elements <= isize::MAX as usize / size_of::<f32>() => {
                Ok(Self { num_steps, hidden_size, reverse })
            }
            _ => Err(LstmError::TooLarge { num_steps, hidden_size }),
        }
    }

    /// Elements of a state.
    pub(crate) fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    /// `[num_steps, 4 * hidden_size]`.
    pub(crate) fn gates(&self) -> [usize; 2] {
        [self.num_steps, 4 * self.hidden_size]
    }

    /// `[num_steps, hidden_size]`.
    pub(crate) fn states(&self) -> [usize; 2] {
        [self.num_steps, self.hidden_size]
    }

    /// `[4 * hidden_size, hidden_size]`.
    pub(crate) fn weight_hh(&self) -> [usize; 2] {
        [4 * self.hidden_size, self.hidden_size]
    }

    /// The steps in the order in which they are read, each with the one before it.
    pub(crate) fn steps(&self) -> impl DoubleEndedIterator<Item = (usize, Option<usize>)> {
        let Self { num_steps, reverse, .. } = *self;
        (0..num_steps).map(move |n| {
            let place = |n: usize| if reverse { num_steps - 1 - n } else { n };
            (place(n), n.checked_sub(1).map(place))
        })
    }

    /// The steps that have one before them, and those: two ranges of equal length, row by row.
    pub(crate) fn followers(&self) -> (Range<usize>, Range<usize>) {
        let (first, rest) = (0..self.num_steps.saturating_sub(1), 1.min(self.num_steps)..self.num_steps);
        if self.reverse { (first, rest) } else { (rest, first) }
    }
}

/// The elements of row `row`.
pub(crate) fn row(row: usize, len: usize) -> Range<usize> {
    row * len..(row + 1) * len
}

/// Checks that `got` elements fill `shape`.
pub(crate) fn check(argument: &'static str, shape: [usize; 2], got: usize) -> Result<(), LstmError> {
    if got == shape[0] * shape[1] { Ok(()) } else { Err(LstmError::Length { argument, shape, got }) }
}
