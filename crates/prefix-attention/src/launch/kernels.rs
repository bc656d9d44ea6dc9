//! The kernels of `cuda/prefix-attention`.

use super::params::{
    AttentionBiasParams, AttentionDeltaParams, AttentionForwardParams, AttentionGradBiasParams, AttentionGradKvParams,
    AttentionGradQParams, AttentionSumBiasParams, AttentionSumParams, AttentionWgmmaParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
