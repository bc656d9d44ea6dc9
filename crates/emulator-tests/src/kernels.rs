//! The kernels of `cuda/emulator-tests`.

use crate::params::ProbeParams;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
