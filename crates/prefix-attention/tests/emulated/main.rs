//! The kernels, emulated, against the CPU implementation.

mod agreement;
mod faults;
mod hopper;
mod laws;
mod magnitudes;
mod problem;
