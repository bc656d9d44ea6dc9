//! The kernels of `cuda/nf4`.

use super::params::{
    Nf4DequantizeParams, Nf4MatvecParams, Nf4NestedParams, Nf4ProductParams, Nf4QuantizeParams, Nf4SumParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
