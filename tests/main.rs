//! Integration tests.

mod cli;
mod faults;
mod laws;
mod memory;
mod resume;
mod saves;
