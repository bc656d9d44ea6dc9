//! Where the sequences of a packed batch lie.

use prefix_attention::{AttentionShape, AttentionSpec};

use crate::{Result, TensorError};

/// Starts of the sequences followed by the number of tokens, for queries and for keys. They differ where keys of earlier
/// tokens are cached: then the last queries and keys of a sequence belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    cu_seqlens_q: Vec<u32>,
    cu_seqlens_kv: Vec<u32>,
}

impl Sequences {
    /// Sequences whose keys are those of their own tokens.
    ///
    /// # Errors
    /// [`TensorError::Kernel`] if the starts do not rise from 0.
    pub fn packed(cu_seqlens: &[u32]) -> Result<Self> {
        Self::cached(cu_seqlens, cu_seqlens)
    }

    /// Sequences with keys of earlier tokens before those of their own.
    ///
    /// # Errors
    /// As [`Sequences::packed`], and if there are not as many sequences of keys as of queries.
    pub fn cached(cu_seqlens_q: &[u32], cu_seqlens_kv: &[u32]) -> Result<Self> {
        let smallest = AttentionSpec {
            num_heads: 1,
            num_kv_heads: 1,
            head_dim: 1,
            softmax_scale: 1.0,
            causal: true,
            window: None,
            softcap: None,
        };
        AttentionShape::new(smallest, cu_seqlens_q, cu_seqlens_kv, 0).map_err(TensorError::kernel("sequences"))?;
        Ok(Self { cu_seqlens_q: cu_seqlens_q.to_vec(), cu_seqlens_kv: cu_seqlens_kv.to_vec() })
    }

    /// The same sequences, each with `rows` keys more before the others.
    ///
    /// # Errors
    /// None for fewer than 2^32 keys.
    pub fn with_leading_keys(&self, rows: usize) -> Result<Self> {
        let starts = (0u32..).zip(&self.cu_seqlens_kv).map(|(index, start)| start + index * rows as u32);
        Self::cached(&self.cu_seqlens_q, &starts.collect::<Vec<u32>>())
    }

    /// Starts among the queries.
    pub fn cu_seqlens_q(&self) -> &[u32] {
        &self.cu_seqlens_q
    }

    /// Starts among the keys.
    pub fn cu_seqlens_kv(&self) -> &[u32] {
        &self.cu_seqlens_kv
    }

    /// Number of sequences.
    pub fn len(&self) -> usize {
        self.cu_seqlens_q.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_checked() {
        let sequences = Sequences::cached(&[0, 1, 1], &[0, 5, 9]).unwrap();
        assert_eq!((sequences.len(), sequences.is_empty()), (2, false));
        let longer = sequences.with_leading_keys(3).unwrap();
        assert_eq!((longer.cu_seqlens_q(), longer.cu_seqlens_kv()), (&[0, 1, 1][..], &[0, 8, 15][..]));
        assert!(Sequences::packed(&[]).unwrap().is_empty());
        assert!(Sequences::packed(&[1, 2]).is_err());
        assert!(Sequences::packed(&[0, 3, 2]).is_err());
        assert!(Sequences::cached(&[0, 1], &[0, 1, 2]).is_err());
    }
}
