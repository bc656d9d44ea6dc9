//! LoRA adapters of llama.cpp, and of what reads its files.
//!
//! | key or tensor | value |
//! |---|---|
//! | `general.type`, `adapter.type`, `general.architecture` | "adapter", "lora", that of the base |
//! | `adapter.lora.alpha` | the update of a module is scaled by it, divided by the module's rank; by one where it is zero or absent |
//! | `<tensor of the base>.lora_a`, `.lora_b` | `[r, in]`, `[out, r]`, `blk.0.attn_q.weight.lora_a` for example |
//! | `token_embd.weight.lora_a`, `.lora_b` | `[vocab, r]`, `[dim, r]` |
//!
//! llama.cpp stores queries and keys of Llamas, and GPT-NeoX's fused projection, with their rows in another order; those of
//! B follow. One alpha serves all modules, so that other factors (rsLoRA, patterns of alphas or ranks) go into B.
//!
//! Sources: llama.cpp's `convert_lora_to_gguf.py` and `src/llama-adapter.cpp`.

mod names;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checkpoint::{
    AdapterDirectory, CheckpointError, GgufFile, GgufTensor, GgufValue, MappedTensor, Quoted, StagedDirectory,
    gguf_bytes,
};
use model::Module;

use super::{Blueprint, check_sizes, foreign};
use crate::PeftError;
use crate::updates::{LoraUpdate, LoraUpdates, UpdateKind};

/// The name under which an adapter is written.
pub const GGUF_ADAPTER: &str = "adapter.gguf";
const ALPHA: &str = "adapter.lora.alpha";
const ARCHITECTURE: &str = "general.architecture";

/// Whether `path` has the name of a GGUF file.
pub(super) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gguf")
}

/// The GGUF file that `path` is or that is alone of its kind in the directory `path`.
///
/// # Errors
/// [`PeftError::Checkpoint`] if the directory cannot be listed; [`PeftError::Foreign`] if it holds several.
pub fn file_in(path: &Path) -> Result<Option<PathBuf>, PeftError> {
    if !path.is_dir() {
        return Ok(is_gguf(path).then(|| path.to_owned()));
    }
    let failed = |source| CheckpointError::Io { action: "list", path: path.to_owned(), source };
    let entries = std::fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut files: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).filter(|path| is_gguf(path)).collect();
    files.sort();
    match files.len() {
        0 | 1 => Ok(files.pop()),
        several => Err(foreign(path, format!("it holds {several} GGUF files; name the one that is meant"))),
    }
}

/// What a GGUF adapter says without its base.
#[derive(Debug)]
pub struct GgufAdapter {
    /// The file.
    pub file: GgufFile,
    /// llama.cpp's name of the base's family.
    pub architecture: String,
    /// An update is scaled by this, divided by its rank; by one where there is none. llama.cpp takes zero for none.
    pub alpha: Option<f64>,
}

impl GgufAdapter {
    /// Opens the adapter that `path` is or holds.
    ///
    /// # Errors
    /// [`PeftError::Foreign`] for a file that is no LoRA adapter; [`PeftError::Checkpoint`].
    pub fn open(path: &Path) -> Result<Self, PeftError> {
        let found = file_in(path)?.ok_or_else(|| foreign(path, "it holds no GGUF file"))?;
        let file = GgufFile::open(&found)?;
        let text = |key: &str| file.metadata().get(key).and_then(GgufValue::as_str).unwrap_or_default().to_owned();
        for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
            let got = text(key);
            if got != expected {
                let reason = format!("`{key}` is {}, expected {expected:?}; it is no LoRA adapter", Quoted(&got));
                return Err(foreign(&found, reason));
            }
        }
        if let Some(GgufValue::Array(1..)) = file.metadata().get("adapter.alora.invocation_tokens") {
            return Err(foreign(
                &found,
                "`adapter.alora.invocation_tokens` is set, and activated LoRA is not supported",
            ));
        }
        let alpha = match file.metadata().get(ALPHA).map(GgufValue::as_f64) {
            None => None,
            Some(Some(alpha)) if alpha.is_finite() => Some(alpha).filter(|alpha| *alpha != 0.0),
            Some(_) => return Err(foreign(&found, format!("`{ALPHA}` is no finite number"))),
        };
        Ok(Self { architecture: text(ARCHITECTURE), alpha, file })
    }
}

/// The adapter at `path` for `base`, as PEFT would have saved it.
///
/// # Errors
/// [`PeftError::OtherModel`]; [`PeftError::Foreign`] for tensors that belong to no module of the base or do not go together;
/// [`PeftError::NotConvertible`] for a family that llama.cpp does not have; [`PeftError::Checkpoint`].
pub fn read(path: &Path, base: Blueprint<'_>) -> Result<AdapterDirectory, PeftError> {
    let GgufAdapter { file, architecture, alpha } = GgufAdapter::open(path)?;
    let own = names::architecture(base.dimensions.model_type)?;
    if architecture != own {
        let (path, base) = (file.path().to_owned(), own.to_owned());
        return Err(PeftError::OtherModel { path, key: ARCHITECTURE, adapter: architecture, base });
    }
    let wrong = |name: &str, reason: &str| foreign(file.path(), format!("tensor {} {reason}", Quoted(name)));
    let mut tensors: BTreeMap<&str, &MappedTensor> =
        file.tensors().iter().map(|tensor| (tensor.name(), tensor)).collect();
    let mut updates = Vec::new();
    for module in base.modules.iter() {
        let (Some(name), Some(kind)) =
            (names::tensor(&module.path, base.dimensions.model_type), UpdateKind::of(module.kind))
        else {
            continue;
        };
        let pair = ["lora_a", "lora_b"].map(|end| tensors.remove(format!("{name}.{end}").as_str()));
        let (a, b) = match pair {
            [None, None] => continue,
            [Some(a), Some(b)] => (a, b),
            _ => return Err(wrong(&name, "has only one of its two matrices")),
        };
        updates.push(update(module, kind, [a, b], alpha, base).map_err(|reason| wrong(&name, &reason))??);
    }
    if let Some(name) = tensors.keys().next() {
        let model_type = base.dimensions.model_type;
        return Err(wrong(
            name,
            &format!("belongs to no module of this {model_type} model; name the base that it is for"),
        ));
    }
    LoraUpdates { updates, ..LoraUpdates::default() }.to_peft().into_directory(path, file.path())
}

/// One module's update; a reason if its matrices do not go together.
fn update(
    module: &Module,
    kind: UpdateKind,
    [a, b]: [&MappedTensor; 2],
    alpha: Option<f64>,
    base: Blueprint<'_>,
) -> Result<Result<LoraUpdate, PeftError>, String> {
    let (&[a_rows, a_columns], &[b_rows, b_columns]) = (a.shape(), b.shape()) else {
        return Err("has matrices of other than two dimensions".to_owned());
    };
    // A of an embedding is the other way round.
    let (rank, inputs) = if kind == UpdateKind::Embedding { (a_columns, a_rows) } else { (a_rows, a_columns) };
    if rank != b_columns || rank == 0 {
        return Err(format!("has matrices of {:?} and {:?}", a.shape(), b.shape()));
    }
    check_sizes(module, [inputs, b_rows])?;
    let order = rows::order(&module.path, base.dimensions);
    let values = || -> Result<LoraUpdate, PeftError> {
        let (mut a, mut b) = (a.to_f32()?, b.to_f32()?);
        if kind == UpdateKind::Embedding {
            a = crate::save::transpose(&a, rank);
        }
        if let Some(order) = &order {
            b = rows::restored(&b, rank, order);
        }
        let scaling = alpha.map_or(1.0, |alpha| alpha / rank as f64);
        Ok(LoraUpdate { module: module.path.clone(), kind, rank, a, b, scaling, magnitude: None })
    };
    Ok(values())
}

/// Writes `adapter` of `base` as one file, with `name` for a title.
///
/// # Errors
/// [`PeftError::NotConvertible`] for a family or a module that llama.cpp does not have, DoRA, and a classifier's head;
/// [`PeftError::Checkpoint`].
pub fn write(
    adapter: LoraUpdates,
    base: Blueprint<'_>,
    name: &str,
    staged: &mut StagedDirectory<'_>,
) -> Result<(), PeftError> {
    let architecture = names::architecture(base.dimensions.model_type)?;
    let refused = |what: &str, reason: &str| {
        Err(PeftError::NotConvertible { what: what.to_owned(), format: "GGUF", reason: reason.to_owned() })
    };
    if let Some(tensor) = adapter.head.first() {
        return refused(&tensor.name, "llama.cpp has no classifiers");
    }
    if let Some(update) = adapter.updates.iter().find(|update| update.magnitude.is_some()) {
        return refused(&update.module, "llama.cpp has no DoRA; merge the adapter into its base instead");
    }
    let alpha = adapter.usual().map_or(1.0, |(rank, scaling)| scaling * rank as f64);
    // llama.cpp does not scale by an alpha of zero.
    let alpha = if alpha == 0.0 { 1.0 } else { alpha };
    let mut matrices: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for update in adapter.updates {
        let found = base.modules.iter().find(|module| module.path == update.module);
        let Some((module, tensor)) = found.and_then(|m| Some((m, names::tensor(&m.path, base.dimensions.model_type)?)))
        else {
            return refused(
                &update.module,
                "it has no counterpart among the tensors of llama.cpp, or is not in the base",
            );
        };
        let is_tied = base.modules.parameter(module.weight).tied_to.is_some();
        let ties = base.modules.parameters().any(|parameter| parameter.tied_to == Some(module.weight));
        if is_tied || ties {
            return refused(
                &update.module,
                "its weight is shared with the head, and a GGUF file of the base holds it once",
            );
        }
        let rank = update.rank;
        let mut update = update.with_scaling(alpha / rank as f64)?;
        if let Some(order) = rows::order(&module.path, base.dimensions) {
            if order.len() != update.outputs() {
                return refused(&update.module, "it does not have the rows of the base's heads");
            }
            update.b = rows::ordered(&update.b, rank, &order);
        }
        let (inputs, outputs) = (update.inputs(), update.outputs());
        let (shape, a) = match update.kind {
            UpdateKind::Linear => (vec![rank, inputs], update.a),
            UpdateKind::Embedding => (vec![inputs, rank], crate::save::transpose(&update.a, inputs)),
        };
        matrices.push((format!("{tensor}.lora_a"), shape, a));
        matrices.push((format!("{tensor}.lora_b"), vec![outputs, rank], update.b));
    }
    let metadata = [
        (ARCHITECTURE, GgufValue::String(architecture.to_owned())),
        ("general.type", GgufValue::String("adapter".to_owned())),
        ("general.name", GgufValue::String(name.to_owned())),
        ("adapter.type", GgufValue::String("lora".to_owned())),
        (ALPHA, GgufValue::Float(alpha)),
    ];
    let tensors: Vec<GgufTensor<'_>> = matrices
        .iter()
        .map(|(name, shape, values)| GgufTensor { name: name.clone(), shape: shape.clone(), values })
        .collect();
    Ok(staged.write(GGUF_ADAPTER, &gguf_bytes(&metadata, &tensors))?)
}
