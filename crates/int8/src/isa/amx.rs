//! Intel AMX: products of tiles of bytes, both with their sign.

use std::arch::asm;

use device::tiles::Tiles;

use super::{Isa, Sums, Tile};
use crate::pack::{CHUNK, CHUNK_BYTES, COLS};

/// Proof that tiles of bytes are there.
#[derive(Clone, Copy)]
pub(crate) struct Amx(Tiles);

impl Amx {
    pub(crate) fn detect() -> Option<Self> {
        Tiles::detect().filter(|tiles| tiles.has_int8()).map(Self)
    }
}

impl Isa for Amx {
    const FLIP: u8 = 0;

    unsafe fn tile(self, tile: &Tile, sums: &mut Sums) {
        // SAFETY: a session is the caller's; rows of 16 tiles of 64 bytes are within 32 rows of whole chunks, two tiles of
        // 1024 bytes make a chunk of the panel, and the sums are 32 rows of 128 bytes.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm6, [{b} + {row}]",
                "tileloadd tmm7, [{b} + {row} + 1024]",
                "tileloadd tmm4, [{a} + {a_row}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a_lower} + {a_row}]",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                "add {a}, 64",
                "add {a_lower}, 64",
                "add {b}, {b_bytes}",
                "dec {chunks}",
                "jnz 2b",
                "tilestored [{sums} + {row} * 2], tmm0",
                "tilestored [{sums} + {row} * 2 + 64], tmm1",
                "tilestored [{sums} + {row} * 2 + 2048], tmm2",
                "tilestored [{sums} + {row} * 2 + 2112], tmm3",
                a = inout(reg) tile.a => _,
                a_lower = inout(reg) tile.a.add(16 * tile.a_stride) => _,
                a_row = in(reg) tile.a_stride,
                b = inout(reg) tile.b => _,
                b_bytes = const CHUNK_BYTES,
                row = in(reg) 64usize,
                chunks = inout(reg) tile.depth / CHUNK => _,
                sums = in(reg) sums.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        }
        const { assert!(COLS * size_of::<i32>() == 128) };
    }

    fn session<R>(self, body: impl FnOnce() -> R) -> R {
        let _session = self.0.session();
        body()
    }
}
