//! Intel AMX: products of bf16 tiles with f32 sums. Vectors do the rest, so it comes with AVX-512.

use std::arch::asm;

use device::tiles::{Session, Tiles};

use crate::pieces::{EXACT, LINES, NEAREST, TILE_WORDS, TileProduct, chunk_words};

/// Proof that tiles of bf16 are there, and that this process may use them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amx(Tiles);

impl Amx {
    pub(super) fn detect() -> Option<Self> {
        Tiles::detect().filter(|tiles| tiles.has_bf16()).map(Self)
    }

    /// Lets this thread compute products for as long as the result lives. No session is begun within another.
    pub(crate) fn session(self) -> TileSession {
        TileSession(self.0.session())
    }
}

/// This thread's tiles are configured.
pub(crate) struct TileSession(Session);

/// `asm!` that computes the lines for each chunk between loading the sums, or zeros, into tmm0 to tmm3, the quarters of `out`, and
/// storing them.
macro_rules! on_chunks {
    ($product:ident, [$($line:literal,)*]) => {{
        let TileProduct { a, b, chunks, out, out_row, cols, adds } = $product;
        // A product of 16 columns computes them twice, and writes them twice.
        let (b_right, right) = if cols == LINES { (TILE_WORDS, LINES / 2) } else { (0, 0) };
        let (b, out) = (b.as_ptr(), out.as_mut_ptr());
        let lower = out.add(LINES / 2 * out_row);
        asm!(
            "test {adds:e}, {adds:e}",
            "jz 2f",
            "tileloadd tmm0, [{out} + {out_row}]",
            "tileloadd tmm1, [{out_right} + {out_row}]",
            "tileloadd tmm2, [{lower} + {out_row}]",
            "tileloadd tmm3, [{lower_right} + {out_row}]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            $($line,)*
            "add {a}, {chunk_bytes}",
            "add {b}, {chunk_bytes}",
            "add {b_right}, {chunk_bytes}",
            "dec {chunks}",
            "jnz 3b",
            "tilestored [{out} + {out_row}], tmm0",
            "tilestored [{out_right} + {out_row}], tmm1",
            "tilestored [{lower} + {out_row}], tmm2",
            "tilestored [{lower_right} + {out_row}], tmm3",
            adds = in(reg) u32::from(adds),
            a = inout(reg) a.as_ptr() => _,
            b = inout(reg) b => _,
            b_right = inout(reg) b.add(b_right) => _,
            row = in(reg) 64usize,
            chunk_bytes = const chunk_words(PIECES) * size_of::<u32>(),
            chunks = inout(reg) chunks => _,
            out = in(reg) out,
            out_right = in(reg) out.add(right),
            lower = in(reg) lower,
            lower_right = in(reg) lower.add(right),
            out_row = in(reg) out_row * size_of::<f32>(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    }};
}

impl TileSession {
    /// Computes `product`.
    pub(crate) fn multiply<const PIECES: usize>(&self, product: TileProduct<'_, PIECES>) {
        const { assert!(PIECES == NEAREST || PIECES == EXACT) };
        let Self(_session) = self;
        product.check();
        // SAFETY: a session proves the instructions and the configuration, and the product was just checked.
        unsafe {
            match PIECES {
                NEAREST => nearest(product),
                _ => exact(product),
            }
        }
    }
}

/// For each chunk one product.
///
/// # Safety
/// Tiles are configured and [`TileProduct::check`] passed: the operands hold `chunks` chunks of tiles, and `out` 32 rows of `cols`,
/// which are either 16 or 32.
unsafe fn nearest<const PIECES: usize>(product: TileProduct<'_, PIECES>) {
    // SAFETY: the caller's.
    unsafe {
        on_chunks!(
            product,
            [
                "tileloadd tmm4, [{a} + {row}]",
                "tileloadd tmm6, [{b} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b_right} + {row}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
            ]
        )
    }
}

/// For each chunk the products of pieces whose numbers sum up to at most 2, smaller ones first.
///
/// # Safety
/// As for [`nearest`].
unsafe fn exact<const PIECES: usize>(product: TileProduct<'_, PIECES>) {
    // SAFETY: the caller's.
    unsafe {
        on_chunks!(
            product,
            [
                // Piece 2 of B with piece 0 of A.
                "tileloadd tmm6, [{b} + {row} + 4096]",
                "tileloadd tmm4, [{a} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b_right} + {row} + 4096]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // Piece 1 of B with pieces 0 and 1 of A.
                "tileloadd tmm6, [{b} + {row} + 2048]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b_right} + {row} + 2048]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{a} + {row} + 2048]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {row} + 3072]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                // Piece 0 of B with pieces 1, 2 and 0 of A.
                "tileloadd tmm6, [{b} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b_right} + {row}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{a} + {row} + 4096]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {row} + 5120]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{a} + {row}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {row} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
            ]
        )
    }
}
