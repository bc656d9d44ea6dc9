//! The kernels of `cuda/gemm`.

use super::params::{GemmParams, GemmSumParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
