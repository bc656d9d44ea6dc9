//! Trainer library and the tunesmith binary.
#![forbid(unsafe_code)]

pub mod config;
pub mod schedule;
