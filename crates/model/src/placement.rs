//! Which rows the blocks compute, and where they stand: the tokens, and before each sequence the rows of a prompt.

use std::sync::Arc;

use tensor::{Result, Sequences};

use crate::Input;

/// The rows of a pass.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) sequences: Arc<Sequences>,
    /// Of each row.
    pub(crate) positions: Arc<[u32]>,
}

impl Placement {
    /// The tokens of `input`, each `offset` positions further on, with `prompt_len` rows before every sequence that stand at
    /// the last positions before `offset`.
    pub(crate) fn new(input: &Input, prompt_len: usize, offset: u32) -> Result<Self> {
        if prompt_len == 0 {
            let positions = match offset {
                0 => Arc::clone(&input.positions),
                _ => input.positions.iter().map(|p| p + offset).collect(),
            };
            return Ok(Self { sequences: Arc::clone(&input.sequences), positions });
        }
        let starts = input.sequences.cu_seqlens_q();
        let cu_seqlens: Vec<u32> =
            (0u32..).zip(starts).map(|(index, start)| start + index * prompt_len as u32).collect();
        let mut positions = Vec::with_capacity(cu_seqlens.last().map_or(0, |&rows| rows as usize));
        for ends in starts.windows(2) {
            positions.extend(offset - prompt_len as u32..offset);
            positions.extend(input.positions[ends[0] as usize..ends[1] as usize].iter().map(|p| p + offset));
        }
        Ok(Self { sequences: Arc::new(Sequences::packed(&cu_seqlens)?), positions: positions.into() })
    }

    /// `sequences` sequences of `rows` rows each, at positions from 0.
    pub(crate) fn of_equal(sequences: usize, rows: usize) -> Result<Self> {
        let starts: Vec<u32> = (0..=sequences).map(|index| (index * rows) as u32).collect();
        let positions = (0..sequences).flat_map(|_| 0..rows as u32).collect();
        Ok(Self { sequences: Arc::new(Sequences::packed(&starts)?), positions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_stands_before_every_sequence() {
        let input = Input::from_sequences(&[&[7, 8], &[9]]).unwrap();
        let plain = Placement::new(&input, 0, 3).unwrap();
        assert_eq!((plain.sequences.cu_seqlens_q(), &plain.positions[..]), (&[0, 2, 3][..], &[3, 4, 3][..]));
        let prompted = Placement::new(&input, 2, 2).unwrap();
        assert_eq!(prompted.sequences.cu_seqlens_q(), [0, 4, 7]);
        assert_eq!(prompted.positions[..], [0, 1, 2, 3, 0, 1, 2]);
    }
}
