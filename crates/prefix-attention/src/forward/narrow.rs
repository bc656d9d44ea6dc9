//! Sequences with few queries, as in generation: bound by reading the keys and values, so each is read once, along its
//! elements, and a long sequence is cut into splits that are merged by their log-sum-exp.
//!
//! Source: Dao, Haziza, Massa, Sizov 2023, "Flash-Decoding for long-context inference".

use device::math::exp2;
use device::simd::{self, Isa, Kernel};
use device::{Buffer, DType, Device, parallel};

use super::{Results, score_factor};
use crate::blocks::{KeyBlock, Operands, Source, key_blocks};
use crate::dots::Dots;
use crate::isa::MAX_LANES;
use crate::product::{Product, Start};
use crate::relative_bias::Bias;
use crate::scores::Softcap;
use crate::spec::Sequence;
use crate::tile::{KEYS, Layout, Tile};

use crate::visible::Visible;
use crate::{AttentionError, AttentionShape};

/// Up to this many rows, reading a key for each of them is cheaper than idle lanes.
const ROWS: usize = 8;
/// Keys of a split: a fixed size, so that the result does not depend on the number of threads. A multiple of [`KEYS`].
const SPLIT: usize = 256;

/// Whether `sequence` has few enough queries, and heads that whole registers divide.
pub(super) fn suits(shape: &AttentionShape<'_>, sequence: &Sequence) -> bool {
    sequence.q_len * shape.group() <= ROWS && shape.spec().head_dim.is_multiple_of(MAX_LANES)
}

/// A part of the keys of one sequence and head.
struct Split {
    tile: Tile,
    /// Which of the sequence's splits.
    index: usize,
    /// Whether it takes the prefix too.
    first: bool,
}

pub(super) fn forward(
    layout: &Layout<'_>,
    operands: &Operands<'_>,
    sequences: &[Sequence],
    results: &Results<'_>,
) -> Result<(), AttentionError> {
    let splits = splits(layout.shape, sequences);
    let mut partials = Buffer::scratch(Device::Cpu, DType::F32, splits.len() * Partial::len(layout.shape))?;
    let partials = partials.f32_mut()?;
    if splits.is_empty() {
        return Ok(());
    }
    parallel::brief_rows_mut(partials, Partial::len(layout.shape), |i, memory| {
        Partial::carve(layout.shape, memory).attend(layout, operands, &splits[i]);
    });
    let same_rows = splits.chunk_by(|_, next| !next.first);
    let mut partials = partials.chunks_exact_mut(Partial::len(layout.shape));
    for group in same_rows {
        let parts: Vec<_> = partials.by_ref().take(group.len()).map(|m| Partial::carve(layout.shape, m)).collect();
        merge(layout.shape, &group[0].tile, parts, results);
    }
    Ok(())
}

/// Splits of every sequence and head, in order; at least one each, so that every row is written.
fn splits(shape: &AttentionShape<'_>, sequences: &[Sequence]) -> Vec<Split> {
    let mut splits = Vec::new();
    for &sequence in sequences.iter().filter(|sequence| sequence.q_len > 0) {
        for kv_head in 0..shape.spec().num_kv_heads {
            let tile = Tile { sequence, kv_head, first_row: 0, rows: sequence.q_len * shape.group() };
            let visible = tile.visible(shape);
            let first = visible.start / SPLIT;
            let end = visible.end.div_ceil(SPLIT).max(first + 1);
            splits.extend((first..end).map(|index| Split { tile, index, first: index == first }));
        }
    }
    splits
}

/// The running softmax of a split's rows.
struct Partial<'a> {
    /// `sum_j 2^(s_ij - max_i) v_j`, `[ROWS, head_dim]`.
    o: &'a mut [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
    /// Queries `[ROWS, head_dim]`.
    q: &'a mut [f32],
    /// `[ROWS, KEYS]`.
    scores: &'a mut [f32],
}

impl<'a> Partial<'a> {
    fn len(shape: &AttentionShape<'_>) -> usize {
        ROWS * (2 * shape.spec().head_dim + KEYS + 2)
    }

    fn carve(shape: &AttentionShape<'_>, mut memory: &'a mut [f32]) -> Self {
        let mut part = |len| crate::workspace::carve(&mut memory, ROWS * len);
        let dim = shape.spec().head_dim;
        Self { q: part(dim), o: part(dim), scores: part(KEYS), max: part(1), sum: part(1) }
    }

    fn attend(&mut self, layout: &Layout<'_>, operands: &Operands<'_>, split: &Split) {
        let (tile, dim) = (&split.tile, layout.shape.spec().head_dim);
        layout.gather(tile, operands.q, score_factor(layout.shape), &mut self.q[..tile.rows * dim]);
        self.o.fill(0.0);
        self.max.fill(f32::NEG_INFINITY);
        self.sum.fill(0.0);
        let mine = |block: &KeyBlock<'_>| match block.source {
            Source::Prefix => split.first,
            Source::Own => block.keys.start / SPLIT == split.index,
        };
        for block in key_blocks(layout.shape, operands, std::slice::from_ref(tile)).filter(mine) {
            if let Some(block) = block.visible_to(layout.shape, tile) {
                self.absorb(layout, operands.bias, tile, &block);
            }
        }
    }

    fn absorb(&mut self, layout: &Layout<'_>, bias: Option<Bias<'_>>, tile: &Tile, block: &KeyBlock<'_>) {
        let (isa, spec, keys) = (layout.isa, layout.shape.spec(), block.keys.len());
        let scores = &mut self.scores[..tile.rows * KEYS];
        isa.dots(
            Dots {
                rows: tile.rows,
                keys,
                dim: spec.head_dim,
                q: self.q,
                k: block.k,
                k_row: block.k_stride,
                out_row: KEYS,
            },
            scores,
        );
        if let Some(softcap) = spec.softcap {
            isa.run(Softcap { scores, softcap });
        }
        if let Some(bias) = bias {
            let (of_last, step) = (bias.of(tile, block), bias.key_step());
            for (r, scores) in scores.chunks_exact_mut(KEYS).enumerate() {
                let by_key = of_last[r..].iter().step_by(step);
                scores[..keys].iter_mut().rev().zip(by_key).for_each(|(s, bias)| *s += bias);
            }
        }
        let bounds = Visible::new(layout.shape, tile, block).bounds;
        for (r, scores) in scores.chunks_exact_mut(KEYS).enumerate() {
            scores[keys..].fill(f32::NEG_INFINITY);
            if let Some(bounds) = &bounds {
                scores[..bounds.first[r] as usize].fill(f32::NEG_INFINITY);
                scores[bounds.end[r] as usize..].fill(f32::NEG_INFINITY);
            }
            let scores = scores.try_into().expect("a row has KEYS scores");
            let rescale = isa.run(AbsorbRow { scores, max: &mut self.max[r], sum: &mut self.sum[r] });
            self.o[r * spec.head_dim..][..spec.head_dim].iter_mut().for_each(|o| *o *= rescale);
        }
        isa.product(Product {
            rows: tile.rows,
            depth: keys,
            cols: spec.head_dim,
            a: scores,
            a_row: KEYS,
            a_step: 1,
            b: block.v,
            b_row: block.v_stride,
            out: self.o,
            out_row: spec.head_dim,
            start: Start::Add,
        });
    }
}

/// Takes a row of scores into its running softmax, replaces them by `2^(s - max)` and returns the factor of what was
/// accumulated before.
struct AbsorbRow<'a> {
    scores: &'a mut [f32; KEYS],
    max: &'a mut f32,
    sum: &'a mut f32,
}

impl Kernel for AbsorbRow<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        const { assert!(KEYS == simd::LANES) };
        let old = *self.max;
        let block = simd::max_lanes(*self.scores);
        *self.max = if block > old { block } else { old };
        // Where no key was visible yet the maximum is -inf; any finite number in its place gives 2^-inf = 0.
        let shift = if *self.max == f32::NEG_INFINITY { 0.0 } else { *self.max };
        for s in self.scores.iter_mut() {
            *s = exp2::<I>(*s - shift);
        }
        let rescale = exp2::<I>(old - shift);
        *self.sum = *self.sum * rescale + simd::sum_lanes(*self.scores);
        rescale
    }
}

/// Adds the splits of the same rows and writes the result.
fn merge(shape: &AttentionShape<'_>, tile: &Tile, mut parts: Vec<Partial<'_>>, results: &Results<'_>) {
    let dim = shape.spec().head_dim;
    for r in 0..tile.rows {
        let max = parts.iter().map(|part| part.max[r]).fold(f32::NEG_INFINITY, f32::max);
        let (total, rest) = parts.split_first_mut().expect("every row has a split");
        let factor = |max_of_part: f32| if max_of_part == max { 1.0 } else { (max_of_part - max).exp2() };
        let o = &mut total.o[r * dim..][..dim];
        let first = factor(total.max[r]);
        let mut sum = first * total.sum[r];
        o.iter_mut().for_each(|o| *o *= first);
        for part in rest {
            let factor = factor(part.max[r]);
            sum += factor * part.sum[r];
            o.iter_mut().zip(&part.o[r * dim..]).for_each(|(o, x)| *o += factor * x);
        }
        // SAFETY: every (token, head) is one row of one tile, and this loop is the only writer.
        unsafe { results.write(tile.token_and_head(shape, r), max, sum, o) };
    }
}
