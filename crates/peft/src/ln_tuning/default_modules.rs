//! The norms that are trained in a model of each family unless told otherwise.

/// PEFT's default `target_modules` of LN tuning for a `model_type`; `None` where there is none. PEFT has none for `phi3`,
/// `gpt_neox`, `vit`, `deit` and the encoders; here they are all of their norms. Of `qwen2` and `qwen3` PEFT trains one norm
/// in two.
pub fn ln_tuning_modules(model_type: &str) -> Option<&'static [&'static str]> {
    Some(match model_type {
        "llama" | "mistral" | "gemma" | "phi3" => &["input_layernorm", "post_attention_layernorm", "norm"],
        "gemma2" | "gemma3_text" => &[
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
            "norm",
        ],
        "qwen2" | "qwen3" => &["post_attention_layernorm"],
        "gpt2" => &["ln_1", "ln_2", "ln_f"],
        "gpt_neox" => &["input_layernorm", "post_attention_layernorm", "final_layer_norm"],
        "t5" | "mt5" => &["layer_norm", "final_layer_norm"],
        "bert" | "roberta" => &["LayerNorm"],
        "vit" | "deit" => &["layernorm_before", "layernorm_after", "layernorm"],
        "distilbert" => &["LayerNorm", "sa_layer_norm", "output_layer_norm"],
        _ => return None,
    })
}
