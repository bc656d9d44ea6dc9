//! The kernels of `cuda/adamw`.

use super::params::{AdamWClipParams, AdamWStepParams, AdamWSumOfSquaresParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
