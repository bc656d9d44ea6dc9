//! The kernels of `cuda/lora`.

use super::params::LoraParams;

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
