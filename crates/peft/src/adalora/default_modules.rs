//! The modules that AdaLoRA adapts in a model of each family unless told otherwise.

use crate::lora_target_modules;

/// PEFT's default `target_modules` of AdaLoRA for a `model_type`. Where it has none, or its names mean nothing, they are
/// those of LoRA.
pub fn adalora_modules(model_type: &str) -> Option<&'static [&'static str]> {
    match model_type {
        "t5" => Some(&["q", "k", "v", "o", "wi", "wo"]),
        "mt5" => Some(&["q", "k", "v", "o", "wi_0", "wi_1", "wo"]),
        "roberta" => Some(&["query", "key", "value", "dense"]),
        _ => lora_target_modules(model_type),
    }
}
