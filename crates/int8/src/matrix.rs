//! A quantized weight.

use crate::error::check;
use crate::{Int8Error, MAX_DEPTH};

/// A borrowed matrix of codes `[rows, cols]` with a scale for each row: a weight `[out_features, in_features]`.
#[derive(Clone, Copy, Debug)]
pub struct Int8Matrix<'a> {
    codes: &'a [i8],
    scales: &'a [f32],
    cols: usize,
}

impl<'a> Int8Matrix<'a> {
    /// The matrix of these codes, row by row, and scales.
    ///
    /// # Errors
    /// [`Int8Error::Length`] for codes of another length; [`Int8Error::Depth`] for more than [`MAX_DEPTH`] rows or columns.
    pub fn new(codes: &'a [i8], scales: &'a [f32], cols: usize) -> Result<Self, Int8Error> {
        check("codes", [scales.len(), cols], codes.len())?;
        match scales.len().max(cols) {
            depth if depth > MAX_DEPTH => Err(Int8Error::Depth { depth }),
            _ => Ok(Self { codes, scales, cols }),
        }
    }

    /// Codes, row by row.
    pub fn codes(&self) -> &'a [i8] {
        self.codes
    }

    /// What the codes of each row are multiples of.
    pub fn scales(&self) -> &'a [f32] {
        self.scales
    }

    /// Output channels.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Input channels.
    pub fn cols(&self) -> usize {
        self.cols
    }
}
