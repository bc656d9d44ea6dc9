//! The micro-kernel: 32 x 32 sums in four tile registers.

use std::arch::asm;

use half::bf16;

use super::{DEPTH, TILE, pieces};
use crate::kernel::Tile;

/// `asm!` between loading the sums, or zeros, into tmm0 to tmm3, the quarters of `C`, and storing them. `{i}` is free in between.
macro_rules! on_sums {
    ($tile:ident, [$($line:literal,)*], $($operands:tt)*) => {
        asm!(
            "test {i}, {i}",
            "jz 2f",
            "tileloadd tmm0, [{sums} + {row} * 2]",
            "tileloadd tmm1, [{sums} + {row} * 2 + 64]",
            "tileloadd tmm2, [{sums} + {row} * 2 + 2048]",
            "tileloadd tmm3, [{sums} + {row} * 2 + 2112]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            // Each depth of 32.
            "3:",
            $($line,)*
            "dec {chunks}",
            "jnz 3b",
            "tilestored [{sums} + {row} * 2], tmm0",
            "tilestored [{sums} + {row} * 2 + 64], tmm1",
            "tilestored [{sums} + {row} * 2 + 2048], tmm2",
            "tilestored [{sums} + {row} * 2 + 2112], tmm3",
            sums = in(reg) $tile.sums,
            i = inout(reg) usize::from($tile.accumulate) => _,
            a = inout(reg) $tile.a => _,
            b = inout(reg) $tile.b => _,
            row = in(reg) DEPTH * 2,
            chunks = inout(reg) $tile.depth.div_ceil(DEPTH) => _,
            next = inout(reg) $tile.next => _,
            $($operands)*
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// The product of two panels, as sums of products of pieces in the same order for every element.
///
/// Tiles of `B` pass by while those of `A` stay in the first-level cache: their loads ask to leave it as it is.
///
/// # Safety
/// Tiles are configured; the panels are packed as `depth` and `dtypes` say; nothing else accesses the sums.
pub(super) unsafe fn compute(tile: &Tile<bf16>) {
    let pieces = tile.dtypes.map(pieces);
    // SAFETY: the caller's.
    unsafe {
        match pieces == [1; 2] && tile.size.iter().all(|&size| size > TILE) {
            true => compute_whole(tile),
            false => compute_pieces(tile, pieces),
        }
    }
}

/// All four quarters of numbers of one piece: the loop that nearly all time is spent in.
///
/// # Safety
/// As for [`compute`].
unsafe fn compute_whole(tile: &Tile<bf16>) {
    // SAFETY: panels hold, for each depth of 32, two tiles of 1024 bytes; the sums are 32 rows of 128 bytes.
    unsafe {
        on_sums!(
            tile,
            [
                "prefetcht0 [{next_sums}]",
                "prefetcht0 [{next_sums} + 64]",
                "prefetcht0 [{next_sums} + 128]",
                "prefetcht0 [{next_sums} + 192]",
                "add {next_sums}, 256",
                "prefetcht1 [{next}]",
                "prefetcht1 [{next} + 64]",
                "prefetcht1 [{next} + 128]",
                "prefetcht1 [{next} + 192]",
                "tileloaddt1 tmm6, [{b} + {row}]",
                "tileloaddt1 tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "add {next}, 256",
                "add {b}, 2048",
                "add {a}, 2048",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
            ],
            next_sums = inout(reg) tile.next_sums => _,
        )
    }
}

/// Any quarters, of numbers of several pieces.
///
/// # Safety
/// As for [`compute`].
unsafe fn compute_pieces(tile: &Tile<bf16>, [a_pieces, b_pieces]: [usize; 2]) {
    // Which second tiles matter: bit 0 for rows, bit 1 for columns.
    let second = usize::from(tile.size[0] > TILE) | usize::from(tile.size[1] > TILE) << 1;
    // SAFETY: panels hold, for each depth of 32, two tiles of 1024 bytes for each piece; the sums are 32 rows of 128 bytes.
    unsafe {
        on_sums!(
            tile,
            [
                "xor {j:e}, {j:e}",
                // Each piece j of B.
                "4:",
                "tileloaddt1 tmm6, [{b} + {row}]",
                "test {second}, 2",
                "jz 6f",
                "tileloaddt1 tmm7, [{b} + {row} + 1024]",
                "6:",
                "add {b}, 2048",
                "mov {a_piece}, {a}",
                // The pieces of A that matter beside it: i = min(a_pieces, 3 - j) of them.
                "mov {i:e}, 3",
                "sub {i:e}, {j:e}",
                "cmp {i:e}, {a_pieces:e}",
                "cmova {i:e}, {a_pieces:e}",
                "5:",
                "prefetcht1 [{next}]",
                "prefetcht1 [{next} + 64]",
                "prefetcht1 [{next} + 128]",
                "prefetcht1 [{next} + 192]",
                "add {next}, 256",
                "tileloadd tmm4, [{a_piece} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "test {second}, 2",
                "jz 7f",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "7:",
                "test {second}, 1",
                "jz 8f",
                "tileloadd tmm5, [{a_piece} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "test {second}, 2",
                "jz 8f",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "8:",
                "add {a_piece}, 2048",
                "dec {i:e}",
                "jnz 5b",
                "inc {j:e}",
                "cmp {j:e}, {b_pieces:e}",
                "jb 4b",
                "add {a}, {a_bytes}",
            ],
            a_pieces = in(reg) a_pieces,
            b_pieces = in(reg) b_pieces,
            a_bytes = in(reg) a_pieces * 2048,
            second = in(reg) second,
            j = out(reg) _,
            a_piece = out(reg) _,
        )
    }
}
