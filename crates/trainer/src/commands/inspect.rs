//! `inspect`: what a directory holds, from the headers of its files.

use std::collections::BTreeSet;
use std::path::Path;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, Checkpoint, MappedTensor, SafetensorsFile, read_json};
use data::Task;
use model::config::{CONFIG_FILE, TrunkConfig};
use model::{ClassifierConfig, Dimensions, EncoderDecoderConfig, VisionConfig};
use peft::AdapterConfig;
use peft::adalora::RankPattern;
use peft::formats::gguf::GgufAdapter;
use peft::formats::mlx::MLX_WEIGHTS;
use peft::formats::{self, Format};
use peft::pixel_prompt::PixelPromptConfig;
use peft::prompt_learning::{PromptLearningConfig, PromptMethod};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::args::InspectArgs;
use crate::commands::EXIT_DONE;
use crate::console::Console;
use crate::run::purpose::Purpose;
use crate::units::{Bytes, Grouped};

/// The largest configuration that is read.
const LIMIT: u64 = 64 << 20;

pub(super) fn run(args: &InspectArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    let (found, warnings) = match Format::of(&args.dir)? {
        Format::Mlx => (mlx(&args.dir)?, Vec::new()),
        Format::Gguf => (gguf(&args.dir)?, Vec::new()),
        Format::Peft if !args.dir.join(ADAPTER_CONFIG).exists() => (model(&args.dir)?, Vec::new()),
        format => adapter(&args.dir, format)?,
    };
    warnings.iter().for_each(|warning| console.warning(warning));
    if args.json {
        console.result(&found)?;
    } else {
        let is_set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty());
        for (key, value) in found.iter().filter(|(_, value)| is_set(value)) {
            console.answer(format_args!("{key:<22} {}", shown(key, value)))?;
        }
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
        "vocab_size": (vocab_size > 0).then_some(vocab_size),
        "files": files.iter().filter_map(|file| file.path().file_name()?.to_str()).collect::<Vec<_>>(),
        "tokenizer": dir.join("tokenizer.json").exists(),
        "notes": weights.notes(),
    })));
    found.extend(quantization(dir, &weights)?);
    found.extend(of_kind);
    Ok(found)
}

/// The sizes of a model of any kind, and what only models of its kind have.
fn described(dir: &Path) -> Result<(Dimensions, Map<String, Value>), Error> {
    let task = Purpose::of_files(dir, None)?.task;
    if task == Task::Seq2SeqLm {
        let config = EncoderDecoderConfig::read(dir)?;
        return Ok((config.dimensions(), object(json!({ "num_decoder_layers": config.num_decoder_layers }))));
    }
    if task == Task::ImageClassification {
        let config = VisionConfig::read(dir)?;
        let of_kind = object(json!({
            "image_size": config.image_size,
            "patch_size": config.patch_size,
            "num_channels": config.num_channels,
            "labels": config.labels.names(),
        }));
        return Ok((config.dimensions(), of_kind));
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

/// An adapter of mlx-lm, as its files have it.
fn mlx(dir: &Path) -> Result<Map<String, Value>, Error> {
    let config: Map<String, Value> = read_json(&dir.join(ADAPTER_CONFIG), LIMIT)?;
    let weights = SafetensorsFile::open(dir.join(MLX_WEIGHTS))?;
    let parameter = |key: &str| config.get("lora_parameters").and_then(|parameters| parameters.get(key)).cloned();
    let mut found = object(json!({ "kind": "adapter", "format": Format::Mlx.as_str() }));
    found.extend(summary(std::slice::from_ref(&weights)));
    found.extend(object(json!({
        "fine_tune_type": config.get("fine_tune_type"),
        "base_model": config.get("model"),
        "r": parameter("rank"),
        "scale": parameter("scale"),
        "lora_dropout": parameter("dropout"),
        "num_layers": config.get("num_layers"),
        "target_modules": parameter("keys"),
    })));
    Ok(found)
}

/// An adapter of llama.cpp.
fn gguf(path: &Path) -> Result<Map<String, Value>, Error> {
    let GgufAdapter { file, architecture, alpha } = GgufAdapter::open(path)?;
    let of_b: Vec<&MappedTensor> = file.tensors().iter().filter(|tensor| tensor.name().ends_with(".lora_b")).collect();
    let mut ranks: Vec<usize> = of_b.iter().filter_map(|tensor| tensor.shape().last().copied()).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let parts = of_b.iter().filter_map(|tensor| tensor.name().strip_suffix(".weight.lora_b")?.rsplit('.').next());
    let mut parts: Vec<&str> = parts.collect();
    parts.sort_unstable();
    parts.dedup();
    let mut found = object(json!({ "kind": "adapter", "format": Format::Gguf.as_str() }));
    found.extend(summary_of(file.tensors().iter().cloned()));
    found.extend(object(json!({
        "architecture": architecture,
        "lora_alpha": alpha,
        "r": ranks,
        "target_modules": parts,
    })));
    Ok(found)
}

fn adapter(dir: &Path, format: Format) -> Result<(Map<String, Value>, Vec<String>), Error> {
    let directory = formats::read(dir, None)?;
    let (config, warnings) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    let mut found = object(json!({ "kind": "adapter", "format": format.as_str() }));
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
            "trainable_token_indices": lora.trainable_token_indices,
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
        AdapterConfig::LnTuning(own) => found.extend(object(json!({
            "peft_type": "LN_TUNING",
            "base_model": own.common.base_model_name_or_path,
            "task_type": own.common.task_type,
            "target_modules": own.target_modules,
            "modules_to_save": own.modules_to_save,
        }))),
        AdapterConfig::Vera(vera) => found.extend(object(json!({
            "peft_type": "VERA",
            "base_model": vera.common.base_model_name_or_path,
            "task_type": vera.common.task_type,
            "r": vera.r,
            "vera_dropout": vera.vera_dropout,
            "projection_prng_key": vera.projection_prng_key,
            "save_projection": vera.save_projection,
            "target_modules": vera.target_modules,
            "modules_to_save": vera.modules_to_save,
        }))),
        AdapterConfig::AdaLora(adalora) => found.extend(object(json!({
            "peft_type": "ADALORA",
            "base_model": adalora.lora.common.base_model_name_or_path,
            "task_type": adalora.lora.common.task_type,
            "init_r": adalora.init_r,
            "target_r": adalora.target_r,
            "lora_alpha": adalora.lora.lora_alpha,
            "target_modules": adalora.lora.target_modules,
            "modules_to_save": adalora.lora.modules_to_save,
            "ranks": adalora.rank_pattern.as_ref().map(ranks),
        }))),
        AdapterConfig::TrainableTokens(own) => found.extend(object(json!({
            "peft_type": "TRAINABLE_TOKENS",
            "base_model": own.common.base_model_name_or_path,
            "task_type": own.common.task_type,
            "target_modules": own.target_modules,
            "token_indices": own.token_indices,
        }))),
        AdapterConfig::PixelPrompt(prompt) => found.extend(object(json!({
            "peft_type": PixelPromptConfig::PEFT_TYPE,
            "base_model": prompt.common.base_model_name_or_path,
            "pixel_prompt": prompt.pixel_prompt,
            "prompt_size": prompt.prompt_size,
            "modules_to_save": prompt.modules_to_save,
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

/// How many singular values each module is left with.
fn ranks(pattern: &RankPattern) -> Vec<String> {
    let rank = |(name, kept): &(String, Vec<bool>)| {
        let path = name.strip_suffix(".lora_E").unwrap_or(name);
        format!("{path} {}", kept.iter().filter(|kept| **kept).count())
    };
    pattern.iter().map(rank).collect()
}

/// Tensors, values and types of some files.
fn summary(files: &[SafetensorsFile]) -> Map<String, Value> {
    summary_of(files.iter().flat_map(SafetensorsFile::tensors))
}

fn summary_of(tensors: impl Iterator<Item = MappedTensor>) -> Map<String, Value> {
    let (mut count, mut parameters, mut bytes, mut dtypes) = (0u64, 0u64, 0u64, BTreeSet::new());
    for tensor in tensors {
        count += 1;
        parameters += tensor.len() as u64;
        bytes += tensor.bytes().len() as u64;
        dtypes.insert(tensor.dtype().to_string());
    }
    object(json!({ "tensors": count, "parameters": parameters, "bytes": bytes, "dtypes": dtypes }))
}

/// How the weights of a model are quantized, and how many; nothing if none is.
fn quantization(dir: &Path, weights: &Checkpoint) -> Result<Map<String, Value>, Error> {
    let config: Map<String, Value> = read_json(&dir.join(CONFIG_FILE), LIMIT)?;
    let codes = weights.names().filter(|name| name.contains(".quant_state.bitsandbytes__")).count();
    let nested = weights.names().any(|name| name.ends_with(".nested_absmax"));
    let said = config.get("quantization_config").filter(|value| !value.is_null());
    if codes == 0 && said.is_none() {
        return Ok(Map::new());
    }
    let kind = said.and_then(|said| said.get("bnb_4bit_quant_type")).and_then(Value::as_str).unwrap_or("nf4");
    let how = match (codes, said.is_some()) {
        (0, _) => "config.json says so, and no weight is".to_owned(),
        (_, false) => format!("{kind}, which config.json does not say"),
        (_, true) => kind.to_owned(),
    };
    Ok(object(json!({ "quantization": how, "quantized_weights": codes, "double_quant": codes > 0 && nested })))
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
