//! `o_i = sum_j p_ij v_j` with `p_ij = exp(s_ij - lse_i)`, block by block with a running softmax.
//!
//! Source: Dao 2023, "FlashAttention-2: Faster attention with better parallelism and work partitioning", algorithm 1.

mod absorb;
mod narrow;
mod tiled;
mod wide;

use std::f32::consts::LN_2;

pub(crate) use wide::{compute_scores, multiply_keys, score_factor, transform_scores};

use device::DType;

use crate::blocks::Operands;
use crate::isa::{InstructionSet, prefetch};
use crate::pieces::{EXACT, NEAREST};
use crate::relative_bias::Expanded;
use crate::scores::Softmax;
use crate::spec::Sequence;
use crate::tile::{Layout, Tile, tiles};
use crate::workspace::Shared;
use crate::{AttentionError, AttentionShape, Forward};

/// Computes attention and the log-sum-exp of its scores. Beyond the results it takes a fixed amount of memory for each
/// thread and a few words for each tile of queries.
///
/// A query that sees no key gets `o = 0` and `softmax_lse = -inf`. The result of a query depends only on its own sequence
/// and the prefix, bit for bit, and not on the number of threads.
///
/// # Errors
/// [`AttentionError::Length`], [`AttentionError::RowStride`] or [`AttentionError::PrefixMissing`] if an argument does not
/// fit the shape; [`AttentionError::Device`] without memory.
pub fn forward(shape: &AttentionShape<'_>, args: Forward<'_>) -> Result<(), AttentionError> {
    forward_with(InstructionSet::best(), shape, args)
}

pub(crate) fn forward_with(
    isa: InstructionSet,
    shape: &AttentionShape<'_>,
    args: Forward<'_>,
) -> Result<(), AttentionError> {
    args.check(shape)?;
    let layout = Layout::new(isa, shape);
    let expanded = args.bias.map(|bias| Expanded::new(shape, &bias)).transpose()?;
    let bias = expanded.as_ref().map(Expanded::view).transpose()?;
    let operands = Operands { q: args.q, k: args.k, v: args.v, prefix: args.prefix, bias };
    let results = Results { shape, o: Shared::new(args.o), softmax_lse: Shared::new(args.softmax_lse) };
    let (narrow, wide): (Vec<_>, Vec<_>) =
        (0..shape.num_sequences()).map(|i| shape.sequence(i)).partition(|sequence| narrow::suits(shape, sequence));
    match isa.amx() {
        Some(amx) if args.precision == DType::BF16 => {
            tiled::forward::<NEAREST>(amx, &layout, &operands, &wide, &results)?;
        }
        Some(amx) => tiled::forward::<EXACT>(amx, &layout, &operands, &wide, &results)?,
        None => wide::forward(&layout, &operands, &wide, &results)?,
    }
    narrow::forward(&layout, &operands, &narrow, &results)
}

/// The tiles of each sequence and head.
fn tiles_of(layout: &Layout<'_>, sequences: &[Sequence]) -> Vec<Vec<Tile>> {
    let (heads, group) = (layout.shape.spec().num_kv_heads, layout.shape.group());
    let of_head = |&sequence: &Sequence, kv_head| tiles(sequence, kv_head, 0..sequence.q_len * group);
    sequences.iter().flat_map(|sequence| (0..heads).map(move |head| of_head(sequence, head))).collect()
}

/// Tiles of one sequence and head that one task takes, `at_once` at most and all about as many.
fn tasks(tiles: &[Vec<Tile>], at_once: usize) -> Vec<&[Tile]> {
    let even = |tiles: &[Tile]| tiles.len().div_ceil(tiles.len().div_ceil(at_once).max(1)).max(1);
    tiles.iter().flat_map(|tiles| tiles.chunks(even(tiles))).collect()
}

/// Where tasks write what they have computed.
struct Results<'a> {
    shape: &'a AttentionShape<'a>,
    o: Shared<'a>,
    softmax_lse: Shared<'a>,
}

impl Results<'_> {
    /// Hints that the results of a tile are written after a while.
    fn prefetch(&self, tile: &Tile) {
        let spec = self.shape.spec();
        for row in 0..tile.rows {
            let (token, head) = tile.token_and_head(self.shape, row);
            // SAFETY: the part belongs to this (token, head), which is a row of this tile alone, and nothing is read of it.
            prefetch(unsafe { self.o.part((token * spec.num_heads + head) * spec.head_dim, spec.head_dim) });
        }
    }

    /// Writes the results of a tile from its softmax and the sums of products with the values, `[rows, padded_dim]`.
    fn write_tile(&self, layout: &Layout<'_>, tile: &Tile, softmax: &Softmax, weighted: &[f32]) {
        for (r, row) in weighted.chunks_exact(layout.padded_dim).take(tile.rows).enumerate() {
            // SAFETY: every (token, head) is one row of one tile.
            unsafe { self.write(tile.token_and_head(layout.shape, r), softmax.max[r], softmax.sum[r], row) };
        }
    }

    /// Writes the result of one (token, head) from sums of `2^(s - max)` and of their products with the values.
    ///
    /// # Safety
    /// No other thread writes the same (token, head).
    unsafe fn write(&self, (token, head): (usize, usize), max: f32, sum: f32, weighted: &[f32]) {
        let spec = self.shape.spec();
        let (factor, lse) = if sum == 0.0 { (0.0, f32::NEG_INFINITY) } else { (1.0 / sum, (max + sum.log2()) * LN_2) };
        // SAFETY: the part belongs to this (token, head) alone, and the caller vouches for the rest.
        let o = unsafe { self.o.part((token * spec.num_heads + head) * spec.head_dim, spec.head_dim) };
        o.iter_mut().zip(weighted).for_each(|(o, x)| *o = factor * x);
        // SAFETY: as above.
        let lse_of_row = unsafe { self.softmax_lse.part(head * self.shape.num_q_tokens() + token, 1) };
        lse_of_row[0] = lse;
    }
}
