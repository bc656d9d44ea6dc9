//! Intel AMX: products of bf16 tiles with f32 sums, sixteen times the rate of f32 vectors.
//!
//! An f32 is the sum of three bf16 exactly, an f16 of two, a bf16 of itself: each piece is the rest so far, rounded to
//! eight bits. A product of two numbers is the sum of the products of their pieces, of which those are computed that
//! matter to an f32: with pieces numbered from the largest, `a_i b_j` for `i + j <= 2`. What is left out is below
//! `2^-23 |a b|`. So f32 against bf16 takes three tile products, f32 against f32 takes six, and both keep the accuracy of
//! f32: Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
//! Computations".
//!
//! Tiles treat subnormal numbers as zero, so pieces below `2^-126` are lost: an error of that size, not a relative one.
//! Numbers that round to more than the largest bf16, `3.39e38`, count as infinite, and infinities give NaN.

mod pack;
mod tile;

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use device::DType;
use half::bf16;

use crate::kernel::{Kernel, Panel, Side, Sums, Tile};
use crate::problem::Problem;
use crate::simd::{Isa, Source, avx512};

/// Rows or columns of a tile register.
const TILE: usize = 16;
/// Depth of a tile register: bf16 in its 64 bytes.
const DEPTH: usize = 32;
/// Lines of a panel: two tiles, so that four sums share the loads of two tiles of each operand.
const LINES: usize = 2 * TILE;
/// Elements of a tile of an operand.
const TILE_ELEMENTS: usize = TILE * DEPTH;
/// Products of less depth than this are left to vectors: rounding six products for each depth of 32 stays within the bound
/// of a sum in order only from here on, and packing does not pay below.
pub(crate) const LEAST_DEPTH: usize = 64;

/// How many bf16 sum up to a number of this type.
const fn pieces(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 3,
        DType::F16 => 2,
        DType::BF16 => 1,
    }
}

/// Proof that the tiles are there, that this process may use them, and that AVX-512 is there to pack.
#[derive(Clone, Copy)]
pub(crate) struct Amx(avx512::Avx512);

impl Amx {
    /// `None` if this machine or its kernel lacks it.
    pub(crate) fn detect() -> Option<Self> {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        let available = *AVAILABLE.get_or_init(|| {
            let can_pack = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16");
            can_pack && has_tiles() && request_permission()
        });
        avx512::Avx512::detect().filter(|_| available).map(Self)
    }
}

/// Asks the processor for bf16 tiles.
fn has_tiles() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let features = __cpuid_count(7, 0).edx;
    features & AMX_BF16 != 0 && features & AMX_TILE != 0
}

/// Asks Linux to keep tile registers for the threads of this process, which it does for those that ask.
fn request_permission() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call sets a permission of this process and touches no memory; kernels that lack it return an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// The operand of `ldtilecfg`: all eight tiles as large as they can be.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Tiles are configured on this thread for as long as it lives.
struct Session;

impl Session {
    fn new(_: Amx) -> Self {
        // SAFETY: an `Amx` exists, so the instruction does; its operand is a valid configuration of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly)) };
        Self
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: as above. Released tiles cost nothing when the thread is switched.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

impl Kernel for Amx {
    type Packed = bf16;
    const PANEL: [usize; 2] = [LINES; 2];
    const PANEL_UNIT: [usize; 2] = [TILE; 2];
    const DEPTH_UNIT: usize = DEPTH;
    const BLOCK_PANELS: [usize; 2] = [8, 16];
    const STAYS: Side = Side::A;
    // Of 48 KiB; the others, which go by, need room as well.
    const STAYING_BYTES: usize = 40 << 10;
    const AHEAD: usize = 24;

    fn block_depth(self, [a, _]: [DType; 2]) -> usize {
        // So that a panel of `A` has room for a block, and for the shallow one of a low-rank product behind it.
        match pieces(a) {
            1 => 512,
            2 => 256,
            _ => 128,
        }
    }

    fn stride(self, _side: Side, dtype: DType) -> usize {
        LINES * pieces(dtype)
    }

    unsafe fn pack<T: Source>(self, panel: &Panel<T>, out: &mut [bf16]) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { pack::pack(panel, out) }
    }

    unsafe fn tile(self, tile: &Tile<bf16>) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { tile::compute(tile) }
    }

    unsafe fn write(self, sums: &Sums) {
        // SAFETY: the caller's.
        unsafe { Kernel::write(self.0, sums) }
    }

    /// A long `A` whose rows would have to be transposed goes the other way, where it need not be.
    fn prefers_transposed(self, p: &Problem) -> bool {
        p.n <= LINES && p.n < p.m && !p.terms.iter().any(|term| term.a.depth_is_contiguous)
    }

    fn session<R>(self, body: impl FnOnce() -> R) -> R {
        let _session = Session::new(self);
        body()
    }
}
