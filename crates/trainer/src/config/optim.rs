//! Which optimizer a run takes its steps with.

use serde::Serialize;

use super::value::Choice;

/// How AdamW keeps its moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Optim {
    /// In f32.
    #[serde(rename = "adamw")]
    AdamW,
    /// In 8-bit codes with a scale for each 256, as bitsandbytes' `AdamW8bit` does: a quarter of the memory. Tensors of fewer than
    /// 4096 values and embeddings keep f32, as they do there under transformers' `Trainer`.
    #[serde(rename = "adamw_8bit")]
    AdamW8bit,
}

impl Choice for Optim {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("adamw", Self::AdamW),
        ("adamw_8bit", Self::AdamW8bit),
        // Names that transformers has for the same.
        ("adamw_torch", Self::AdamW),
        ("adamw_torch_fused", Self::AdamW),
        ("adamw_bnb_8bit", Self::AdamW8bit),
    ];
}
