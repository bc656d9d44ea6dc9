//! Trainer library and the `tunesmith` binary: it composes the other crates into commands.
//!
//! | concept | here |
//! |---|---|
//! | what a run is: a TOML file and flags | [`config`] |
//! | the command line | [`args`], [`run_command_line`] |
//! | what ends a command early, and its exit code | [`Error`] |
//! | one training run and the files it writes | [`run`] |
//! | the learning rate of each step | [`schedule`] |
//! | what the user reads | [`console`], [`units`] |

#![forbid(unsafe_code)]

pub mod args;
mod commands;
pub mod config;
pub mod console;
mod error;
mod exit_code;
pub mod generation;
pub mod internal;
pub mod memory;
mod quickstart;
pub mod run;
pub mod sampling;
pub mod schedule;
pub mod signals;
pub mod units;

pub use commands::run_command_line;
pub use error::Error;
