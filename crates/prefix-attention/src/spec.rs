//! Sizes, mask and scaling of one attention, checked once; everything below trusts them.

use crate::AttentionError;

/// What a model fixes about its attention.
///
/// `s = softmax_scale * q . k`, with `softcap` then `s = softcap * tanh(s / softcap)` (Gemma 2), then masked.
/// Sequences are aligned at their last tokens: query `i` of `q_len` stands at position `p = i + kv_len - q_len` among the
/// keys of its own sequence. Prefix keys are visible to every query.
///
/// | `causal` | `window` | visible keys `j` |
/// |---|---|---|
/// | false | `None` | all |
/// | true | `None` | `j <= p` |
/// | true | `Some(w)` | `p - w < j <= p`, as Hugging Face's `sliding_window` |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; each serves `num_heads / num_kv_heads` consecutive query heads.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Factor of the scores, usually `head_dim^-1/2`.
    pub softmax_scale: f32,
    /// Whether a query sees only keys up to its own position.
    pub causal: bool,
    /// Keys that a query sees, itself included; needs `causal`.
    pub window: Option<usize>,
    /// Bound of the scores.
    pub softcap: Option<f32>,
}

/// [`AttentionSpec`] with the sequences of one batch.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    spec: AttentionSpec,
    cu_seqlens_q: &'a [u32],
    cu_seqlens_kv: &'a [u32],
    prefix_len: usize,
}

/// Where one sequence lies in the packed arrays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    pub(crate) q_start: usize,
    pub(crate) q_len: usize,
    pub(crate) kv_start: usize,
    pub(crate) kv_len: usize,
}

impl<'a> AttentionShape<'a> {
    /// Checks the sizes. `cu_seqlens_*` are the starts of the packed sequences followed by the number of tokens; an empty
    /// slice stands for no sequence. They differ between queries and keys where keys are cached.
    ///
    /// # Errors
    /// [`AttentionError::Heads`], [`AttentionError::HeadDim`], [`AttentionError::Factor`], [`AttentionError::Window`],
    /// [`AttentionError::Starts`], [`AttentionError::StartsCount`], [`AttentionError::TooLarge`].
    pub fn new(
        spec: AttentionSpec,
        cu_seqlens_q: &'a [u32],
        cu_seqlens_kv: &'a [u32],
        prefix_len: usize,
    ) -> Result<Self, AttentionError> {
        let AttentionSpec { num_heads, num_kv_heads, head_dim, softmax_scale, causal, window, softcap } = spec;
        if num_kv_heads == 0 || num_heads == 0 || !num_heads.is_multiple_of(num_kv_heads) {
            return Err(AttentionError::Heads { num_heads, num_kv_heads });
        }
        if head_dim == 0 {
            return Err(AttentionError::HeadDim);
        }
        if !softmax_scale.is_finite() {
            return Err(AttentionError::Factor { argument: "softmax_scale", value: softmax_scale, positive: false });
        }
        if let Some(value) = softcap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
            return Err(AttentionError::Factor { argument: "softcap", value, positive: true });
        }
        if let Some(window) = window.filter(|&w| w == 0 || !causal) {
            return Err(AttentionError::Window { window });
        }
        if cu_seqlens_q.len() != cu_seqlens_kv.len() {
            return Err(AttentionError::StartsCount { q: cu_seqlens_q.len(), kv: cu_seqlens_kv.len() });
        }
        check_starts("cu_seqlens_q", cu_seqlens_q)?;
        check_starts("cu_seqlens_kv", cu_seqlens_kv)?;
        let shape = Self { spec, cu_seqlens_q, cu_seqlens_kv, prefix_len };
        let num_tokens = shape.num_q_tokens().max(shape.num_kv_tokens()).max(prefix_len);
        // The working set is a few rows of this many elements for each token; 2^8 of them still have to fit.
        match num_heads.checked_mul(head_dim.next_multiple_of(16)).and_then(|row| row.checked_mul(num_tokens)) {
            Some(count) if count <= isize::MAX as usize >> 8 => Ok(shape),
            _ => Err(AttentionError::TooLarge { num_tokens, row_len: num_heads.saturating_mul(head_dim) }),
        }
    }

    /// What the model fixes.
    pub fn spec(&self) -> &AttentionSpec {
        &self.spec
    }

    /// Query tokens of all sequences.
    pub fn num_q_tokens(&self) -> usize {
        self.cu_seqlens_q.last().map_or(0, |&n| n as usize)
    }

    /// Key and value tokens of all sequences, without the prefix.
    pub fn num_kv_tokens(&self) -> usize {
        self.cu_seqlens_kv.last().map_or(0, |&n| n as usize)
    }

    /// Prefix keys and values.
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// Number of sequences.
    pub fn num_sequences(&self) -> usize {
        self.cu_seqlens_q.len().saturating_sub(1)
    }

    /// Query heads that share a key/value head.
    pub(crate) fn group(&self) -> usize {
        self.spec.num_heads / self.spec.num_kv_heads
    }

    pub(crate) fn sequence(&self, index: usize) -> Sequence {
        let bounds = |starts: &[u32]| (starts[index] as usize, (starts[index + 1] - starts[index]) as usize);
        let ((q_start, q_len), (kv_start, kv_len)) = (bounds(self.cu_seqlens_q), bounds(self.cu_seqlens_kv));
        Sequence { q_start, q_len, kv_start, kv_len }
    }
}

fn check_starts(argument: &'static str, starts: &[u32]) -> Result<(), AttentionError> {
    if let Some(&got) = starts.first().filter(|&&start| start != 0) {
        return Err(AttentionError::Starts { argument, index: 0, expected: "0".to_owned(), got });
    }
    match starts.windows(2).position(|pair| pair[1] < pair[0]) {
        None => Ok(()),
        Some(i) => {
            let (expected, got) = (format!("at least {}, the start before it", starts[i]), starts[i + 1]);
            Err(AttentionError::Starts { argument, index: i + 1, expected, got })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: AttentionSpec = AttentionSpec {
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
        softmax_scale: 1.0,
        causal: true,
        window: None,
        softcap: None,
    };

    #[test]
    fn wrong_sizes_are_refused_with_their_values() {
        let refused = |spec, q: &[u32], kv: &[u32]| AttentionShape::new(spec, q, kv, 0).unwrap_err();
        let one = [0, 3];
        let heads = refused(AttentionSpec { num_kv_heads: 3, ..SPEC }, &one, &one);
        assert!(matches!(heads, AttentionError::Heads { num_heads: 4, num_kv_heads: 3 }));
        assert!(matches!(refused(AttentionSpec { num_kv_heads: 0, ..SPEC }, &one, &one), AttentionError::Heads { .. }));
        assert!(matches!(refused(AttentionSpec { head_dim: 0, ..SPEC }, &one, &one), AttentionError::HeadDim));
        let scale = refused(AttentionSpec { softmax_scale: f32::NAN, ..SPEC }, &one, &one);
        assert!(matches!(scale, AttentionError::Factor { argument: "softmax_scale", .. }));
        let cap = refused(AttentionSpec { softcap: Some(0.0), ..SPEC }, &one, &one);
        assert_eq!(cap.to_string(), "attention: softcap is 0, expected a finite number above 0");
        let both_ways = refused(AttentionSpec { causal: false, window: Some(4), ..SPEC }, &one, &one);
        assert!(matches!(both_ways, AttentionError::Window { window: 4 }));
        assert!(matches!(refused(SPEC, &one, &[0, 1, 3]), AttentionError::StartsCount { q: 2, kv: 3 }));
        let descending = refused(SPEC, &[0, 3, 2], &[0, 1, 3]);
        assert_eq!(descending.to_string(), "attention: cu_seqlens_q[2] is 2, expected at least 3, the start before it");
        assert!(matches!(refused(SPEC, &one, &[1, 3]), AttentionError::Starts { index: 0, got: 1, .. }));
        let huge = refused(AttentionSpec { num_heads: 1 << 40, num_kv_heads: 1, ..SPEC }, &[0, 1 << 30], &[0, 1]);
        assert!(matches!(huge, AttentionError::TooLarge { .. }));
    }
}
