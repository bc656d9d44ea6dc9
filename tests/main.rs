//! Integration tests.

mod adapters;
mod bottleneck;
mod classifiers;
mod cli;
mod devices;
mod faults;
mod kernels;
mod laws;
mod learning;
mod memory;
mod methods;
mod quantized;
mod resume;
mod saves;
mod seq2seq;
mod token_cache;
mod vision;
