//! Plain Rust for every other machine: four lanes, which compilers keep in one 128-bit register.

use device::Element;
use half::{bf16, f16};

use super::{Isa, Source, Vector, axpy, dot, pack, tile, write};
use crate::kernel::{Panel, Sums, Tile};
use crate::narrow::{Block, StripSums};

/// Needs nothing.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Four lanes.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub(crate) struct F32x4([f32; 4]);

impl F32x4 {
    #[inline(always)]
    unsafe fn widen<T: Element>(from: *const T) -> Self {
        // SAFETY: the caller vouches for four elements.
        Self(std::array::from_fn(|i| unsafe { (*from.add(i)).to_f32() }))
    }
}

// SAFETY: plain Rust that touches four elements at its pointer.
unsafe impl Vector for F32x4 {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for four elements.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: the caller's.
        unsafe { Self::widen(from) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        // SAFETY: the caller's.
        unsafe { Self::widen(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for four elements.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        Self(self.0.map(|x| <bf16 as Element>::from_f32(x).to_f32()))
    }

    #[inline(always)]
    unsafe fn store_upper_halves(self, to: *mut bf16) {
        let halves = self.0.map(|x| bf16::from_bits((x.to_bits() >> 16) as u16));
        // SAFETY: the caller vouches for four elements.
        unsafe { to.cast::<[bf16; 4]>().write_unaligned(halves) }
    }

    /// Not fused: without the instruction, a fused operation is a call into the mathematics library.
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * factor.0[i] + addend.0[i]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        let (a, b) = (self.0, other.0);
        (Self([a[0], b[0], a[1], b[1]]), Self([a[2], b[2], a[3], b[3]]))
    }
}

type TileKernel = unsafe fn(&Tile<f32>);

/// Kernels by registers along a row, then by rows.
const TILES: [[TileKernel; 4]; 2] = [
    [
        tile::compute::<Portable, 1, 1>,
        tile::compute::<Portable, 2, 1>,
        tile::compute::<Portable, 3, 1>,
        tile::compute::<Portable, 4, 1>,
    ],
    [
        tile::compute::<Portable, 1, 2>,
        tile::compute::<Portable, 2, 2>,
        tile::compute::<Portable, 3, 2>,
        tile::compute::<Portable, 4, 2>,
    ],
];

impl Isa for Portable {
    type Vector = F32x4;
    const TILE_ROWS: usize = 4;

    fn detect() -> Option<Self> {
        Some(Self)
    }

    #[inline]
    unsafe fn compute_tile(self, tile: &Tile<f32>) {
        // SAFETY: the caller's.
        unsafe { TILES[tile::vectors::<Self>(tile) - 1][tile.size[0] - 1](tile) }
    }

    unsafe fn pack_panel<T: Source>(self, panel: &Panel<T>, stride: usize, out: &mut [f32]) {
        // SAFETY: the caller's.
        unsafe { pack::pack::<F32x4, T>(panel, stride, out) }
    }

    unsafe fn write_sums(self, sums: &Sums) {
        // SAFETY: the caller's.
        unsafe { write::write::<F32x4>(sums) }
    }

    unsafe fn dot<T: Source>(self, block: &Block<T>) {
        // SAFETY: the caller's.
        unsafe { dot::dot::<F32x4, T>(block) }
    }

    unsafe fn axpy<T: Source>(self, block: &Block<T>, sums: &mut StripSums) {
        // SAFETY: the caller's.
        unsafe { axpy::axpy::<F32x4, T>(block, sums) }
    }
}
