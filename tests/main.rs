//! Integration tests.

mod cli;
mod faults;
mod laws;
mod memory;
mod methods;
mod resume;
mod saves;
