//! Copies of the base's embeddings that PEFT puts into an adapter's file.

mod support;

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{CheckpointError, Dtype, SafetensorsFile, Storage, TensorSpec, write_safetensors};
use half::{bf16, f16};
use model::Decoder;
use support::{data, decoder};
use tunesmith_peft::{AdapterConfig, PeftError, attach, open, save};

/// How an adapter's file is changed: the keys of the copies in it, and what becomes of the base's values.
struct Copies {
    keys: &'static [&'static str],
    value: fn(f32) -> f32,
}

/// A new adapter of `config` for the Llama base, in a file with copies.
fn saved(config: &str, model: &Decoder, copies: &Copies) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter_model.safetensors");
    let (config, _) = AdapterConfig::read(&dir.path().join("adapter_config.json"), config).unwrap();
    let (method, _) = attach(config, model.base(), 1).unwrap();
    save(&*method, &Storage, dir.path()).unwrap();
    let plain = std::fs::read(&path).unwrap();
    std::fs::write(dir.path().join("plain.safetensors"), plain).unwrap();
    let (adapter, base) = (dir.path().join("plain.safetensors"), data("peft/base-llama/model.safetensors"));
    let (adapter, base) = (SafetensorsFile::open(adapter).unwrap(), SafetensorsFile::open(base).unwrap());
    let own = adapter.tensors().filter(|tensor| !copies.keys.iter().any(|key| tensor.name().ends_with(key)));
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> =
        own.map(|tensor| (tensor.name().to_owned(), tensor.shape().to_vec(), tensor.to_f32().unwrap())).collect();
    for key in copies.keys {
        let original = base.get(&key.replace("base_layer.", "")).unwrap();
        let values = original.to_f32().unwrap().iter().map(|value| (copies.value)(*value)).collect();
        tensors.push((format!("base_model.model.{key}"), original.shape().to_vec(), values));
    }
    let spec = |(name, shape, _): &(String, Vec<usize>, Vec<f32>)| TensorSpec {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: shape.clone(),
    };
    let specs: Vec<TensorSpec> = tensors.iter().map(spec).collect();
    write_safetensors::<CheckpointError>(&Storage, &path, &specs, &[], |spec| {
        let (_, _, values) = tensors.iter().find(|(name, _, _)| *name == spec.name).unwrap();
        Ok(Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()))
    })
    .unwrap();
    dir
}

fn keys(dir: &Path) -> Vec<String> {
    let file = SafetensorsFile::open(dir.join("adapter_model.safetensors")).unwrap();
    let mut keys: Vec<String> = file.names().map(str::to_owned).collect();
    keys.sort();
    keys
}

/// Configurations that change the head, and those of every other way to add something.
const CONFIGS: [&str; 8] = [
    r#"{"peft_type": "LORA", "target_modules": ["lm_head", "embed_tokens"]}"#,
    r#"{"peft_type": "IA3", "target_modules": ["lm_head", "q_proj"], "feedforward_modules": []}"#,
    r#"{"peft_type": "VERA", "r": 4, "target_modules": ["lm_head"]}"#,
    r#"{"peft_type": "ADALORA", "total_step": 10, "target_modules": ["lm_head"]}"#,
    r#"{"peft_type": "LORA"}"#,
    r#"{"peft_type": "LN_TUNING"}"#,
    r#"{"peft_type": "IA3", "modules_to_save": ["embed_tokens"]}"#,
    r#"{"peft_type": "TRAINABLE_TOKENS", "token_indices": [3]}"#,
];

#[test]
fn copies_are_compared_with_the_base_and_kept() {
    let model = decoder("peft/base-llama");
    for (index, config) in CONFIGS.into_iter().enumerate() {
        // PEFT's wrapper stands in the name of what is changed.
        let keys_of_copies: &[&str] = match index {
            0..4 => &["lm_head.base_layer.weight"],
            6 => &["lm_head.weight"],
            _ => &["model.embed_tokens.weight", "lm_head.weight"],
        };
        let copies = |value| Copies { keys: keys_of_copies, value };
        let dir = saved(config, &model, &copies(|value| value));
        let (method, _) = open(dir.path(), model.base()).unwrap_or_else(|error| panic!("{config}: {error}"));
        let again = tempfile::tempdir().unwrap();
        save(&*method, &Storage, again.path()).unwrap();
        assert_eq!(keys(again.path()), keys(dir.path()), "{config}");
        let other = saved(config, &model, &copies(|value| value * 1.001));
        let error = open(other.path(), model.base()).err().expect("must be refused");
        assert!(matches!(&error, PeftError::OtherBase { .. }), "{config}: {error}");
    }
}

#[test]
fn copies_may_be_rounded() {
    let model = decoder("peft/base-llama");
    let rounded: [fn(f32) -> f32; 2] = [|value| bf16::from_f32(value).to_f32(), |value| f16::from_f32(value).to_f32()];
    for value in rounded {
        let copies = Copies { keys: &["lm_head.base_layer.weight"], value };
        let dir = saved(CONFIGS[0], &model, &copies);
        open(dir.path(), model.base()).unwrap_or_else(|error| panic!("{error}"));
    }
}
