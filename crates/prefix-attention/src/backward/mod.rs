//! `dv_j = sum_i p_ij do_i`, `dp_ij = do_i . v_j`, `delta_i = do_i . o_i`, `ds_ij = p_ij (dp_ij - delta_i)` (with
//! soft-capping times `1 - (s_ij / softcap)^2`), `dq_i = softmax_scale sum_j ds_ij k_j`,
//! `dk_j = softmax_scale sum_i ds_ij q_i`, and of the bias, `dtable[b, h] = sum ds_ij` over the pairs of bucket `b`.
//!
//! Probabilities are computed again from the saved log-sum-exp. Source: Dao 2023, "FlashAttention-2", algorithm 2.
//!
//! A task owns the gradients of its queries and sums those of the keys it meets in memory of its own; the sums are then
//! added in order. How rows are cut into tasks depends on the sizes of their sequence only. Products run on vectors (`wide.rs`), in
//! precision bf16 on tiles (`tiled.rs`).

mod pass;
mod reduce;
mod tiled;
mod wide;

use std::f32::consts::LN_2;
use std::ops::Range;

use device::{Buffer, DType, Device};
use pass::Pass;
use rayon::prelude::*;

use crate::blocks::Operands;
use crate::isa::InstructionSet;
use crate::pieces::{DEPTH, LINES};
use crate::relative_bias::{Differences, Expanded};
use crate::tile::{Layout, ROWS, Tile, tiles};
use crate::workspace::{Shared, Workspaces, carve};
use crate::{AttentionError, AttentionShape, Backward};

/// Tasks that a sequence is cut into at most, over all its heads: enough for many threads, while the sums of their own
/// that tasks keep stay a small multiple of the keys.
const TASKS: usize = 16;
/// Rows of a task at least, so that its own sums are small beside its work.
const MIN_ROWS: usize = 4 * ROWS;

/// Computes the gradients that are asked for. Memory beyond them is linear in the number of tokens.
///
/// Queries that see no key, and keys that no query sees, get gradients of 0. Results do not depend on the number of
/// threads.
///
/// # Errors
/// As [`crate::forward()`].
pub fn backward(shape: &AttentionShape<'_>, args: Backward<'_>) -> Result<(), AttentionError> {
    backward_with(InstructionSet::best(), shape, args)
}

pub(crate) fn backward_with(
    isa: InstructionSet,
    shape: &AttentionShape<'_>,
    args: Backward<'_>,
) -> Result<(), AttentionError> {
    args.check(shape)?;
    let Backward { q, k, v, prefix, bias, precision, o, softmax_lse, grad_o, grad_q, grad_kv, grad_prefix, grad_bias } =
        args;
    let expanded = bias.map(|bias| Expanded::new(shape, &bias)).transpose()?;
    let tiles = isa.amx().filter(|_| precision == DType::BF16);
    let (layout, spec) = (Layout::new(isa, shape), shape.spec());
    let pass = Pass {
        layout: match tiles {
            Some(_) => Layout { padded_dim: spec.head_dim.next_multiple_of(DEPTH), ..layout },
            None => layout,
        },
        operands: Operands { q, k, v, prefix, bias: expanded.as_ref().map(Expanded::view).transpose()? },
        o,
        softmax_lse,
        grad_o,
        grad_q: grad_q.map(Shared::new),
        needs_kv: grad_kv.is_some(),
        needs_prefix: grad_prefix.is_some() && prefix.is_some(),
        needs_bias: grad_bias.is_some() && bias.is_some(),
        keys_at_once: if tiles.is_some() { LINES } else { 1 },
        key_factor: match tiles {
            Some(_) => spec.softmax_scale,
            // Vectors multiply queries times `score_factor`.
            None => spec.softcap.unwrap_or(LN_2),
        },
    };
    let chunks = chunks(&pass);
    let mut sums = Buffer::scratch(Device::Cpu, DType::F32, chunks.iter().map(|c| c.sums_len(&pass)).sum())?;
    let mut rest = sums.f32_mut()?;
    let mut tasks: Vec<_> = chunks.iter().map(|chunk| (chunk, carve(&mut rest, chunk.sums_len(&pass)))).collect();
    if !tasks.is_empty() {
        let working_len = if tiles.is_some() { tiled::working_len } else { wide::working_len };
        let workspaces = Workspaces::new(working_len(&pass.layout))?;
        tasks.par_iter_mut().with_max_len(1).for_each(|(chunk, sums)| {
            workspaces.with(|memory| match tiles {
                Some(amx) => tiled::run(&amx.session(), &pass, chunk, sums, memory),
                None => wide::run(&pass, chunk, sums, memory),
            });
        });
    }
    let sums = reduce::Sums::new(&pass, tasks);
    if let Some(grad) = grad_kv {
        sums.add_own(grad);
    }
    if let Some(grad) = grad_prefix {
        sums.add_prefix(grad);
    }
    if let Some(grad) = grad_bias {
        sums.add_bias(grad);
    }
    Ok(())
}

/// Rows of one sequence and head that one task takes, and the keys that they see.
struct Chunk {
    /// Which sequence.
    index: usize,
    kv_head: usize,
    tiles: Vec<Tile>,
    /// Keys of its own sequence whose sums it keeps.
    keys: Range<usize>,
    /// Rows of sums for the keys of the prefix.
    prefix_rows: usize,
    /// Differences of positions whose sums it keeps.
    differences: Option<Differences>,
}

impl Chunk {
    /// Rows of the sums of keys, and as many of values.
    fn sums_rows(&self) -> usize {
        self.prefix_rows + self.keys.len()
    }

    /// Elements of the sums of keys and values, which those of differences follow.
    fn key_value_len(&self, pass: &Pass<'_>) -> usize {
        2 * self.sums_rows() * pass.layout.padded_dim
    }

    fn sums_len(&self, pass: &Pass<'_>) -> usize {
        self.key_value_len(pass) + self.differences.map_or(0, |differences| differences.len())
    }
}

/// Every chunk, by sequence, then by head, then by row.
fn chunks(pass: &Pass<'_>) -> Vec<Chunk> {
    let shape = pass.layout.shape;
    let num_kv_heads = shape.spec().num_kv_heads;
    let mut chunks = Vec::new();
    for index in 0..shape.num_sequences() {
        let sequence = shape.sequence(index);
        let bias = pass.operands.bias.filter(|_| pass.needs_bias);
        let differences = bias.map(|bias| bias.differences.of_sequence(&sequence));
        let rows = sequence.q_len * shape.group();
        let len = rows.div_ceil(TASKS.div_ceil(num_kv_heads)).next_multiple_of(ROWS).max(MIN_ROWS);
        for kv_head in 0..num_kv_heads {
            for first_row in (0..rows).step_by(len) {
                let tiles = tiles(sequence, kv_head, first_row..rows.min(first_row + len));
                let visible = tiles[0].visible(shape).start..tiles[tiles.len() - 1].visible(shape).end;
                let unit = pass.keys_at_once;
                let whole = visible.start / unit * unit..visible.end.next_multiple_of(unit);
                let keys = if pass.needs_kv { whole } else { 0..0 };
                let prefix_rows = if pass.needs_prefix { shape.prefix_len().next_multiple_of(unit) } else { 0 };
                chunks.push(Chunk { index, kv_head, tiles, keys, prefix_rows, differences });
            }
        }
    }
    chunks
}
