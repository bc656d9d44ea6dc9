//! The kernels of `cuda/prefix-attention`.

use super::params::{
    AttentionBiasParams, AttentionDeltaParams, AttentionForwardParams, AttentionGradKvParams, AttentionGradQParams,
    AttentionSumParams, AttentionWgmmaParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
