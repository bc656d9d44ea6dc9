//! The kernels, emulated, against the CPU implementation.

mod agreement;
mod faults;
mod laws;
mod magnitudes;
mod problem;
