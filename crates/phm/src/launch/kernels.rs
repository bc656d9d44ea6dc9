//! The kernels of `cuda/phm`.

use super::params::PhmParams;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
