//! The files beside the weights that make a directory a model: configuration, tokenizer, chat template.

use std::path::Path;

use checkpoint::{CheckpointError, read_json, read_text};
use data::Task;
use model::Base;
use serde_json::{Map, Value, json};

use super::purpose::Purpose;

/// Files that are copied as they are, where a model has them.
const TEXTS: [&str; 10] = [
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];
const CONFIG: &str = "config.json";
/// The largest of them, a tokenizer, is smaller.
const LIMIT: u64 = 256 << 20;

/// The companions of the model in `dir`, `config.json` first, with `change` made to it.
///
/// # Errors
/// One cannot be read.
pub fn of_model(
    dir: &Path,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<Vec<(&'static str, String)>, CheckpointError> {
    let mut config: Map<String, Value> = read_json(&dir.join(CONFIG), LIMIT)?;
    change(&mut config);
    let mut files = vec![(CONFIG, serde_json::to_string_pretty(&config).unwrap_or_default() + "\n")];
    for name in TEXTS {
        let path = dir.join(name);
        if path.exists() {
            files.push((name, read_text(&path, LIMIT)?));
        }
    }
    Ok(files)
}

/// Says in `config.json` what a model with a head of its own is for.
pub fn set_purpose(config: &mut Map<String, Value>, purpose: &Purpose, base: &Base) {
    let class = base.dimensions().architecture;
    let family = ["ForCausalLM", "LMHeadModel", "Model"].iter().find_map(|end| class.strip_suffix(end));
    let family = family.unwrap_or(class);
    let class = match purpose.task {
        Task::SequenceClassification => format!("{family}ForSequenceClassification"),
        Task::TokenClassification => format!("{family}ForTokenClassification"),
        Task::ImageClassification => class.to_owned(),
        Task::CausalLm | Task::Seq2SeqLm | Task::FeatureExtraction => return,
    };
    purpose.write_labels(config);
    config.insert("architectures".to_owned(), json!([class]));
}

/// Says in `config.json` that the weights are stored in `dtype`.
pub fn set_dtype(config: &mut Map<String, Value>, dtype: &str) {
    let key = if config.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
    config.insert(key.to_owned(), Value::from(dtype));
}
