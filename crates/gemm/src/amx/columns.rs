//! The micro-kernel: 32 x 32 sums in four tile registers, of columns that are loaded from where they lie and packed rows.

use std::arch::asm;

use half::bf16;

use crate::bf16_tiles::{DEPTH, TILE};
use crate::in_place::{CACHE_LINE, Columns, Rows, Square};

/// See [`InPlace::columns`](crate::in_place::InPlace::columns).
///
/// # Safety
/// Tiles are configured; the columns can be read.
pub(super) unsafe fn compute(columns: &Columns, rows: &Rows, accumulate: bool, sums: &mut Square) {
    let stride = columns.stride * size_of::<bf16>();
    assert!(rows.reach(columns));
    // SAFETY: the columns and, by the assertion, the rows have tiles of this depth; the sums are 32 rows of 128 bytes. Where there are
    // no second 16 columns the first are read twice.
    unsafe {
        asm!(
            "test {j:e}, {j:e}",
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
            "mov {j:e}, {ahead:e}",
            "test {j:e}, {j:e}",
            "jz 5f",
            "4:",
            "prefetcht1 [{next}]",
            "add {next}, {line}",
            "dec {j:e}",
            "jnz 4b",
            "5:",
            "tileloaddt1 tmm4, [{first} + {stride}]",
            "tileloaddt1 tmm5, [{second} + {stride}]",
            "add {first}, 64",
            "add {second}, 64",
            "mov {j:e}, {pieces:e}",
            // Each piece of the rows.
            "6:",
            "tileloadd tmm6, [{rows} + {row}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "test {second_rows:e}, {second_rows:e}",
            "jz 7f",
            "tileloadd tmm7, [{rows} + {row} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "7:",
            "add {rows}, 2048",
            "dec {j:e}",
            "jnz 6b",
            "dec {chunks}",
            "jnz 3b",
            "tilestored [{sums} + {row} * 2], tmm0",
            "tilestored [{sums} + {row} * 2 + 64], tmm1",
            "tilestored [{sums} + {row} * 2 + 2048], tmm2",
            "tilestored [{sums} + {row} * 2 + 2112], tmm3",
            sums = in(reg) sums.0.as_mut_ptr(),
            row = in(reg) DEPTH * size_of::<bf16>(),
            first = inout(reg) columns.first => _,
            second = inout(reg) columns.first.wrapping_byte_add(if columns.second { TILE * stride } else { 0 }) => _,
            stride = in(reg) stride,
            rows = inout(reg) rows.packed.as_ptr() => _,
            pieces = in(reg) rows.pieces,
            second_rows = in(reg) usize::from(rows.second),
            chunks = inout(reg) columns.depth / DEPTH => _,
            next = inout(reg) columns.next => _,
            ahead = in(reg) columns.ahead,
            line = const CACHE_LINE,
            j = inout(reg) usize::from(accumulate) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    }
}
