//! The kernels, emulated, against the CPU implementation.

mod blocks;
mod faults;
mod products;
mod support;
