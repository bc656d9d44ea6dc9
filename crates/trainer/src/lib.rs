//! Trainer library and the tunesmith binary.
#![forbid(unsafe_code)]

pub mod args;
pub mod config;
pub mod console;
pub mod internal;
pub mod memory;
pub mod run;
pub mod schedule;
pub mod signals;
pub mod units;
