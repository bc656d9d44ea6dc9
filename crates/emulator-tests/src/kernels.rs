//! The kernels of `cuda/emulator-tests`.

use crate::params::{HopperProbeParams, ProbeParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
