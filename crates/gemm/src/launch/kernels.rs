//! The kernels of `cuda/gemm`.

use super::params::{GemmParams, GemmSumParams, GemmWgmmaParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
