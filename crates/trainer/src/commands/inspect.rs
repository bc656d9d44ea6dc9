//! `inspect`: what a directory holds, from the headers of its files.

use std::path::Path;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, Checkpoint, SafetensorsFile};
use data::Task;
use model::config::TrunkConfig;
use model::{ClassifierConfig, Dimensions, EncoderDecoderConfig};
use peft::AdapterConfig;
use peft::prompt_learning::{PromptLearningConfig, PromptMethod};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::args::InspectArgs;
use crate::commands::EXIT_DONE;
use crate::console::Console;
use crate::run::purpose::Purpose;
use crate::units::{Bytes, Grouped};

pub(super) fn run(args: &InspectArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    let is_adapter = args.dir.join(ADAPTER_CONFIG).exists();
    let (found, warnings) = if is_adapter { adapter(&args.dir)? } else { (model(&args.dir)?, Vec::new()) };
    warnings.iter().for_each(|warning| console.warning(warning));
    if args.json {
        console.result(&found)?;
    } else {
        let is_set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
        found.iter().filter(|(_, value)| is_set(value)).for_each(|(key, value)| {
            console.line(format_args!("{key:<22} {}", shown(key, value)));
        });
    }
    Ok(EXIT_DONE)
}

fn model(dir: &Path) -> Result<Map<String, Value>, Error> {
    let (dimensions, of_kind) = described(dir)?;
    let Dimensions { model_type, num_layers, hidden_size, intermediate_size, heads, vocab_size, .. } = dimensions;
    let weights = Checkpoint::open(dir)?;
    let files = weights.files();
    let mut found = object(json!({ "kind": "model" }));
    found.extend(summary(files));
    found.extend(object(json!({
        "model_type": model_type,
        "num_hidden_layers": num_layers,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_attention_heads": heads.num_attention_heads,
        "num_key_value_heads": heads.num_key_value_heads,
        "head_dim": heads.head_dim,
        "vocab_size": vocab_size,
        "files": files.iter().filter_map(|file| file.path().file_name()?.to_str()).collect::<Vec<_>>(),
        "tokenizer": dir.join("tokenizer.json").exists(),
        "notes": weights.notes(),
    })));
    found.extend(of_kind);
    Ok(found)
}

/// The sizes of a model of any kind, and what only models of its kind have.
fn described(dir: &Path) -> Result<(Dimensions, Map<String, Value>), Error> {
    if Purpose::of_files(dir, None)?.task == Task::Seq2SeqLm {
        let config = EncoderDecoderConfig::read(dir)?;
        return Ok((config.dimensions(), object(json!({ "num_decoder_layers": config.num_decoder_layers }))));
    }
    let config = ClassifierConfig::read(dir)?;
    let dimensions = config.dimensions();
    let of_kind = match config.trunk {
        TrunkConfig::Decoder(decoder) => object(json!({
            "max_position_embeddings": decoder.max_position_embeddings,
            "tie_word_embeddings": decoder.tie_word_embeddings,
        })),
        TrunkConfig::Encoder(encoder) => object(json!({
            "max_position_embeddings": encoder.max_position_embeddings,
            "labels": config.labels.names(),
        })),
    };
    Ok((dimensions, of_kind))
}

fn adapter(dir: &Path) -> Result<(Map<String, Value>, Vec<String>), Error> {
    let directory = AdapterDirectory::open(dir)?;
    let (config, warnings) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    let mut found = object(json!({ "kind": "adapter" }));
    found.extend(summary(std::slice::from_ref(&directory.weights)));
    match config {
        AdapterConfig::Lora(lora) => found.extend(object(json!({
            "peft_type": "LORA",
            "base_model": lora.common.base_model_name_or_path,
            "task_type": lora.common.task_type,
            "r": lora.r,
            "lora_alpha": lora.lora_alpha,
            "lora_dropout": lora.lora_dropout,
            "use_rslora": lora.use_rslora,
            "use_dora": lora.use_dora,
            "target_modules": lora.target_modules,
            "modules_to_save": lora.modules_to_save,
            "bias": lora.bias,
        }))),
        AdapterConfig::Ia3(ia3) => found.extend(object(json!({
            "peft_type": "IA3",
            "base_model": ia3.common.base_model_name_or_path,
            "task_type": ia3.common.task_type,
            "target_modules": ia3.target_modules,
            "feedforward_modules": ia3.feedforward_modules,
            "modules_to_save": ia3.modules_to_save,
        }))),
        AdapterConfig::Bottleneck(bottleneck) => found.extend(object(json!({
            "method": "bottleneck (AdapterHub)",
            "name": bottleneck.name,
            "base_model": bottleneck.model.model_name,
            "model_type": bottleneck.model.model_type,
            "mh_adapter": bottleneck.mh_adapter,
            "output_adapter": bottleneck.output_adapter,
            "cross_adapter": bottleneck.cross_adapter,
            "is_parallel": bottleneck.is_parallel,
            "reduction_factor": bottleneck.reduction_factor,
            "non_linearity": bottleneck.non_linearity,
            "scaling": bottleneck.scaling,
            "leave_out": bottleneck.leave_out,
            "phm_layer": bottleneck.phm_layer,
        }))),
        AdapterConfig::PromptLearning(prompt) => found.extend(prompt_learning(&prompt, &directory)),
        other => {
            found.insert("config".to_owned(), json!(format!("{other:?}")));
        }
    }
    Ok((found, warnings))
}

fn prompt_learning(config: &PromptLearningConfig, directory: &AdapterDirectory) -> Map<String, Value> {
    let mut found = object(json!({
        "peft_type": config.method.peft_type(),
        "base_model": config.common.base_model_name_or_path,
        "task_type": config.common.task_type,
        "num_virtual_tokens": config.num_virtual_tokens,
        "token_dim": config.token_dim,
        "modules_to_save": config.modules_to_save,
    }));
    found.extend(object(match &config.method {
        PromptMethod::PromptTuning(own) => json!({ "prompt_tuning_init": own.prompt_tuning_init }),
        PromptMethod::PrefixTuning(own) => json!({
            "prefix_projection": own.prefix_projection,
            "encoder_state": own.prefix_projection.then_some(directory.encoder_state.is_some()),
        }),
        PromptMethod::PTuning(own) => json!({
            "encoder_reparameterization_type": own.encoder_reparameterization_type,
            "encoder_hidden_size": own.encoder_hidden_size,
            "encoder_state": directory.encoder_state.is_some(),
        }),
    }));
    found
}

/// Tensors, values and types of some files.
fn summary(files: &[SafetensorsFile]) -> Map<String, Value> {
    let tensors = || files.iter().flat_map(SafetensorsFile::tensors);
    let mut dtypes: Vec<String> = tensors().map(|tensor| tensor.dtype().to_string()).collect();
    dtypes.sort_unstable();
    dtypes.dedup();
    object(json!({
        "tensors": tensors().count(),
        "parameters": tensors().map(|tensor| tensor.len() as u64).sum::<u64>(),
        "bytes": tensors().map(|tensor| tensor.bytes().len() as u64).sum::<u64>(),
        "dtypes": dtypes,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn shown(key: &str, value: &Value) -> String {
    match (key, value) {
        ("bytes", Value::Number(n)) => Bytes(n.as_u64().unwrap_or(0)).to_string(),
        ("parameters", Value::Number(n)) => Grouped(n.as_u64().unwrap_or(0)).to_string(),
        (_, Value::Array(items)) => items.iter().map(|item| shown(key, item)).collect::<Vec<_>>().join(", "),
        // Names come from files of strangers.
        (_, Value::String(text)) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        (_, other) => other.to_string(),
    }
}
