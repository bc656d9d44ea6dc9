//! Updates out of PEFT's files.

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, MappedTensor};
use serde_json::{Map, Value};

use super::{LoraUpdate, LoraUpdates, UpdateKind, WholeTensor, check_complete, has_head};
use crate::lora::{Bias, LoraConfig};
use crate::targets::ValuePatterns;
use crate::{PeftError, finite, modules_to_save, names};

/// Ends of the keys of A and B: of a linear module and of an embedding.
const KEYS: [(UpdateKind, [&str; 2]); 2] = [
    (UpdateKind::Linear, [".lora_A.weight", ".lora_B.weight"]),
    (UpdateKind::Embedding, [".lora_embedding_A", ".lora_embedding_B"]),
];
const MAGNITUDE: &str = ".lora_magnitude_vector";
/// What PEFT saves along with adapted embeddings: the base's own, of no use here.
const BASE: &str = ".base_layer.weight";

impl LoraUpdates {
    /// The updates in `directory`, whose configuration is `config`, in the order of their modules' names.
    ///
    /// # Errors
    /// [`PeftError::Setting`] for what is no update of weights (biases, `modules_to_save` other than a classifier's head, an
    /// adapter that starts as a part of its base); [`PeftError::Update`] for matrices that do not go together;
    /// those of [`check_complete`]; [`PeftError::NonFinite`], [`PeftError::Checkpoint`].
    pub fn read(directory: &AdapterDirectory, config: &LoraConfig) -> Result<Self, PeftError> {
        check(config).map_err(|error| error.in_file(&directory.dir().join(ADAPTER_CONFIG)))?;
        let ranks = ValuePatterns::compile("rank_pattern", &config.rank_pattern)?;
        let alphas = ValuePatterns::compile("alpha_pattern", &config.alpha_pattern)?;
        let tensors: BTreeMap<String, MappedTensor> =
            directory.weights.tensors().map(|tensor| (names::without_adapter_name(tensor.name()), tensor)).collect();
        let (mut updates, mut head) = (Vec::new(), Vec::new());
        for (key, tensor) in tensors.iter().filter(|(key, _)| !key.ends_with(BASE)) {
            if let Some(name) = head_parameter(key, config) {
                head.push(WholeTensor { name, shape: tensor.shape().to_vec(), values: finite::read(tensor)? });
                continue;
            }
            let found = KEYS.iter().find(|(_, ends)| ends.iter().any(|end| key.ends_with(end)));
            let Some((kind, [end_a, end_b])) = found else {
                if key.ends_with(MAGNITUDE) && config.use_dora {
                    continue;
                }
                return Err(wrong(directory.dir(), key, "is no matrix of LoRA".to_owned()));
            };
            let stem = key.strip_suffix(end_a).or_else(|| key.strip_suffix(end_b)).unwrap_or(key);
            let module = stem.strip_prefix(names::PREFIX).unwrap_or(stem);
            let (Some(a), Some(b)) = (tensors.get(&format!("{stem}{end_a}")), tensors.get(&format!("{stem}{end_b}")))
            else {
                return Err(wrong(directory.dir(), module, "has only one of its two matrices".to_owned()));
            };
            if key.ends_with(end_b) {
                continue;
            }
            let rank = ranks.get(module)?.unwrap_or(config.r);
            let alpha = alphas.get(module)?.unwrap_or(config.lora_alpha);
            let scaling = alpha / if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
            match (a.shape(), b.shape()) {
                // An empty matrix costs a file nothing, whatever its rank.
                (&[rows, inputs], &[outputs, columns])
                    if rows == rank && columns == rank && [rank, inputs, outputs].iter().all(|&size| size > 0) => {}
                (a, b) => {
                    return Err(wrong(
                        directory.dir(),
                        module,
                        format!("is of {a:?} and {b:?}, expected rank {rank} and no empty side"),
                    ));
                }
            }
            let magnitude = config.use_dora.then(|| tensors.get(&format!("{stem}{MAGNITUDE}")));
            let magnitude = match magnitude {
                None => None,
                Some(Some(tensor)) if tensor.len() == b.shape()[0] => Some(finite::read(tensor)?),
                Some(_) => {
                    return Err(wrong(directory.dir(), module, format!("has no {} of its rows", &MAGNITUDE[1..])));
                }
            };
            let (a, b) = (finite::read(a)?, finite::read(b)?);
            updates.push(LoraUpdate {
                module: model::current_name(module),
                kind: *kind,
                rank,
                a,
                b,
                scaling,
                magnitude,
            });
        }
        check_complete(directory, config)?;
        updates.sort_by(|one, other| one.module.cmp(&other.module));
        Ok(Self {
            common: config.common.clone(),
            dropout: config.lora_dropout,
            fan_in_fan_out: fan_in_fan_out(directory),
            updates,
            head,
        })
    }
}

/// The name of the parameter of a classifier's head that the key means.
fn head_parameter(key: &str, config: &LoraConfig) -> Option<String> {
    let parameter = key.strip_prefix(names::PREFIX)?;
    let (module, _) = parameter.rsplit_once('.')?;
    (has_head(&config.common) && modules_to_save::is_head(module) && !key.contains(".lora_"))
        .then(|| parameter.to_owned())
}

/// Refuses what is no update.
fn check(config: &LoraConfig) -> Result<(), PeftError> {
    let others = config
        .modules_to_save
        .iter()
        .flatten()
        .find(|name| !(has_head(&config.common) && modules_to_save::is_head(name)));
    let refused = |key, what: &str| {
        let reason = format!("{what}, which is no product of two matrices; merge the adapter into its base instead");
        Err(PeftError::Setting { key, reason })
    };
    match (others, config) {
        (Some(name), _) => refused("modules_to_save", &format!("{} is saved whole", checkpoint::Quoted(name))),
        (_, config) if config.bias != Bias::None => refused("bias", "biases of the base are trained"),
        (_, config) if config.lora_bias => refused("lora_bias", "the adapter has biases"),
        (_, config) if config.init_lora_weights.takes_from_base() => {
            let reason =
                "the adapter started as a part of its base, and counts on a base without that part; save it with \
                          path_initial_model_for_weight_conversion in Python, or go on from it here"
                    .to_owned();
            Err(PeftError::Setting { key: "init_lora_weights", reason })
        }
        _ => Ok(()),
    }
}

/// What an adapter's file says about how the weights that it adapts are stored.
fn fan_in_fan_out(adapter: &AdapterDirectory) -> bool {
    let config: Option<Map<String, Value>> = serde_json::from_str(&adapter.config).ok();
    config.and_then(|config| config.get("fan_in_fan_out")?.as_bool()).unwrap_or(false)
}

fn wrong(dir: &Path, module: &str, reason: String) -> PeftError {
    PeftError::Update { dir: dir.to_owned(), module: module.to_owned(), reason }
}
