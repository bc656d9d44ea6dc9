//! The modules that LoRA adapts in a model of each family unless told otherwise.

/// PEFT's default `target_modules` of LoRA for a `model_type`; `None` where there is none. PEFT has none for `phi3`, `vit`
/// and `deit`; here it is the two attention projections of the first, and queries and values of the others.
pub fn lora_target_modules(model_type: &str) -> Option<&'static [&'static str]> {
    Some(match model_type {
        "llama" | "llama4" | "mistral" | "mixtral" | "stablelm" | "gemma" | "gemma2" | "gemma3_text" | "qwen2"
        | "qwen3" | "opt" | "gptj" | "gpt_neo" | "bart" | "vit" | "deit" => &["q_proj", "v_proj"],
        "phi" => &["q_proj", "v_proj", "fc1", "fc2"],
        "phi3" => &["qkv_proj", "o_proj"],
        "gpt2" | "gpt_bigcode" => &["c_attn"],
        "gpt_neox" | "bloom" | "falcon" | "RefinedWeb" | "RefinedWebModel" | "chatglm" => &["query_key_value"],
        "t5" | "mt5" => &["q", "v"],
        "bert" | "roberta" | "xlm-roberta" | "electra" | "layoutlm" => &["query", "value"],
        "deberta-v2" => &["query_proj", "value_proj"],
        "deberta" => &["in_proj"],
        "blip-2" => &["q", "v", "q_proj", "v_proj"],
        "btlm" => &["c_proj", "c_attn"],
        "codegen" => &["qkv_proj"],
        "mpt" => &["Wqkv"],
        _ => return None,
    })
}
