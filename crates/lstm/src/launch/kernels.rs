//! The kernels of `cuda/lstm`.

use super::params::{LstmBackwardParams, LstmForwardParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
