//! The ground every kernel stands on: devices, dtypes, memory, threads and counter-based random numbers.
//!
//! | concept | here |
//! |---|---|
//! | where a tensor lives | [`Device`] |
//! | how its elements are stored | [`DType`], [`Element`], [`Elements`], [`ElementsMut`] |
//! | reusable memory of activations | [`Buffer`], [`pool`] |
//! | frozen bytes, borrowed from a mapped file | [`SharedBytes`] |
//! | a parallel loop whose result does not depend on the number of threads | [`parallel`] |
//! | random numbers that depend on a key and a position only | [`philox`] |
//! | kernels on a GPU or emulated, and their memory | [`launch`] |
//! | a loop compiled for each instruction set, and what it calls | [`simd`], [`math`] |
//! | tile registers of Intel AMX | [`tiles`] |
//!
//! This is the only crate that names `cudarc`.

mod block;
mod buffer;
mod bytes;
pub mod cuda;
mod device;
mod dtype;
mod error;
pub mod launch;
pub mod math;
pub mod parallel;
pub mod philox;
pub mod pool;
pub mod simd;
pub mod tiles;

pub use buffer::Buffer;
pub use bytes::SharedBytes;
pub use device::Device;
pub use dtype::{DType, Element, Elements, ElementsMut};
pub use error::DeviceError;
