//! The kernels of `cuda/lora`.

use super::params::{DoraNormParams, DoraSquaresParams, DropoutParams, LoraParams, OrthogonalityParams};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
