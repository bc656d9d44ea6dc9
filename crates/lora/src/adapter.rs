//! The trainable side of a projection.

use crate::shape::{check, check_optional};
use crate::{Dropout, LoraError, LoraShape};

/// What LoRA adds to a base weight.
#[derive(Clone, Copy, Debug)]
pub struct Adapter<'a> {
    /// `A`, `[rank, in_features]`.
    pub lora_a: &'a [f32],
    /// `B`, `[out_features, rank]`.
    pub lora_b: &'a [f32],
    /// Bias of the second product, `[out_features]`: PEFT's `lora_bias`.
    pub lora_bias: Option<&'a [f32]>,
    /// `alpha / rank`, or `alpha / sqrt(rank)` with rsLoRA.
    pub scaling: f32,
    /// Dropout of the adapter's input; `None` in evaluation.
    pub dropout: Option<Dropout>,
}

impl Adapter<'_> {
    pub(crate) fn check(&self, shape: &LoraShape) -> Result<(), LoraError> {
        check("lora_a", shape.a(), self.lora_a.len())?;
        check("lora_b", shape.b(), self.lora_b.len())?;
        check_optional("lora_bias", shape.bias(), self.lora_bias.map(<[f32]>::len))
    }

    /// The dropout, if it drops anything.
    pub(crate) fn active_dropout(&self) -> Option<Dropout> {
        self.dropout.filter(|dropout| !dropout.is_identity())
    }
}
