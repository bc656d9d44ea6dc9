//! The kernels of `cuda/lora`.

use super::params::{DoraNormParams, DoraSquaresParams, DropoutParams, LoraParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
