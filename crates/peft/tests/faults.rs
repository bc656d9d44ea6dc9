//! Adapter directories that do not suit the model: the message names the file and the key.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use support::{data, decoder};
use tunesmith_peft::lora::{Lora, LoraConfig};
use tunesmith_peft::{ModuleNames, PeftError, open};

/// A copy of a recorded adapter of the Llama base with some keys of its configuration set.
fn edited(edits: &[(&str, Value)]) -> tempfile::TempDir {
    let (from, to) = (data("peft/llama-lora"), tempfile::tempdir().unwrap());
    let mut config: Map<String, Value> = checkpoint::read_json(&from.join("adapter_config.json"), 1 << 20).unwrap();
    config.extend(edits.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    std::fs::write(to.path().join("adapter_config.json"), Value::Object(config).to_string()).unwrap();
    std::fs::copy(from.join("adapter_model.safetensors"), to.path().join("adapter_model.safetensors")).unwrap();
    to
}

fn refusal(dir: &Path) -> PeftError {
    match open(dir, decoder("peft/base-llama").base()) {
        Err(error) => error,
        Ok(_) => panic!("{} was accepted", dir.display()),
    }
}

#[test]
fn a_configuration_that_does_not_suit_the_model_is_named() {
    for (key, value, expected) in [
        ("target_modules", json!(["query"]), "`target_modules` `query` means no module of this model"),
        ("target_modules", json!("q_proj("), "`target_modules`: the regular expression `q_proj(` cannot be used"),
        ("target_modules", json!(["input_layernorm"]), "which is a norm"),
        ("modules_to_save", json!(["score"]), "`modules_to_save` names `score`"),
        ("init_lora_weights", json!("pissa_niter_4"), "with path_initial_model_for_weight_conversion"),
        ("rank_pattern", json!({"[": 4}), "`rank_pattern`: the regular expression `[` cannot be used"),
    ] {
        let dir = edited(&[(key, value)]);
        let message = refusal(dir.path()).to_string();
        let file = dir.path().join("adapter_config.json").display().to_string();
        assert!(message.starts_with(&file) && message.contains(expected), "{message}");
    }
}

#[test]
fn a_pattern_for_every_module_of_a_large_model_is_compiled_once() {
    let rank_pattern = (0..1000).map(|i| (format!(r"model\.layers\.{i}\.self_attn\.q_proj"), 4)).collect();
    let target_modules = Some(ModuleNames::Pattern("all-linear".to_owned()));
    let config = LoraConfig { rank_pattern, target_modules, ..LoraConfig::default() };
    let begun = Instant::now();
    let (lora, _) = Lora::new(config, decoder("peft/base-llama").base(), 0).unwrap();
    assert_eq!(lora.adapted().count(), 14);
    // A thousand patterns take a third of a second; compiled anew for each of the 14 modules it was a dozen seconds.
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
}
