//! Integration tests.

mod cli;
mod faults;
mod laws;
mod resume;
mod saves;
