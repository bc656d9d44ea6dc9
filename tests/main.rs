//! Integration tests.

mod cli;
mod laws;
mod resume;
