//! Token embedding.
//!
//! ```text
//! y[i]           = scale * table[ids[i]]
//! dtable[ids[i]] += scale * dy[i]
//! ```
//!
//! `scale` is 1 for most families; Gemma's is `sqrt(hidden)`, rounded to the model's dtype by the caller. The row of a
//! padding token is looked up like any other and gets no gradient, as in torch's `Embedding(padding_idx)`.

use device::Elements;

use crate::error::check_len;
use crate::{Result, TransformerError, rows};

const OP: &str = "embedding";

/// Sizes and constants of an embedding.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of the table.
    pub vocab_size: usize,
    /// Elements of a row.
    pub hidden: usize,
    /// Factor of every element.
    pub scale: f32,
    /// The token whose row gets no gradient.
    pub padding_idx: Option<u32>,
}

impl Shape {
    fn check(&self, ids: &[u32], table_len: usize, values_len: usize) -> Result<()> {
        check_len(OP, "table", &[self.vocab_size, self.hidden], table_len)?;
        check_len(OP, "tokens", &[ids.len(), self.hidden], values_len)?;
        match ids.iter().position(|&id| id as usize >= self.vocab_size) {
            Some(index) => Err(TransformerError::TokenId { index, id: ids[index], rows: self.vocab_size }),
            None => Ok(()),
        }
    }
}

/// Writes the rows of `table` (`[vocab_size, hidden]`) that `ids` name to `y` (`[ids, hidden]`).
///
/// # Errors
/// [`TransformerError::TokenId`] for an id outside the table; [`TransformerError::Length`].
pub fn forward(shape: Shape, table: Elements<'_>, ids: &[u32], y: &mut [f32]) -> Result<()> {
    shape.check(ids, table.len(), y.len())?;
    rows::gather_scaled(shape.hidden, table, ids, shape.scale, y);
    Ok(())
}

/// Adds the gradient of the table to `dtable` (`[vocab_size, hidden]`), given that of `y`. The row of the padding token stays
/// as it was.
///
/// # Errors
/// As [`forward`].
pub fn backward(shape: Shape, dy: &[f32], ids: &[u32], dtable: &mut [f32]) -> Result<()> {
    shape.check(ids, dtable.len(), dy.len())?;
    let table = rows::Shape { rows: shape.vocab_size, width: shape.hidden };
    let padding = shape.padding_idx.filter(|id| ids.contains(id)).map(|id| id as usize * shape.hidden);
    let kept = padding.map(|start| (start, dtable[start..start + shape.hidden].to_vec()));
    rows::scatter_add_scaled(table, dy, ids, shape.scale, dtable);
    if let Some((start, row)) = kept {
        dtable[start..start + shape.hidden].copy_from_slice(&row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    const SHAPE: Shape = Shape { vocab_size: 3, hidden: 2, scale: 2.0, padding_idx: None };

    #[test]
    fn rows_in_any_dtype_are_scaled() {
        let table = [1.0f32, -2.0, 3.0, 4.0, 0.5, 0.25];
        let expected = [1.0, 0.5, 2.0, -4.0, 1.0, 0.5];
        let (brain, half) = (table.map(bf16::from_f32), table.map(f16::from_f32));
        for table in [Elements::F32(&table), Elements::BF16(&brain), Elements::F16(&half)] {
            let mut y = [f32::NAN; 6];
            forward(SHAPE, table, &[2, 0, 2], &mut y).unwrap();
            assert_eq!(y, expected);
        }
    }

    #[test]
    fn a_repeated_token_gets_every_gradient() {
        let mut dtable = [1.0; 6];
        backward(SHAPE, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 0, 2], &mut dtable).unwrap();
        assert_eq!(dtable, [7.0, 9.0, 1.0, 1.0, 13.0, 17.0]);
    }

    #[test]
    fn the_padding_row_gets_none() {
        for (padding_idx, expected) in [(2, [4.0, 5.0, 1.0, 1.0, 1.0, 1.0]), (1, [4.0, 5.0, 1.0, 1.0, 7.0, 9.0])] {
            let mut dtable = [1.0; 6];
            let shape = Shape { scale: 1.0, padding_idx: Some(padding_idx), ..SHAPE };
            backward(shape, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 0, 2], &mut dtable).unwrap();
            assert_eq!(dtable, expected);
        }
    }

    #[test]
    fn an_id_outside_the_vocabulary_is_named() {
        let error = forward(SHAPE, Elements::F32(&[0.0; 6]), &[1, 3], &mut [0.0; 4]).unwrap_err();
        assert!(matches!(error, TransformerError::TokenId { index: 1, id: 3, rows: 3 }));
        assert!(error.to_string().contains("token 1 has id 3"), "{error}");
    }
}
