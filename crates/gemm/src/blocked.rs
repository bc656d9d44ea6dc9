//! The blocked product: both operands in packed panels, `C` in slabs that threads own.
//!
//! The operand along the shorter side of `C` is packed once and shared by all threads. The longer side is cut into slabs;
//! whoever takes a slab packs the other operand's part of it: once, or where the depth is more than a cache holds and many
//! panels are shared, once for each of the passes that they take. The depth runs by in blocks while a part of `C` is summed
//! in one core's cache, and complete sums are written once.
//!
//! An element of `C` is summed by one thread, block of depth after block of depth. The blocks depend on sizes alone, so the
//! split over threads cannot change a bit.

mod blocks;
mod multiply;
mod order;
mod packed;

use std::ops::Range;

use crate::GemmError;
use crate::kernel::{Kernel, Side};
use crate::panels::{Panels, ranges, scratch};
use crate::problem::{Problem, in_slabs};
use blocks::{Block, blocks, packed_together, pitch};
use multiply::{Part, Waiting, multiply};
use order::Order;
use packed::{Packed, pack_panels};

/// Bytes of the shared operand that are packed at a time, unless a single block of depth is more.
pub(crate) const SHARED_BYTES: usize = 8 << 20;

/// The sides of `C`: the one whose panels all threads share, and the one that they own slabs of.
fn sides<K: Kernel>(p: &Problem) -> (Panels, Panels) {
    let (rows, cols) = (Panels::new::<K>(Side::A, p.m), Panels::new::<K>(Side::B, p.n));
    if p.m <= p.n { (rows, cols) } else { (cols, rows) }
}

/// Whether `C` is written once, by sums over the whole depth.
pub(crate) fn is_single_pass<K: Kernel>(kernel: K, p: &Problem) -> bool {
    let blocks = blocks(kernel, p.terms);
    packed_together::<K>(&blocks, sides::<K>(p).0) == blocks.len()
}

/// Computes the product.
///
/// # Safety
/// `p.c` is valid for `m` rows of `n` elements, which nothing else accesses meanwhile; it is f32 unless there is nothing in
/// it to add to and [`is_single_pass`].
pub(crate) unsafe fn run<K: Kernel>(kernel: K, p: &Problem) -> Result<(), GemmError> {
    let (shared, owned) = sides::<K>(p);
    let blocks = blocks(kernel, p.terms);
    let mut rest = &blocks[..];
    while !rest.is_empty() {
        let (group, later) = rest.split_at(packed_together::<K>(rest, shared));
        // SAFETY: the caller's.
        unsafe { run_group(kernel, p, group, shared, owned)? };
        rest = later;
    }
    Ok(())
}

/// Adds the products over a group of blocks, whose shared operand is packed at a time.
///
/// # Safety
/// As for [`run`].
unsafe fn run_group<K: Kernel>(
    kernel: K,
    p: &Problem,
    group: &[Block],
    shared: Panels,
    owned: Panels,
) -> Result<(), GemmError> {
    let pitch = pitch::<K>(group, shared);
    let mut packed = scratch::<K::Packed>(shared.count * pitch)?;
    let packed = packed.as_mut_slice::<K::Packed>()?;
    // Nothing where all was packed before.
    shared.in_neighbours(packed, pitch, p.parts(), |panels, out| pack_panels(kernel, group, shared, panels, out));
    let packed = &*packed;
    in_slabs(owned.count, p.parts_of(owned.count), |slab| {
        // SAFETY: slabs are disjoint, and the rest is the caller's.
        unsafe { run_slab(kernel, p, group, (shared, packed), (owned, slab)) }
    })
}

/// Adds the part of the products in a slab of panels of the owned side.
///
/// # Safety
/// As for [`run`], of the slab's part of `C`.
unsafe fn run_slab<K: Kernel>(
    kernel: K,
    p: &Problem,
    group: &[Block],
    (shared, packed): (Panels, &[K::Packed]),
    (owned, slab): (Panels, Range<usize>),
) -> Result<(), GemmError> {
    let order = Order::new::<K>(group, shared, owned, slab.len());
    let own_at_a_time = order.own_at_a_time;
    let mut local = scratch::<K::Packed>(own_at_a_time * order.own_pitch)?;
    let local = local.as_mut_slice::<K::Packed>()?;
    let mut sums = scratch::<f32>((own_at_a_time * order.waiting).max(1) * K::PANEL[0] * K::PANEL[1])?;
    let sums = sums.f32_mut()?;
    let packed_panels = |range: Range<usize>| {
        let data = &packed[range.start * pitch::<K>(group, shared)..];
        Packed::new((0, group), shared, range, data)
    };
    kernel.session(|| {
        for passing in ranges(0..shared.count, order.passing) {
            for range in ranges(slab.clone(), own_at_a_time) {
                for runs in &order.parts {
                    let blocks = &group[runs[0].start..runs[runs.len() - 1].end];
                    pack_panels(kernel, blocks, owned, range.clone(), local);
                    let own = Packed::new((runs[0].start, blocks), owned, range.clone(), local)?;
                    for others in ranges(passing.clone(), order.others_at_a_time) {
                        let waiting = Waiting { first: order.first_waiting(&passing, &others), count: order.waiting };
                        let others = packed_panels(others)?;
                        let part = Part { group, own: &own, others: &others, waiting };
                        for run in runs {
                            // SAFETY: within a session, and the slab's part of `C` is the caller's.
                            unsafe { multiply(kernel, p, &part, run.clone(), sums) };
                        }
                    }
                }
            }
        }
        Ok(())
    })
}
