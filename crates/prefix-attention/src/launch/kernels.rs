//! The kernels of `cuda/prefix-attention`.

use super::params::{
    AttentionDeltaParams, AttentionForwardParams, AttentionGradKvParams, AttentionGradQParams, AttentionSumParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
