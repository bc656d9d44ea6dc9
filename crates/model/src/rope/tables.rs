//! Tables of cosines and sines for a batch.

use std::sync::{Arc, Mutex, PoisonError};

use tensor::RopeTable;
use tensor::{Result, Sequences, TensorError};

use super::RopeConfig;

/// A table, and the row of it for each token of a batch.
#[derive(Clone, Debug)]
pub(crate) struct RopeRows {
    pub(crate) table: Arc<RopeTable>,
    pub(crate) rows: Arc<[u32]>,
}

/// The rotations of a model, and the tables made so far.
#[derive(Debug)]
pub(crate) struct RopeTables(Vec<(RopeConfig, Mutex<Option<Arc<RopeTable>>>)>);

impl RopeTables {
    pub(crate) fn new(configs: &[RopeConfig]) -> Self {
        Self(configs.iter().map(|config| (config.clone(), Mutex::new(None))).collect())
    }

    /// One entry for each rotation of the model. `positions` holds the position of each query token.
    pub(crate) fn rows(&self, sequences: &Sequences, positions: &Arc<[u32]>) -> Result<Vec<RopeRows>> {
        self.0
            .iter()
            .map(|(config, table)| {
                if lengths(sequences, positions).all(|(_, length)| config.variant(length) == 0) {
                    let reached = positions.iter().max().map_or(0, |&p| p as usize + 1);
                    let table = grown(&mut table.lock().unwrap_or_else(PoisonError::into_inner), config, reached)?;
                    Ok(RopeRows { table, rows: Arc::clone(positions) })
                } else {
                    by_token(config, sequences, positions)
                }
            })
            .collect()
    }

    /// A number for each rotation that changes where the frequencies of a sequence change as it grows to `length` tokens.
    pub(crate) fn variants(&self, length: usize) -> Vec<usize> {
        self.0.iter().map(|(config, _)| config.variant(length)).collect()
    }
}

/// The cached table, made anew if it does not reach `positions` of them.
fn grown(cached: &mut Option<Arc<RopeTable>>, config: &RopeConfig, positions: usize) -> Result<Arc<RopeTable>> {
    if let Some(table) = cached.as_ref().filter(|table| table.max_positions() >= positions) {
        return Ok(Arc::clone(table));
    }
    let frequencies = config.frequencies(0);
    // A power of two, so that a text that grows token by token makes few tables.
    let table =
        RopeTable::from_frequencies(&frequencies.inv_freq, frequencies.attention_factor, positions.next_power_of_two())
            .map_err(TensorError::kernel("rope"))?;
    Ok(Arc::clone(cached.insert(Arc::new(table))))
}

/// A table with a row for each token, because frequencies depend on the length of a token's own sequence: with one table
/// for all, a sequence would be computed in another way when it is packed beside a longer one.
fn by_token(config: &RopeConfig, sequences: &Sequences, positions: &[u32]) -> Result<RopeRows> {
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for (tokens, length) in lengths(sequences, positions) {
        let frequencies = config.frequencies(length);
        for &position in &positions[tokens] {
            for &inv_freq in &frequencies.inv_freq {
                let angle = f64::from(position as f32 * inv_freq);
                cos.push(angle.cos() as f32 * frequencies.attention_factor);
                sin.push(angle.sin() as f32 * frequencies.attention_factor);
            }
        }
    }
    let table = RopeTable::new(cos, sin, config.rotary_dim()).map_err(TensorError::kernel("rope"))?;
    Ok(RopeRows { table: Arc::new(table), rows: (0..positions.len() as u32).collect() })
}

/// The tokens of each sequence that is not empty, and its length counted from position 0.
fn lengths<'a>(
    sequences: &'a Sequences,
    positions: &'a [u32],
) -> impl Iterator<Item = (std::ops::Range<usize>, usize)> + 'a {
    sequences.cu_seqlens_q().windows(2).filter_map(|ends| {
        let tokens = ends[0] as usize..ends[1] as usize;
        let last = positions[tokens.clone()].iter().max()?;
        Some((tokens, *last as usize + 1))
    })
}
