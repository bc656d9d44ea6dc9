//! LoRA and DoRA adapters of mlx-lm.
//!
//! | key | shape |
//! |---|---|
//! | `<module>.lora_a`, `<module>.lora_b` | `[in, r]`, `[r, out]`; of an embedding `[vocab, r]`, `[r, dim]` |
//! | `<module>.m` (`fine_tune_type` "dora") | `[out]` |
//!
//! `y = W x + scale B^T A^T x` with one `scale` for all modules, which is PEFT's `lora_alpha / r`. Modules are called as in
//! Hugging Face's files, but for GPT-2 and GPT-NeoX. `lora_parameters.keys` names modules within a block, or from the top,
//! and applies to the last `num_layers` blocks; where one of them has no matrices in the file, mlx-lm starts it without effect.
//!
//! Source: `mlx_lm/tuner` of mlx-lm 0.2x.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use checkpoint::{
    ADAPTER_CONFIG, AdapterDirectory, CheckpointError, Dtype, MappedTensor, SafetensorsFile, StagedDirectory,
    TensorSpec,
};
use serde_json::{Value, json};

use super::{Blueprint, check_sizes, foreign};
use crate::PeftError;
use crate::config::Common;
use crate::fields::Fields;
use crate::updates::{LoraUpdate, LoraUpdates, UpdateKind};

/// The adapter's tensors.
pub const MLX_WEIGHTS: &str = "adapters.safetensors";
/// Families whose modules mlx-lm calls otherwise: starts of names in transformers, and there.
const RENAMED: [(&str, &[[&str; 2]]); 2] = [
    ("gpt2", &[["transformer.", "model."]]),
    ("gpt_neox", &[["gpt_neox.layers.", "model.h."], ["gpt_neox.", "model."], ["embed_out", "model.embed_out"]]),
];
/// Families of encoders, which mlx-lm does not have.
const MISSING: [&str; 6] = ["bert", "roberta", "xlm-roberta", "distilbert", "t5", "mt5"];

/// What mlx-lm calls a module of a model of this family.
fn name(module: &str, model_type: &str) -> String {
    let renamed = RENAMED.iter().find(|(family, _)| *family == model_type).map_or(&[][..], |(_, names)| names);
    let start = renamed.iter().find_map(|[start, other]| Some(format!("{other}{}", module.strip_prefix(start)?)));
    start.unwrap_or_else(|| module.to_owned())
}

/// What of [`read`] stands in `adapter_config.json`.
struct Config {
    scale: f64,
    dropout: f64,
    is_dora: bool,
    model: Option<String>,
}

fn config(path: &Path) -> Result<Config, PeftError> {
    let mut fields = Fields::parse(path, &checkpoint::read_text(path, super::MAX_CONFIG)?)?;
    let is_dora = match fields.take::<String>("fine_tune_type")?.as_deref() {
        None | Some("lora") => false,
        Some("dora") => true,
        Some(other) => {
            let reason = format!("is {}; adapters of \"lora\" and \"dora\" are read", checkpoint::Quoted(other));
            return Err(fields.wrong("fine_tune_type", reason));
        }
    };
    let model = fields.take("model")?;
    let Some(mut parameters) = fields.object("lora_parameters") else {
        return Err(fields.wrong("lora_parameters", "is missing; the scale of the adapter is in it"));
    };
    // mlx-lm's older releases have `alpha` in its place.
    let scale: Option<f64> = parameters.take("scale")?;
    let Some(scale) = scale.filter(|scale| (*scale as f32).is_finite()) else {
        return Err(parameters.wrong("scale", "expected a finite number"));
    };
    let dropout = parameters.take("dropout")?.unwrap_or(0.0);
    Ok(Config { scale, dropout, is_dora, model })
}

/// The adapter in `dir` for `base`, as PEFT would have saved it.
///
/// # Errors
/// [`PeftError::Foreign`] for tensors that belong to no module of the base or do not go together; [`PeftError::ConfigKey`];
/// [`PeftError::Checkpoint`].
pub fn read(dir: &Path, base: Blueprint<'_>) -> Result<AdapterDirectory, PeftError> {
    let Config { scale, dropout, is_dora, model } = config(&dir.join(ADAPTER_CONFIG))?;
    let file = SafetensorsFile::open(dir.join(MLX_WEIGHTS))?;
    let wrong = |module: &str, reason: &str| foreign(file.path(), format!("{} {reason}", checkpoint::Quoted(module)));
    let mut modules: BTreeMap<String, BTreeMap<&str, MappedTensor>> = BTreeMap::new();
    for tensor in file.tensors() {
        let found = ["lora_a", "lora_b", "m"].into_iter().find_map(|end| {
            let module = tensor.name().strip_suffix(end)?.strip_suffix('.')?;
            Some((end, module.to_owned()))
        });
        let Some((end, module)) = found else {
            return Err(wrong(tensor.name(), "is no matrix of LoRA; weights that were trained whole are not read"));
        };
        modules.entry(module).or_default().insert(end, tensor);
    }
    let mut updates = Vec::new();
    for module in base.modules.iter() {
        let Some(mut tensors) = modules.remove(&name(&module.path, base.dimensions.model_type)) else { continue };
        let (Some(a), Some(b)) = (tensors.remove("lora_a"), tensors.remove("lora_b")) else {
            return Err(wrong(&module.path, "has only one of its two matrices"));
        };
        let (&[inputs, rank], &[rows, outputs]) = (a.shape(), b.shape()) else {
            return Err(wrong(&module.path, "has matrices of other than two dimensions"));
        };
        let Some(kind) = UpdateKind::of(module.kind).filter(|_| rank == rows && rank > 0) else {
            return Err(wrong(&module.path, &format!("has matrices of {:?} and {:?}", a.shape(), b.shape())));
        };
        check_sizes(module, [inputs, outputs]).map_err(|reason| wrong(&module.path, &reason))?;
        if is_dora && kind == UpdateKind::Embedding {
            return Err(wrong(
                &module.path,
                "is an embedding, whose norms DoRA takes by row in MLX and by column in PEFT",
            ));
        }
        let magnitude = match (tensors.remove("m"), is_dora) {
            (Some(norms), true) => Some(norms.to_f32()?),
            (None, false) => None,
            (norms, _) => {
                let what = if norms.is_some() { "has norms (`m`)" } else { "has no norms (`m`)" };
                return Err(wrong(&module.path, &format!("{what}, which does not go with `fine_tune_type`")));
            }
        };
        updates.push(LoraUpdate {
            module: module.path.clone(),
            kind,
            rank,
            a: transposed(&a.to_f32()?, rank),
            b: transposed(&b.to_f32()?, outputs),
            scaling: scale,
            magnitude,
        });
    }
    if let Some(module) = modules.keys().next() {
        let model_type = base.dimensions.model_type;
        return Err(wrong(
            module,
            &format!("is no module of this {model_type} model; name the base that it belongs to"),
        ));
    }
    let common = Common { base_model_name_or_path: model, ..Common::default() };
    let adapter = LoraUpdates { common, dropout, updates, ..LoraUpdates::default() };
    adapter.to_peft().into_directory(dir, file.path())
}

/// Writes `adapter` for `base`.
///
/// # Errors
/// [`PeftError::NotConvertible`] for a family that mlx-lm does not have, a classifier's head, and DoRA of embeddings;
/// [`PeftError::Checkpoint`].
pub fn write(adapter: LoraUpdates, base: Blueprint<'_>, staged: &mut StagedDirectory<'_>) -> Result<(), PeftError> {
    let model_type = base.dimensions.model_type;
    let refused = |what: &str, reason: &str| {
        Err(PeftError::NotConvertible { what: what.to_owned(), format: "MLX", reason: reason.to_owned() })
    };
    if MISSING.contains(&model_type) {
        return refused(&format!("an adapter of a {model_type} model"), "mlx-lm has only decoders");
    }
    if let Some(tensor) = adapter.head.first() {
        return refused(&tensor.name, "mlx-lm has no classifiers");
    }
    let of_embedding = |update: &&LoraUpdate| update.kind == UpdateKind::Embedding && update.magnitude.is_some();
    if let Some(update) = adapter.updates.iter().find(of_embedding) {
        return refused(&update.module, "DoRA takes the norms of an embedding by row in MLX and by column in PEFT");
    }
    let is_dora = adapter.updates.iter().any(|update| update.magnitude.is_some());
    let (rank, scale) = (adapter.largest_rank(), adapter.usual().map_or(1.0, |(_, scaling)| scaling));
    // A factor of zero cannot be divided by, and says that nothing has an effect.
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let layers = base.modules.iter().filter_map(|module| module.layer).max().map_or(0, |last| last + 1);
    let layer_of = |name: &str| base.modules.iter().find(|module| module.path == name).and_then(|module| module.layer);
    let first = adapter.updates.iter().filter_map(|update| layer_of(&update.module)).min().unwrap_or(layers);
    let mut keys = BTreeSet::new();
    let mut tensors: Vec<(TensorSpec, Vec<f32>)> = Vec::new();
    for update in adapter.updates {
        let module = name(&update.module, model_type);
        keys.insert(within_block(&module).to_owned());
        let update = update.with_rank(rank).with_scaling(scale)?;
        let (inputs, outputs) = (update.inputs(), update.outputs());
        let mut add = |end: &str, shape: Vec<usize>, values: Vec<f32>| {
            tensors.push((TensorSpec { name: format!("{module}.{end}"), dtype: Dtype::F32, shape }, values));
        };
        add("lora_a", vec![inputs, rank], transposed(&update.a, inputs));
        add("lora_b", vec![rank, outputs], transposed(&update.b, rank));
        if let Some(magnitude) = update.magnitude {
            add("m", vec![outputs], magnitude);
        }
    }
    let config = json!({
        "fine_tune_type": if is_dora { "dora" } else { "lora" },
        "lora_parameters": { "dropout": adapter.dropout, "keys": keys, "rank": rank, "scale": scale },
        "model": adapter.common.base_model_name_or_path,
        "num_layers": layers - first,
    });
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    staged.write_safetensors(MLX_WEIGHTS, &specs, &[("format", "mlx")], |spec| {
        let values = tensors.iter().find(|(known, _)| known.name == spec.name).map_or(&[][..], |(_, values)| values);
        Ok::<_, CheckpointError>(Cow::Borrowed(bytemuck::cast_slice(values)))
    })?;
    staged.write(ADAPTER_CONFIG, (pretty(&config) + "\n").as_bytes())?;
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// What comes after the number of a block; the whole name where there is none.
fn within_block(module: &str) -> &str {
    let mut parts = module.match_indices('.').map(|(dot, _)| dot);
    let after_number = parts.find_map(|dot| {
        let (number, rest) = module[dot + 1..].split_once('.')?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
    });
    after_number.unwrap_or(module)
}

/// The transpose of a matrix of `columns` columns.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    crate::save::transpose(values, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_mlx() {
        assert_eq!(name("model.layers.0.self_attn.q_proj", "llama"), "model.layers.0.self_attn.q_proj");
        assert_eq!(name("transformer.h.3.attn.c_attn", "gpt2"), "model.h.3.attn.c_attn");
        assert_eq!(name("gpt_neox.layers.1.attention.dense", "gpt_neox"), "model.h.1.attention.dense");
        assert_eq!(name("gpt_neox.embed_in", "gpt_neox"), "model.embed_in");
        assert_eq!(name("embed_out", "gpt_neox"), "model.embed_out");
        assert_eq!(within_block("model.layers.10.self_attn.q_proj"), "self_attn.q_proj");
        assert_eq!(within_block("model.embed_tokens"), "model.embed_tokens");
        assert_eq!(within_block("lm_head"), "lm_head");
    }
}
