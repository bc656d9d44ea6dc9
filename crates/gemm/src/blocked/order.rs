//! The order in which panels meet, so that what meets often is near.

use std::ops::Range;

use super::blocks::{Block, pitch, runs};
use crate::kernel::Kernel;
use crate::panels::Panels;

/// Bytes that a slab packs at a time, unless a single panel over one run of blocks is more.
const OWN_BYTES: usize = 768 << 10;
/// Bytes of sums that wait in the second-level cache for more depth.
const SUMS_BYTES: usize = 1 << 20;
/// Panels of the shared operand that pass while such sums wait: with more, fewer of the other are packed at a time.
const OTHERS: usize = 64;

/// In which order the panels of a group of blocks meet.
pub(super) struct Order {
    /// Runs of blocks, in the parts of the depth over which the panels of a slab are packed together.
    pub(super) packed_together: Vec<Vec<Range<usize>>>,
    /// Panels of a slab that are packed at a time, and packed elements of one.
    pub(super) own_at_a_time: usize,
    pub(super) own_pitch: usize,
    /// Shared panels that meet all of those before others of the slab are packed.
    pub(super) passing: usize,
    /// Of them those that meet them over all that is packed, before the next.
    pub(super) others_at_a_time: usize,
    /// Shared panels whose sums with each of the slab's wait at a time; none if a run completes them.
    pub(super) waiting: usize,
}

impl Order {
    pub(super) fn new<K: Kernel>(group: &[Block], shared: Panels, owned: Panels) -> Self {
        let [most, others_at_a_time] = [owned, shared].map(|panels| K::BLOCK_PANELS[panels.side as usize]);
        let own = |runs: &[Range<usize>]| pitch::<K>(&group[runs[0].start..runs[runs.len() - 1].end], owned);
        let room = OWN_BYTES / size_of::<K::Packed>();
        let runs = runs::<K>(group);
        if runs.len() == 1 || most * own(&runs) <= room {
            // Sums that one run completes need no place of their own.
            let waiting = if runs.len() == 1 { 0 } else { others_at_a_time };
            let (own_pitch, packed_together) = (own(&runs), vec![runs]);
            return Self {
                packed_together,
                own_at_a_time: most,
                own_pitch,
                passing: shared.count,
                others_at_a_time,
                waiting,
            };
        }
        let waiting = shared.count.min(OTHERS);
        let tile_bytes = K::PANEL[0] * K::PANEL[1] * size_of::<f32>();
        let own_at_a_time = (SUMS_BYTES / tile_bytes / waiting).clamp(1, most);
        let mut packed_together: Vec<Vec<Range<usize>>> = Vec::new();
        for run in runs {
            match packed_together.last_mut() {
                Some(last) if own_at_a_time * (own(last) + own(std::slice::from_ref(&run))) <= room => last.push(run),
                _ => packed_together.push(vec![run]),
            }
        }
        let own_pitch = packed_together.iter().map(|runs| own(runs)).max().unwrap_or(0);
        Self { packed_together, own_at_a_time, own_pitch, passing: waiting, others_at_a_time, waiting }
    }
}
