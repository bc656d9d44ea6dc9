//! Plain Rust.

use super::{Dots, Isa, Sums, Tile};
use crate::pack::{CHUNK, CHUNK_BYTES, COLS, TILE_COLS};

/// Every machine has it.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Isa for Portable {
    const FLIP: u8 = 0;

    unsafe fn tile(self, tile: &Tile, sums: &mut Sums) {
        for (row, sums) in sums.iter_mut().take(tile.rows).enumerate() {
            // SAFETY: the caller's: a row of `depth` bytes, and a panel of that depth.
            let (a, b) = unsafe {
                let a = std::slice::from_raw_parts(tile.a.add(row * tile.a_stride), tile.depth);
                (a, std::slice::from_raw_parts(tile.b, tile.depth * COLS))
            };
            *sums = [0; COLS];
            for (a, b) in a.chunks_exact(CHUNK).zip(b.chunks_exact(CHUNK_BYTES)) {
                for (sums, b) in sums.chunks_exact_mut(TILE_COLS).zip(b.chunks_exact(CHUNK_BYTES / 2)) {
                    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.chunks_exact(4 * TILE_COLS)) {
                        for (sum, b) in sums.iter_mut().zip(b.as_chunks::<4>().0) {
                            *sum += products(a, b);
                        }
                    }
                }
            }
        }
    }
}

impl Dots for Portable {
    const FLIP: u8 = 0;

    fn dot(self, a: &[u8], w: &[i8]) -> i32 {
        a.iter().zip(w).map(|(&a, &w)| i32::from(a as i8) * i32::from(w)).sum()
    }
}

fn products(a: &[u8; 4], b: &[i8; 4]) -> i32 {
    a.iter().zip(b).map(|(&a, &b)| i32::from(a as i8) * i32::from(b)).sum()
}
