//! Names of tensors in PEFT's files.

/// What PEFT puts before the base model's own names.
pub const PREFIX: &str = "base_model.model.";

/// The key of `suffix` (such as `lora_A.weight`) of the module `module` in the base model.
pub fn key(module: &str, suffix: &str) -> String {
    format!("{PREFIX}{module}.{suffix}")
}

/// `key` without the name of an adapter, which files written by hand from a running model still have:
/// `lora_A.default.weight` and `lora_embedding_A.default` for `lora_A.weight` and `lora_embedding_A`.
pub fn without_adapter_name(key: &str) -> String {
    let key = key.replace(".modules_to_save.default.", ".");
    // In a running model DoRA's norms are the weight of a module.
    if let Some(module) = key.strip_suffix("lora_magnitude_vector.default.weight") {
        return format!("{module}lora_magnitude_vector");
    }
    match key.strip_suffix(".default") {
        Some(start) => start.to_owned(),
        None => key.replace(".default.", "."),
    }
}

/// Whether PEFT writes the key and does not read it: with `bias` it saves the biases of a module in `modules_to_save` a second
/// time, and those that the module had in the base.
pub(crate) fn is_repeated(key: &str) -> bool {
    key.contains(".original_module.")
        || key.contains(".modules_to_save.") && !key.contains(".modules_to_save.default.") && key.ends_with("bias")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_peft() {
        let key = key("model.layers.0.self_attn.q_proj", "lora_A.weight");
        assert_eq!(key, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
        assert_eq!(without_adapter_name(&key), key);
        assert_eq!(without_adapter_name("m.q_proj.lora_A.default.weight"), "m.q_proj.lora_A.weight");
        assert_eq!(without_adapter_name("m.embed.lora_embedding_A.default"), "m.embed.lora_embedding_A");
        assert_eq!(without_adapter_name("q.lora_magnitude_vector.default.weight"), "q.lora_magnitude_vector");
        assert_eq!(without_adapter_name("m.lm_head.modules_to_save.default.weight"), "m.lm_head.weight");
        assert!(is_repeated("m.classifier.modules_to_save.dense.bias") && is_repeated("m.norm.original_module.bias"));
        assert!(!is_repeated("m.lm_head.modules_to_save.default.bias") && !is_repeated("m.lm_head.bias"));
    }
}
