//! Cosines and sines of rotary embedding.

use std::sync::{Mutex, PoisonError};

use device::launch::Executor;

use crate::launch::rope::Tables;
use crate::{Result, TransformerError, error::check_len};

/// `cos` and `sin` of `position * inv_freq[j]`, times the attention factor of the rope scaling in use.
///
/// Immutable, made once for a model and shared by its layers.
#[derive(Debug)]
pub struct RopeTable {
    cos: Vec<f32>,
    sin: Vec<f32>,
    rotary_dim: usize,
    /// The copy that was made last.
    copied: Mutex<Option<Tables>>,
}

impl RopeTable {
    /// Tables of `[max_positions, rotary_dim / 2]` each.
    ///
    /// # Errors
    /// [`TransformerError::RotaryDim`] if `rotary_dim` is odd or 0; [`TransformerError::Length`] if the tables are not of
    /// the same whole number of rows.
    pub fn new(cos: Vec<f32>, sin: Vec<f32>, rotary_dim: usize) -> Result<Self> {
        if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) {
            return Err(TransformerError::RotaryDim { rotary_dim, head_dim: rotary_dim });
        }
        check_len("rope", "cos", &[cos.len() / (rotary_dim / 2), rotary_dim / 2], cos.len())?;
        check_len("rope", "sin", &[cos.len()], sin.len())?;
        Ok(Self { cos, sin, rotary_dim, copied: Mutex::default() })
    }

    /// Tables for positions below `max_positions` from inverse frequencies (one for each pair of channels), scaled by
    /// `attention_factor`. The angle is rounded to f32 before its cosine is taken, as in Hugging Face's models.
    ///
    /// # Errors
    /// [`TransformerError::RotaryDim`] without frequencies.
    pub fn from_frequencies(inv_freq: &[f32], attention_factor: f32, max_positions: usize) -> Result<Self> {
        let angles = || (0..max_positions).flat_map(|p| inv_freq.iter().map(move |f| f64::from(p as f32 * f)));
        let scaled = |value: f64| value as f32 * attention_factor;
        let cos = angles().map(|angle| scaled(angle.cos())).collect();
        let sin = angles().map(|angle| scaled(angle.sin())).collect();
        Self::new(cos, sin, 2 * inv_freq.len())
    }

    /// Channels of a head that rotate; the others pass through.
    pub fn rotary_dim(&self) -> usize {
        self.rotary_dim
    }

    /// Positions that the tables reach.
    pub fn max_positions(&self) -> usize {
        self.cos.len() / (self.rotary_dim / 2)
    }

    /// The tables on a device, copied there once.
    ///
    /// # Errors
    /// [`TransformerError::Device`] if the memory cannot be had.
    pub fn on_device(&self, executor: &Executor) -> Result<Tables> {
        let mut copied = self.copied.lock().unwrap_or_else(PoisonError::into_inner);
        match copied.as_ref().filter(|tables| tables.executor().is(executor)) {
            Some(tables) => Ok(tables.clone()),
            None => Ok(copied.insert(Tables::new(executor, self)?).clone()),
        }
    }

    /// All cosines and all sines.
    pub(crate) fn values(&self) -> (&[f32], &[f32]) {
        (&self.cos, &self.sin)
    }

    /// The cosines and sines of `position`, which must be below [`RopeTable::max_positions`].
    #[inline(always)]
    pub(crate) fn row(&self, position: u32) -> (&[f32], &[f32]) {
        let half = self.rotary_dim / 2;
        let start = position as usize * half;
        (&self.cos[start..start + half], &self.sin[start..start + half])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_are_position_times_frequency() {
        let table = RopeTable::from_frequencies(&[1.0, 0.01], 2.0, 3).unwrap();
        assert_eq!((table.rotary_dim(), table.max_positions()), (4, 3));
        let (cos, sin) = table.row(2);
        assert_eq!(cos, [2.0 * 2.0f64.cos() as f32, 2.0 * f64::from(2.0f32 * 0.01).cos() as f32]);
        assert_eq!(sin, [2.0 * 2.0f64.sin() as f32, 2.0 * f64::from(2.0f32 * 0.01).sin() as f32]);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        assert!(matches!(RopeTable::new(vec![1.0; 4], vec![0.0; 4], 3), Err(TransformerError::RotaryDim { .. })));
        assert!(matches!(RopeTable::from_frequencies(&[], 1.0, 4), Err(TransformerError::RotaryDim { .. })));
        assert!(matches!(RopeTable::new(vec![1.0; 5], vec![0.0; 5], 4), Err(TransformerError::Length { .. })));
        assert!(matches!(RopeTable::new(vec![1.0; 4], vec![0.0; 2], 4), Err(TransformerError::Length { .. })));
    }
}
