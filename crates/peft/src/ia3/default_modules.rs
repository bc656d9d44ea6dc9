//! The modules that (IA)^3 scales in a model of each family unless told otherwise.

/// PEFT's default `target_modules` and `feedforward_modules` of (IA)^3 for a `model_type`; `None` where there is none. PEFT has
/// none for `vit` and `deit`; here it is what the paper scales: keys, values and the inputs of an MLP's last projection. For some
/// families PEFT scales queries and not keys.
pub fn ia3_modules(model_type: &str) -> Option<[&'static [&'static str]; 2]> {
    Some(match model_type {
        "llama" | "mistral" => [&["k_proj", "v_proj", "down_proj"], &["down_proj"]],
        "gemma" | "gemma2" | "gemma3_text" | "qwen2" | "qwen3" => [&["q_proj", "v_proj", "down_proj"], &["down_proj"]],
        "gpt2" => [&["c_attn", "mlp.c_proj"], &["mlp.c_proj"]],
        "gpt_neox" => [&["query_key_value", "dense_4h_to_h"], &["dense_4h_to_h"]],
        "t5" => [&["k", "v", "wo"], &["wo"]],
        "mt5" => [&["k", "v", "wi_1"], &[]],
        "vit" | "deit" => [&["k_proj", "v_proj", "fc2"], &["fc2"]],
        "bert" | "roberta" => [&["key", "value", "output.dense"], &["output.dense"]],
        _ => return None,
    })
}
