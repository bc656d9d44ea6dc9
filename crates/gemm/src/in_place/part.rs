//! A part of the product: some panels of columns, with all rows.

use std::arch::x86_64::__m512;
use std::ops::Range;
use std::ptr::null;

use device::ElementsMut;
use half::bf16;

use super::term::{Packed, Whole};
use super::{CACHE_LINE, Columns, InPlace, Rows, Square};
use crate::bf16_tiles::{DEPTH, LINES, TILE};
use crate::kernel::{Sums, Tile};
use crate::panels::{Panels, scratch};
use crate::problem::Problem;
use crate::simd::Vector;
use crate::simd::transpose::transpose;
use crate::{GemmError, Window};

/// Cache lines in 32 columns of a depth of 32.
const CACHE_LINES: usize = LINES * DEPTH * size_of::<bf16>() / CACHE_LINE;

/// What all parts have in common.
pub(super) struct Part<'a, K> {
    pub(super) kernel: K,
    pub(super) p: &'a Problem<'a>,
    pub(super) terms: &'a [Packed<'a>],
    pub(super) rows: Panels,
    pub(super) columns: Panels,
}

/// A panel of columns of a term, ready to be multiplied.
struct Ready {
    /// Whole tiles as they lie.
    first: *const bf16,
    stride: usize,
    /// Up to this depth, which may be zero.
    depth: usize,
    /// Cache lines to fetch ahead for each depth of 32, by all panels of rows together.
    ahead: usize,
    /// The depth behind it, packed.
    rest: *const bf16,
}

impl<K: InPlace> Part<'_, K> {
    /// Computes some panels of columns.
    ///
    /// # Safety
    /// `C` is valid, and nothing else accesses those columns.
    pub(super) unsafe fn run(&self, panels: Range<usize>) -> Result<(), GemmError> {
        let size = |panel: usize| {
            let columns = self.columns.range(panel).len();
            self.terms.iter().flat_map(|t| t.sizes(self.kernel, columns)).sum::<usize>()
        };
        let mut room = scratch::<bf16>(panels.clone().map(size).max().unwrap_or(0))?;
        let room = room.as_mut_slice::<bf16>()?;
        let mut ready = Vec::with_capacity(self.terms.len());
        let mut sums = Square([0.0; LINES * LINES]);
        self.kernel.session(|| {
            for panel in panels.clone() {
                self.prepare(panel, panel + 1 == panels.end, room, &mut ready);
                for rows in 0..self.rows.count {
                    // SAFETY: within a session; what is ready lies in `B` or in `room`; the rest is the caller's.
                    unsafe {
                        self.sum(panel, rows, &ready, &mut sums)?;
                        self.write(panel, rows, &mut sums);
                    }
                }
            }
            Ok(())
        })
    }

    /// Makes a panel of columns ready, term after term: expanded and packed, where they have to be, to `room`.
    fn prepare(&self, panel: usize, is_last: bool, mut room: &mut [bf16], ready: &mut Vec<Ready>) {
        let columns = self.columns.range(panel);
        ready.clear();
        for t in self.terms {
            let ((whole, depth), [expanded, packed]) = (t.whole(columns.len()), t.sizes(self.kernel, columns.len()));
            let (expanded, behind) = room.split_at_mut(expanded);
            let (rest, behind) = behind.split_at_mut(packed);
            let row_stride = t.term.b.stride;
            let first = columns.start * row_stride;
            let (first, stride, ahead) = match whole {
                Some(Whole::Stored(b)) => {
                    let panel = &b[first..][..(columns.len() - 1) * row_stride + depth];
                    (panel.as_ptr(), row_stride, if is_last { 0 } else { CACHE_LINES })
                }
                Some(Whole::Expanded(source)) => {
                    source.expand(Window { first, row_len: depth, row_stride }, ElementsMut::new(&mut *expanded));
                    (expanded.as_ptr(), depth, 0)
                }
                None => (null(), 0, 0),
            };
            if packed > 0 {
                let depth = depth..t.term.k;
                self.columns.pack_together(self.kernel, t.term.b, panel..panel + 1, depth, (&mut *rest, packed));
            }
            ready.push(Ready { first, stride, depth, ahead, rest: rest.as_ptr() });
            room = behind;
        }
    }

    /// Sums all terms where a panel of columns meets one of rows.
    ///
    /// # Safety
    /// Within a session; the columns are ready.
    unsafe fn sum(&self, panel: usize, rows: usize, ready: &[Ready], sums: &mut Square) -> Result<(), GemmError> {
        let size = [self.columns.range(panel).len(), self.rows.range(rows).len()];
        let mut accumulate = false;
        for (t, ready) in self.terms.iter().zip(ready) {
            let &Ready { first, stride, depth, ahead, rest } = ready;
            if depth > 0 {
                // Each panel of rows that meets these columns fetches its part of the next ones.
                let ahead = ahead / self.rows.count;
                let next =
                    first.wrapping_add(size[0] * stride).wrapping_byte_add(rows * ahead * CACHE_LINE * (depth / DEPTH));
                let columns = Columns { first, stride, second: size[0] > TILE, depth, next, ahead };
                let packed = Rows { packed: t.rows(rows, 0)?, pieces: t.pieces(), second: size[1] > TILE };
                // SAFETY: the caller's.
                unsafe { self.kernel.columns(&columns, &packed, accumulate, sums) };
                accumulate = true;
            }
            if depth < t.term.k {
                let b = t.rows(rows, depth)?.as_ptr();
                let tile = Tile {
                    depth: t.term.k - depth,
                    a: rest,
                    b,
                    dtypes: [t.term.b.values.dtype(), t.term.a.values.dtype()],
                    sums: sums.0.as_mut_ptr(),
                    size,
                    accumulate,
                    next_sums: null(),
                    next: b,
                };
                // SAFETY: the caller's; both panels were packed over this depth.
                unsafe { self.kernel.tile(&tile) };
                accumulate = true;
            }
        }
        Ok(())
    }

    /// Turns complete sums and writes them.
    ///
    /// # Safety
    /// As for [`Self::run`].
    unsafe fn write(&self, panel: usize, rows: usize, sums: &mut Square) {
        let (p, columns, rows) = (self.p, self.columns.range(panel), self.rows.range(rows));
        // SAFETY: the kernel proves the instruction set.
        unsafe { turn(sums, rows.len()) };
        let at = [rows.start, columns.start];
        let (addend, c) = (p.addend.at(at[0], at[1]), p.c.at(at[0], at[1]));
        let values = &sums.0[..rows.len() * LINES];
        let sums = Sums { values, stride: LINES, cols: columns.len(), alpha: p.alpha, addend, c };
        // SAFETY: the panels are within `C`, and that part of it is the caller's.
        unsafe {
            self.kernel.write(&sums);
            if let Some(scale) = p.scale {
                scale.apply(p.c, at, [rows.len(), columns.len()]);
            }
        }
    }
}

/// Transposes a square, quarter by quarter: so many columns of it at least, which become rows.
///
/// # Safety
/// AVX-512F is available.
#[target_feature(enable = "avx512f")]
unsafe fn turn(square: &mut Square, columns: usize) {
    let start = square.0.as_mut_ptr();
    let quarter = |row: usize, column: usize| start.wrapping_add((row * LINES + column) * TILE);
    // SAFETY: quarters are within the square, and a register is a row of one.
    unsafe {
        let turned = |from: *mut f32| {
            let mut rows = [__m512::zero(); TILE];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = __m512::load(from.add(i * LINES));
            }
            transpose(rows)
        };
        let store = |rows: [__m512; TILE], to: *mut f32| {
            for (i, row) in rows.into_iter().enumerate() {
                row.store(to.add(i * LINES));
            }
        };
        let first = turned(quarter(0, 0));
        store(first, quarter(0, 0));
        let lower = turned(quarter(1, 0));
        if columns > TILE {
            let upper = turned(quarter(0, 1));
            store(upper, quarter(1, 0));
            let last = turned(quarter(1, 1));
            store(last, quarter(1, 1));
        }
        store(lower, quarter(0, 1));
    }
}
