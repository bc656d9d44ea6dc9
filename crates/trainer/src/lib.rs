//! Trainer library and the tunesmith binary.
