//! The bias by difference of positions, laid out so that the rows of a tile read consecutive elements.
//!
//! Row `r` of a sequence is query `r / group` of head `r % group`. With `x` the query's position minus the key's, the bias
//! of head `h` of the group lies at element `x * group + h`, counted from `x = -q_len`: for one key, consecutive rows are
//! consecutive elements, and the next key begins `group` elements earlier.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use device::simd::{Isa, Kernel};
use device::{Buffer, DType, Device};

use super::{RelativeBias, RelativeBuckets};
use crate::blocks::{KeyBlock, Source};
use crate::isa::MAX_LANES;
use crate::spec::Sequence;
use crate::tile::Tile;
use crate::visible::Part;
use crate::{AttentionError, AttentionShape};

/// The differences of positions of some queries and their keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Differences {
    buckets: RelativeBuckets,
    group: usize,
    prefix_len: usize,
    /// Queries that may stand before the first key.
    behind: usize,
    /// Positions ahead of a key.
    ahead: usize,
}

impl Differences {
    /// Those of all sequences of a batch.
    pub(crate) fn of_batch(shape: &AttentionShape<'_>, buckets: RelativeBuckets) -> Self {
        let prefix_len = shape.prefix_len();
        let sequences = (0..shape.num_sequences()).map(|i| shape.sequence(i));
        let (q_len, kv_len) = sequences.fold((0, 0), |(q, kv), s| (s.q_len.max(q), s.kv_len.max(kv)));
        Self { buckets, group: shape.group(), prefix_len, behind: q_len, ahead: kv_len + prefix_len }
    }

    /// Those of one sequence of the batch.
    pub(crate) fn of_sequence(&self, sequence: &Sequence) -> Self {
        Self { behind: sequence.q_len, ahead: sequence.kv_len + self.prefix_len, ..*self }
    }

    /// Queries that may stand before the first key.
    pub(crate) fn behind(&self) -> usize {
        self.behind
    }

    /// Elements of one key/value head. The rows of a tile are rounded up to whole registers, past the last query.
    pub(crate) fn len(&self) -> usize {
        (self.behind + self.ahead) * self.group + MAX_LANES
    }

    /// Which differences share a row of the table.
    pub(crate) fn buckets(&self) -> RelativeBuckets {
        self.buckets
    }

    /// The differences in each bucket, counted from `-behind`. They are consecutive: a bucket holds distances in one
    /// direction, in their order.
    pub(crate) fn bucket_ranges(&self) -> Vec<Range<usize>> {
        let mut ranges = vec![0..0; self.buckets.num_buckets()];
        for i in 0..self.behind + self.ahead {
            let range = &mut ranges[self.buckets.bucket(self.behind as i64 - i as i64)];
            *range = if range.end == 0 { i..i + 1 } else { range.start..i + 1 };
        }
        ranges
    }

    /// The bucket, and the head within the group, of each element.
    pub(crate) fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let Self { buckets, group, behind, .. } = *self;
        (0..self.len().div_ceil(group))
            .map(move |i| buckets.bucket(behind as i64 - i as i64))
            .flat_map(move |bucket| (0..group).map(move |head| (bucket, head)))
            .take(self.len())
    }

    /// The element of the tile's first row and the block's last key.
    pub(crate) fn start(&self, tile: &Tile, block: &KeyBlock<'_>) -> usize {
        let Sequence { q_len, kv_len, .. } = tile.sequence;
        let skipped = if block.source == Source::Prefix { self.prefix_len } else { 0 };
        // Never negative: `behind` is at least `q_len`, and the last key is one of `kv_len` or of the prefix.
        (self.behind + kv_len + skipped - q_len - (block.keys.end - 1)) * self.group + tile.first_row
    }
}

/// The bias of every difference of a batch.
pub(crate) struct Expanded {
    differences: Differences,
    /// In units of `ln 2`, `[num_kv_heads, differences.len()]`.
    values: Buffer,
}

impl Expanded {
    pub(crate) fn new(shape: &AttentionShape<'_>, bias: &RelativeBias<'_>) -> Result<Self, AttentionError> {
        let (differences, num_heads) = (Differences::of_batch(shape, bias.buckets), shape.spec().num_heads);
        let (len, group) = (differences.len(), differences.group);
        let mut values = Buffer::scratch(Device::Cpu, DType::F32, shape.spec().num_kv_heads * len)?;
        for (kv_head, values) in values.f32_mut()?.chunks_exact_mut(len).enumerate() {
            for (value, (bucket, head)) in values.iter_mut().zip(differences.places()) {
                *value = LOG2_E * bias.table[bucket * num_heads + kv_head * group + head];
            }
        }
        Ok(Self { differences, values })
    }

    pub(crate) fn view(&self) -> Result<Bias<'_>, AttentionError> {
        Ok(Bias { differences: self.differences, values: self.values.f32()? })
    }
}

/// [`Expanded`], to read.
#[derive(Clone, Copy)]
pub(crate) struct Bias<'a> {
    pub(crate) differences: Differences,
    values: &'a [f32],
}

impl<'a> Bias<'a> {
    /// The elements from those of the tile's first row and the block's last key on.
    pub(crate) fn of(&self, tile: &Tile, block: &KeyBlock<'_>) -> &'a [f32] {
        &self.values[tile.kv_head * self.differences.len() + self.differences.start(tile, block)..]
    }

    /// From one key's elements to those of the key before it.
    pub(crate) fn key_step(&self) -> usize {
        self.differences.group
    }
}

/// Adds the bias to scores `[keys, width]`.
pub(crate) struct AddBias<'a> {
    pub(crate) scores: &'a mut [f32],
    pub(crate) width: usize,
    /// [`Bias::key_step`].
    pub(crate) key_step: usize,
    /// What [`Bias::of`] gives.
    pub(crate) bias: &'a [f32],
}

impl Kernel for AddBias<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (before_last, scores) in self.scores.chunks_exact_mut(self.width).rev().enumerate() {
            let bias = &self.bias[before_last * self.key_step..];
            scores.iter_mut().zip(bias).for_each(|(s, bias)| *s += bias);
        }
    }
}

/// Adds the gradients of scores `[keys, width]` of one part to the sums of the differences.
pub(crate) struct SumBias<'a> {
    pub(crate) grads: &'a [f32],
    pub(crate) width: usize,
    pub(crate) keys: usize,
    /// Queries that are no padding.
    pub(crate) rows: usize,
    pub(crate) part: Part,
    /// [`Bias::key_step`].
    pub(crate) key_step: usize,
    /// From [`Differences::start`] on.
    pub(crate) sums: &'a mut [f32],
}

impl Kernel for SumBias<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let queries = self.part.queries.start..self.part.queries.end.min(self.rows);
        for key in self.part.keys {
            let grads = &self.grads[key * self.width..][queries.clone()];
            let sums = &mut self.sums[(self.keys - 1 - key) * self.key_step + queries.start..];
            sums.iter_mut().zip(grads).for_each(|(sum, grad)| *sum += grad);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttentionSpec;

    #[test]
    fn the_differences_of_a_bucket_are_consecutive() {
        let spec = AttentionSpec {
            num_heads: 6,
            num_kv_heads: 2,
            head_dim: 8,
            softmax_scale: 1.0,
            causal: false,
            window: None,
            softcap: None,
        };
        for (buckets, bidirectional) in [(8, true), (32, true), (8, false), (2, false)] {
            let buckets = RelativeBuckets::new(buckets, 40, bidirectional).unwrap();
            let shape = AttentionShape::new(spec, &[0, 70], &[0, 90], 5).unwrap();
            let differences = Differences::of_batch(&shape, buckets);
            let places: Vec<(usize, usize)> = differences.places().collect();
            let mut covered = 0;
            for (bucket, range) in differences.bucket_ranges().into_iter().enumerate() {
                covered += range.len();
                assert!(range.flat_map(|x| 3 * x..3 * x + 3).all(|element| places[element].0 == bucket));
            }
            assert_eq!(covered, 70 + 90 + 5);
        }
    }
}
