//! The order in which panels meet, so that what meets often is near.

use std::ops::Range;

use super::blocks::{Block, pitch, runs};
use crate::kernel::Kernel;
use crate::panels::Panels;

/// Bytes that a slab packs at a time, unless the least that can be is more.
const OWN_BYTES: usize = 384 << 10;
/// Bytes of sums that wait in the second-level cache for more depth.
const SUMS_BYTES: usize = 1 << 20;
/// Panels of the shared operand that pass at most while such sums wait.
const OTHERS: usize = 64;

/// In which order the panels of a group of blocks meet those of a slab.
pub(super) struct Order {
    /// Parts of the depth over which panels of the slab are packed at a time, each as its runs of blocks.
    pub(super) parts: Vec<Vec<Range<usize>>>,
    /// Panels of the slab that are packed at a time, and packed elements of one.
    pub(super) own_at_a_time: usize,
    pub(super) own_pitch: usize,
    /// Shared panels that meet all of those before others of the slab are packed.
    pub(super) passing: usize,
    /// Of them those that meet them over all of a part before the next.
    pub(super) others_at_a_time: usize,
    /// Shared panels whose sums with each of the slab's wait at a time; none if a run completes them.
    pub(super) waiting: usize,
}

impl Order {
    /// The order for a slab of `len` panels.
    pub(super) fn new<K: Kernel>(group: &[Block], shared: Panels, owned: Panels, len: usize) -> Self {
        const { assert!(OTHERS >= K::BLOCK_PANELS[0] && OTHERS >= K::BLOCK_PANELS[1], "sums would be overwritten") };
        let [most, others_at_a_time] = [owned, shared].map(|panels| K::BLOCK_PANELS[panels.side as usize]);
        let most = most.min(len);
        let own = |runs: &[Range<usize>]| pitch::<K>(&group[runs[0].start..runs[runs.len() - 1].end], owned);
        let room = OWN_BYTES / size_of::<K::Packed>();
        let runs = runs::<K>(group);
        // As many in each pass.
        let passing = shared.count.div_ceil(shared.count.div_ceil(OTHERS));
        let with_waiting_sums = (SUMS_BYTES / (K::PANEL[0] * K::PANEL[1] * size_of::<f32>()) / passing).clamp(1, most);
        let over_whole_depth = (room / own(&runs).max(1)).clamp(1, most);
        if runs.len() == 1 || over_whole_depth >= with_waiting_sums {
            // Sums that one run completes need no place of their own.
            let waiting = if runs.len() == 1 { 0 } else { others_at_a_time };
            let (own_at_a_time, own_pitch, passing) = (over_whole_depth, own(&runs), shared.count);
            return Self { parts: vec![runs], own_at_a_time, own_pitch, passing, others_at_a_time, waiting };
        }
        let own_at_a_time = with_waiting_sums;
        let mut parts: Vec<Vec<Range<usize>>> = Vec::new();
        for run in runs {
            match parts.last_mut() {
                Some(last) if own_at_a_time * (own(last) + own(std::slice::from_ref(&run))) <= room => last.push(run),
                _ => parts.push(vec![run]),
            }
        }
        let own_pitch = parts.iter().map(|runs| own(runs)).max().unwrap_or(0);
        Self { parts, own_at_a_time, own_pitch, passing, others_at_a_time, waiting: passing }
    }

    /// The first of the shared panels whose sums wait while `others` of those `passing` meet the slab's: until all that pass have,
    /// if there is more depth than what was packed, or these alone.
    pub(super) fn first_waiting(&self, passing: &Range<usize>, others: &Range<usize>) -> usize {
        if self.parts.len() > 1 { passing.start } else { others.start }
    }
}
