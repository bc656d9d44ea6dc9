//! The products as kernels, on a GPU or emulated: the same functions over [`DeviceBuffer`]s.
//!
//! On Hopper, large bf16 products go through `wgmma` ([`sums_on_hopper`]).
//!
//! `A` and `B` are both f32 or both bf16, as stored or transposed; `C` is of their type or f32. bf16 products run on tensor
//! cores. Sums are f32 and rounded once where `C` is stored, with the error bound of the CPU implementation; a tensor core
//! may truncate where that one rounds, which doubles the bound.

mod hopper;
mod kernels;
mod matrix;
mod params;
mod plan;
mod product;
mod scale;
mod slabs;

use device::launch::{Built, DeviceBuffer};

pub use hopper::{Sum, sums_on_hopper};
pub use matrix::{Matrix, MatrixMut};
pub use product::{column_sums, gemm};
pub use scale::{ColumnScale, gemm_scaled};
pub use slabs::{Slabs, sum_slabs};

/// What the build made of the kernels: with one nvcc, of those of every crate.
pub fn built() -> &'static Built {
    &kernels::GEMM_F32.image().built
}

/// What the product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Update<'a> {
    /// `C = alpha A B`. `C` is not read.
    Overwrite,
    /// `C += alpha A B`.
    Accumulate,
    /// `C = alpha A B + bias`, with the same `[n]`, of the type of `A`, added to every row. `C` is not read.
    Bias(&'a DeviceBuffer),
}
