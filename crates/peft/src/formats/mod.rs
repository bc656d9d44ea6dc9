//! Adapters in the files of other programs.
//!
//! | format | files | holds |
//! |---|---|---|
//! | PEFT | `adapter_config.json`, `adapter_model.safetensors` | everything |
//! | [AdapterHub](adapterhub) | `adapter_config.json`, `adapter.safetensors` | bottleneck adapters, LoRA of queries, keys, values and the MLP, its own (IA)^3, heads of classifiers |
//! | [MLX](mlx) | `adapter_config.json`, `adapters.safetensors` | LoRA and DoRA with one factor and one rank |
//! | [GGUF](gguf) | one `.gguf` | LoRA with one alpha |
//!
//! Reading gives what PEFT would have saved, so that nothing else has to know of formats. Writing is exact: a factor that a
//! format cannot hold goes into B, a smaller rank is filled up with zeros, and what has no place at all is refused by name.

pub mod adapterhub;
mod fits;
pub mod gguf;
pub mod mlx;

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, StagedDirectory};
use model::{Base, Dimensions, Module, ModuleKind, Modules};
use serde_json::{Map, Value};

use crate::updates::LoraUpdates;
use crate::{AdapterConfig, PeftError};

pub use fits::check;

/// The largest configuration that is looked at to tell a format.
const MAX_CONFIG: u64 = 64 << 20;

/// Whose files an adapter is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Hugging Face PEFT's.
    Peft,
    /// AdapterHub's `adapters`.
    AdapterHub,
    /// Apple's mlx-lm.
    Mlx,
    /// llama.cpp's.
    Gguf,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Peft, Self::AdapterHub, Self::Mlx, Self::Gguf];

    /// The format of what is at `path`, a directory or a GGUF file. What is none of the others is taken for PEFT's.
    ///
    /// # Errors
    /// [`PeftError::Checkpoint`] for a configuration that cannot be read.
    pub fn of(path: &Path) -> Result<Self, PeftError> {
        let config = path.join(ADAPTER_CONFIG);
        if !config.exists() {
            return Ok(if gguf::file_in(path)?.is_some() { Self::Gguf } else { Self::Peft });
        }
        let config: Map<String, Value> = checkpoint::read_json(&config, MAX_CONFIG)?;
        Ok(match config {
            config if config.contains_key("peft_type") => Self::Peft,
            config if config.get("config").is_some_and(Value::is_object) => Self::AdapterHub,
            config if ["fine_tune_type", "lora_parameters"].iter().any(|key| config.contains_key(*key)) => Self::Mlx,
            _ => Self::Peft,
        })
    }

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::AdapterHub => "adapterhub",
            Self::Mlx => "mlx",
            Self::Gguf => "gguf",
        }
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| format!("expected one of {}", names()))
    }
}

/// What names of modules are told by: a base model without its weights.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    /// Its sizes.
    pub dimensions: &'a Dimensions,
    /// Its modules.
    pub modules: &'a Modules,
}

impl<'a> From<&'a Base> for Blueprint<'a> {
    fn from(base: &'a Base) -> Self {
        Self { dimensions: base.dimensions(), modules: base.modules() }
    }
}

/// The adapter at `path`, in any format, as PEFT or AdapterHub would have saved it. Names of some formats mean something only
/// with their base model; where it is given, an adapter that says that it belongs to another is refused.
///
/// # Errors
/// Those of [`AdapterDirectory::open`]; [`PeftError::OtherModel`]; [`PeftError::NeedsBase`] for MLX and GGUF without `base`;
/// [`PeftError::Foreign`] and [`PeftError::Update`] for files that are not what they should be.
pub fn read(path: &Path, base: Option<Blueprint<'_>>) -> Result<AdapterDirectory, PeftError> {
    let needs_base = |format| PeftError::NeedsBase { dir: path.to_owned(), format };
    match Format::of(path)? {
        Format::Peft => {
            let directory = AdapterDirectory::open(path)?;
            base.map_or(Ok(()), |base| check_class(&directory, base))?;
            Ok(directory)
        }
        Format::AdapterHub => adapterhub::read(AdapterDirectory::open(path)?, base),
        Format::Mlx => mlx::read(path, base.ok_or_else(|| needs_base("an MLX adapter"))?),
        Format::Gguf => gguf::read(path, base.ok_or_else(|| needs_base("a GGUF adapter"))?),
    }
}

/// Writes the LoRA adapter `updates` of `base` as the files of `format` into a directory in the making.
///
/// # Errors
/// [`PeftError::NotConvertible`] for what the format cannot hold; [`PeftError::NeedsBase`]; [`PeftError::Checkpoint`].
pub fn write(
    format: Format,
    updates: LoraUpdates,
    base: Option<Blueprint<'_>>,
    name: &str,
    staged: &mut StagedDirectory<'_>,
) -> Result<(), PeftError> {
    let base = || {
        base.ok_or_else(|| PeftError::NotConvertible {
            what: "the adapter".to_owned(),
            format: format.as_str(),
            reason: "its modules are named after the base model; name it with --model".to_owned(),
        })
    };
    match format {
        Format::Peft => updates.to_peft().stage(staged),
        Format::AdapterHub => adapterhub::write(updates, base()?, name, staged),
        Format::Mlx => mlx::write(updates, base()?, staged),
        Format::Gguf => gguf::write(updates, base()?, name, staged),
    }
}

/// PEFT names the Python class of a base that has no task: its module is called after the family.
fn check_class(directory: &AdapterDirectory, base: Blueprint<'_>) -> Result<(), PeftError> {
    let path = directory.dir().join(ADAPTER_CONFIG);
    let (config, _) = AdapterConfig::read(&path, &directory.config)?;
    let library = config.common().and_then(|common| common.auto_mapping.as_ref()?.get("parent_library")?.as_str());
    let family = library.and_then(|library| library.strip_prefix("transformers.models.")?.split('.').next());
    let own = base.dimensions.model_type;
    match family {
        Some(family) if !is_of_family(own, family) => {
            Err(PeftError::OtherModel { path, key: "model_type", adapter: family.to_owned(), base: own.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Whether models of `model_type` stand in the folder `family` of transformers: `gemma3_text` in `gemma3`, `xlm-roberta` in
/// `xlm_roberta`, and `gemma2` not in `gemma`.
fn is_of_family(model_type: &str, family: &str) -> bool {
    let model_type = model_type.replace('-', "_");
    model_type.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// The file that says how the adapter in `directory` is configured: the GGUF file where there is one.
pub fn config_path(directory: &AdapterDirectory) -> PathBuf {
    let weights = directory.weights.path();
    if gguf::is_gguf(weights) { weights.to_owned() } else { directory.dir().join(ADAPTER_CONFIG) }
}

/// Compares the inputs of A and the outputs of B with those of the module that they are for; the reason if they differ.
fn check_sizes(module: &Module, got: [usize; 2]) -> Result<(), String> {
    let expected = match module.kind {
        ModuleKind::Linear { in_features, out_features, .. } => Some([in_features, out_features]),
        ModuleKind::Embedding { num_embeddings, embedding_dim } => Some([num_embeddings, embedding_dim]),
        ModuleKind::Norm { .. } | ModuleKind::Conv2d { .. } | ModuleKind::Parameter => None,
    };
    match expected {
        Some(expected) if got != expected => {
            let (path, [inputs, outputs]) = (&module.path, got);
            let [base_inputs, base_outputs] = expected;
            Err(format!(
                "has {inputs} inputs and {outputs} outputs, expected {base_inputs} and {base_outputs} as {path} has"
            ))
        }
        _ => Ok(()),
    }
}

/// The error that a file of another program is not what it should be.
fn foreign(path: &Path, reason: impl Into<String>) -> PeftError {
    // The reason may quote the file, which must not write to the reader's terminal.
    PeftError::Foreign { path: path.to_owned(), reason: reason.into().replace(char::is_control, "\u{fffd}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_whole_words() {
        let same = [("gemma", "gemma"), ("gemma3_text", "gemma3"), ("xlm-roberta", "xlm_roberta"), ("qwen2", "qwen2")];
        assert!(same.iter().all(|(model_type, family)| is_of_family(model_type, family)));
        let other = [("gemma2", "gemma"), ("gemma3_text", "gemma"), ("qwen2", "qwen"), ("bert", "roberta")];
        assert!(!other.iter().any(|(model_type, family)| is_of_family(model_type, family)));
    }

    #[test]
    fn formats_are_told_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let of = |config: &str| {
            std::fs::write(dir.path().join(ADAPTER_CONFIG), config).unwrap();
            Format::of(dir.path()).unwrap()
        };
        assert_eq!(of(r#"{"peft_type": "LORA", "config": {}}"#), Format::Peft);
        assert_eq!(of(r#"{"config": {"architecture": "lora"}}"#), Format::AdapterHub);
        assert_eq!(of(r#"{"lora_parameters": {}}"#), Format::Mlx);
        assert_eq!(of("{}"), Format::Peft);
        std::fs::remove_file(dir.path().join(ADAPTER_CONFIG)).unwrap();
        assert_eq!(Format::of(dir.path()).unwrap(), Format::Peft);
        std::fs::write(dir.path().join("x.gguf"), "").unwrap();
        assert_eq!(Format::of(dir.path()).unwrap(), Format::Gguf);
        assert_eq!(Format::of(&dir.path().join("x.gguf")).unwrap(), Format::Gguf);
        assert!(Format::ALL.iter().all(|format| format.as_str().parse() == Ok(*format)));
        assert_eq!("onnx".parse::<Format>(), Err("expected one of peft, adapterhub, mlx, gguf".to_owned()));
    }
}
