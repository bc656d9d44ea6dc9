//! The kernels of `cuda/transformer`.

use super::params::{
    GatedBackwardParams, GatedForwardParams, RmsNormBackwardParams, RmsNormForwardParams, RmsNormSumParams,
    RmsNormWeightParams, RopeParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
