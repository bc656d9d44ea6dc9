//! Shared by the benchmarks: inputs, shapes of real models, throughput units.
