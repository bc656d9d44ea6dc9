//! Instruction sets: what the micro-kernels need of one, and which ones this machine has.

#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), path = "no_amx.rs")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

pub(crate) use amx::{Amx, TileSession};
use device::simd::{Isa, Kernel};

use crate::dots::Dots;
use crate::product::{Product, Tile};
use crate::transpose::Transpose;

/// Lanes of the widest register: leading sizes of the working set are multiples of it, so that no kernel has a tail.
pub(crate) const MAX_LANES: usize = 16;

/// One register of f32 lanes.
///
/// # Safety
/// Methods may only be called where the instruction set is available; pointers must be valid for [`Vector::LANES`]
/// elements.
pub(crate) unsafe trait Vector: Copy {
    /// Lanes of a register: a power of two that divides [`MAX_LANES`].
    const LANES: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The lanes of both in turn: lower halves first, then upper halves.
    unsafe fn zip(self, other: Self) -> (Self, Self);
}

/// A register tile of a product, for one number of rows and of registers along a row.
type TileKernel = unsafe fn(&Tile);

/// Micro-kernels compiled for one instruction set.
///
/// A value is proof that the machine has it: the only way to one is [`InstructionSet::available`].
#[derive(Clone, Copy)]
pub(crate) struct InstructionSet {
    kernels: &'static Kernels,
    /// Tiles beside the vectors.
    amx: Option<Amx>,
}

struct Kernels {
    name: &'static str,
    lanes: usize,
    /// By registers along a row, then by rows.
    tiles: &'static [&'static [TileKernel]],
    transpose: unsafe fn(&Transpose<'_>, *mut f32),
    dots: unsafe fn(&Dots<'_>, *mut f32),
    level: Level,
}

/// Which copy of an elementwise loop belongs to the set.
#[derive(Clone, Copy)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// All that this machine has, widest first; never empty.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [
            is_x86_feature_detected!("avx512f").then_some(&avx512::KERNELS),
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(&avx2::KERNELS),
        ];
        #[cfg(target_arch = "aarch64")]
        let vector = [std::arch::is_aarch64_feature_detected!("neon").then_some(&neon::KERNELS)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let vector: [Option<&'static Kernels>; 0] = [];
        let widest = vector.into_iter().flatten().next();
        let tiles = Amx::detect().zip(widest).map(|(amx, kernels)| Self { kernels, amx: Some(amx) });
        let vector = vector.into_iter().flatten().chain([&portable::KERNELS]);
        tiles.into_iter().chain(vector.map(|kernels| Self { kernels, amx: None }))
    }

    /// The widest that this machine has.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self { kernels: &portable::KERNELS, amx: None })
    }

    /// Tiles, if they are part of the set.
    pub(crate) fn amx(self) -> Option<Amx> {
        self.amx
    }

    /// Runs an elementwise loop compiled for this set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.kernels.level {
            Level::Portable => portable::run(kernel),
            // SAFETY: `self` proves that the machine has it, here and below.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { avx512::run(kernel) },
        }
    }

    /// Computes `product`.
    pub(crate) fn product(self, product: Product<'_>) {
        product.for_each_tile(
            self.kernels.lanes,
            self.kernels.tiles[0].len(),
            self.kernels.tiles.len(),
            |tile, rows, vectors| {
                // SAFETY: `self` proves the instruction set, and `for_each_tile` checked the operands.
                unsafe { self.kernels.tiles[vectors - 1][rows - 1](tile) }
            },
        );
    }

    /// Computes `transpose` into `out`.
    pub(crate) fn transpose(self, transpose: Transpose<'_>, out: &mut [f32]) {
        transpose.check(out);
        // SAFETY: `self` proves the instruction set, and the operands were just checked.
        unsafe { (self.kernels.transpose)(&transpose, out.as_mut_ptr()) }
    }

    /// Computes `dots` into `out`.
    pub(crate) fn dots(self, dots: Dots<'_>, out: &mut [f32]) {
        dots.check(out);
        // SAFETY: as above.
        unsafe { (self.kernels.dots)(&dots, out.as_mut_ptr()) }
    }
}

impl std::fmt::Debug for InstructionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.amx.is_some() { "amx" } else { self.kernels.name })
    }
}

/// Hints that `values` are read after a while.
pub(crate) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(MAX_LANES) {
        // SAFETY: part of every x86-64; a hint that reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// An elementwise loop where the instruction set has no wide vectors or the compiler knows them by itself.
#[cfg(target_arch = "aarch64")]
type Baseline = device::simd::Fused;
/// An elementwise loop where the instruction set has no fused multiply-add.
#[cfg(not(target_arch = "aarch64"))]
type Baseline = device::simd::Separate;

/// `a * b + c` of the default instruction set.
#[inline(always)]
fn baseline_mul_add(a: f32, b: f32, c: f32) -> f32 {
    Baseline::mul_add(a, b, c)
}
