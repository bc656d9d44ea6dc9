//! Squares of registers, transposed without memory.

use super::{MAX_LANES, Vector};

/// Transposes the first `LANES` registers: a perfect shuffle of the rows, as many times as it takes to be back.
///
/// # Safety
/// The instruction set is available.
#[inline(always)]
pub(crate) unsafe fn transpose<V: Vector>(mut rows: [V; MAX_LANES]) -> [V; MAX_LANES] {
    for _ in 0..V::LANES.ilog2() {
        let mut shuffled = rows;
        for i in 0..V::LANES / 2 {
            // SAFETY: the caller's.
            (shuffled[2 * i], shuffled[2 * i + 1]) = unsafe { rows[i].zip(rows[i + V::LANES / 2]) };
        }
        rows = shuffled;
    }
    rows
}
