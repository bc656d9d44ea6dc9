//! The kernels of `cuda/adamw`.

use super::params::{AdamWClipParams, AdamWStep8bitParams, AdamWStepParams, AdamWSumOfSquaresParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
