//! The kernels of `cuda/ia3`.

use super::params::{Ia3BackwardParams, Ia3ScaleParams, Ia3SumParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
