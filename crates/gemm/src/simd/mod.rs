//! Vector instruction sets: what the kernels need of one, and the kernels written over it.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod axpy;
mod dot;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod pack;
pub(crate) mod portable;
mod tile;
pub(crate) mod transpose;
mod write;

use device::{DType, Element};
use half::{bf16, f16};

use crate::kernel::{Kernel, Panel, Side, Sums, Tile};
use crate::narrow::{Block, StripSums};
use crate::problem::Problem;

/// The widest vector of any instruction set.
pub(crate) const MAX_LANES: usize = 16;

/// One register of f32 lanes.
///
/// # Safety
/// Methods may only be called where the instruction set is available; pointers must be valid for [`Vector::LANES`]
/// elements.
pub(crate) unsafe trait Vector: Copy {
    /// Lanes of a register, a power of two.
    const LANES: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    /// Every lane the element `index` of a depth of a packed panel of `A`, whose elements from there to whole registers are
    /// the panel's too.
    #[inline(always)]
    unsafe fn splat_of_panel(panel: *const f32, index: usize) -> Self {
        // SAFETY: the caller's.
        unsafe { Self::splat(*panel.add(index)) }
    }
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn load_bf16(from: *const bf16) -> Self;
    unsafe fn load_f16(from: *const f16) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// Every lane rounded to the nearest bf16, ties to even. A NaN stays one.
    unsafe fn round_to_bf16(self) -> Self;
    /// The upper halves of the lanes: they are bf16.
    unsafe fn store_upper_halves(self, to: *mut bf16);
    /// `self * factor + addend`.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    /// The lanes of both in turn: lower halves first, then upper halves.
    unsafe fn zip(self, other: Self) -> (Self, Self);
    /// Hints that the cache line of `address` is read after a while. Any address is allowed.
    unsafe fn prefetch(_address: *const f32) {}
}

/// An element type that vectors are loaded from, widened.
pub(crate) trait Source: Copy + Send + Sync + 'static {
    /// The dtype of the values.
    const DTYPE: DType;
    /// The value.
    fn widened(self) -> f32;
    /// # Safety
    /// As for [`Vector`].
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

/// An f32 that is read as the nearest bf16.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(crate) struct Rounded(f32);

impl Source for Rounded {
    const DTYPE: DType = DType::BF16;

    #[inline(always)]
    fn widened(self) -> f32 {
        <bf16 as Element>::from_f32(self.0).to_f32()
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's; the layout is that of an f32.
        unsafe { V::load(from.cast()).round_to_bf16() }
    }
}

impl Source for f32 {
    const DTYPE: DType = DType::F32;

    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's.
        unsafe { V::load(from) }
    }
}

impl Source for bf16 {
    const DTYPE: DType = DType::BF16;

    #[inline(always)]
    fn widened(self) -> f32 {
        Element::to_f32(self)
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's.
        unsafe { V::load_bf16(from) }
    }
}

impl Source for f16 {
    const DTYPE: DType = DType::F16;

    #[inline(always)]
    fn widened(self) -> f32 {
        Element::to_f32(self)
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's.
        unsafe { V::load_f16(from) }
    }
}

/// Loads `count` elements, less than a register, and zeros.
///
/// # Safety
/// `from` is valid for `count < V::LANES` elements, and the instruction set is available.
#[inline(always)]
pub(crate) unsafe fn load_partial<V: Vector, T: Source>(from: *const T, count: usize) -> V {
    let mut lanes = [0.0; MAX_LANES];
    for (i, lane) in lanes[..count].iter_mut().enumerate() {
        // SAFETY: `i < count`.
        *lane = unsafe { (*from.add(i)).widened() };
    }
    // SAFETY: the array is as long as the widest register.
    unsafe { V::load(lanes.as_ptr()) }
}

/// An element type that a result is written in.
pub(crate) trait Destination: Element {
    /// # Safety
    /// As for [`Vector`].
    unsafe fn store<V: Vector>(vector: V, to: *mut Self);
}

impl Destination for f32 {
    #[inline(always)]
    unsafe fn store<V: Vector>(vector: V, to: *mut Self) {
        // SAFETY: the caller's.
        unsafe { vector.store(to) }
    }
}

impl Destination for bf16 {
    #[inline(always)]
    unsafe fn store<V: Vector>(vector: V, to: *mut Self) {
        // SAFETY: the caller's.
        unsafe { vector.round_to_bf16().store_upper_halves(to) }
    }
}

impl Destination for f16 {
    #[inline(always)]
    unsafe fn store<V: Vector>(vector: V, to: *mut Self) {
        // SAFETY: the caller's.
        unsafe { store_partial(vector, to, V::LANES) }
    }
}

/// Stores the first `count` lanes.
///
/// # Safety
/// `to` is valid for `count <= V::LANES` elements, and the instruction set is available.
#[inline(always)]
pub(crate) unsafe fn store_partial<V: Vector, T: Element>(vector: V, to: *mut T, count: usize) {
    let mut lanes = [0.0; MAX_LANES];
    // SAFETY: the array is as long as the widest register, and `to` holds `count`.
    unsafe {
        vector.store(lanes.as_mut_ptr());
        for (i, &lane) in lanes[..count].iter().enumerate() {
            *to.add(i) = T::from_f32(lane);
        }
    }
}

/// The sum of all lanes: halves are added until one is left.
///
/// # Safety
/// The instruction set is available.
#[inline(always)]
pub(crate) unsafe fn sum<V: Vector>(vector: V) -> f32 {
    let mut lanes = [0.0; MAX_LANES];
    // SAFETY: the array is as long as the widest register.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    let mut half = V::LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// An instruction set: its vector, the shape of its register tile, and the kernels compiled for it.
///
/// A value of an implementing type is proof that this machine has the instruction set.
pub(crate) trait Isa: Copy + Send + Sync + 'static {
    type Vector: Vector;
    /// Rows of `C` that a tile covers at most.
    const TILE_ROWS: usize;
    /// Columns of `C` that a tile covers at most: two registers.
    const TILE_COLS: usize = 2 * <Self::Vector as Vector>::LANES;
    /// Elements from one depth to the next in a packed panel of `A`: whole registers, for packing writes those.
    const A_STRIDE: usize = Self::TILE_ROWS.next_multiple_of(<Self::Vector as Vector>::LANES);

    /// `None` if this machine lacks it.
    fn detect() -> Option<Self>;

    /// See [`tile::compute`].
    ///
    /// # Safety
    /// As there.
    unsafe fn compute_tile(self, tile: &Tile<f32>);

    /// See [`pack::pack`].
    ///
    /// # Safety
    /// As there.
    unsafe fn pack_panel<T: Source>(self, panel: &Panel<T>, stride: usize, out: &mut [f32]);

    /// See [`write::write()`].
    ///
    /// # Safety
    /// As there.
    unsafe fn write_sums(self, sums: &Sums);

    /// See [`dot::dot`].
    ///
    /// # Safety
    /// As there.
    unsafe fn dot<T: Source>(self, block: &Block<T>);

    /// See [`axpy::axpy`].
    ///
    /// # Safety
    /// As there.
    unsafe fn axpy<T: Source>(self, block: &Block<T>, sums: &mut StripSums);
}

impl<I: Isa> Kernel for I {
    type Packed = f32;
    const PANEL: [usize; 2] = [I::TILE_ROWS, I::TILE_COLS];
    const PANEL_UNIT: [usize; 2] = [1, <I::Vector as Vector>::LANES];
    const DEPTH_UNIT: usize = 1;
    const BLOCK_PANELS: [usize; 2] = [8, 8];
    const STAYS: Side = Side::B;
    const STAYING_BYTES: usize = 72 << 10;

    fn stride(self, side: Side, _dtype: DType) -> usize {
        match side {
            Side::A => I::A_STRIDE,
            Side::B => I::TILE_COLS,
        }
    }

    fn ahead(self, _dtypes: [DType; 2]) -> usize {
        0
    }

    fn block_depth(self, _dtypes: [DType; 2]) -> usize {
        // A panel of `B` of this depth fits the first- or second-level cache.
        512
    }

    unsafe fn pack<T: Source>(self, panel: &Panel<T>, out: &mut [f32]) {
        // SAFETY: `self` proves the instruction set; the rest is the caller's.
        unsafe { self.pack_panel(panel, self.stride(panel.part.side, T::DTYPE), out) }
    }

    #[inline]
    unsafe fn tile(self, tile: &Tile<f32>) {
        // SAFETY: as above.
        unsafe { self.compute_tile(tile) }
    }

    /// A tile of one register a row would load an element of `A` for each multiplication.
    fn prefers_transposed(self, p: &Problem) -> bool {
        p.n <= <I::Vector as Vector>::LANES && p.n < p.m
    }

    unsafe fn write(self, sums: &Sums) {
        // SAFETY: as above.
        unsafe { self.write_sums(sums) }
    }
}
