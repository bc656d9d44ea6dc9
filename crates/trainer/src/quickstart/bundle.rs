//! The files inside the binary, and how they are laid out for the commands that read them.

use std::path::{Path, PathBuf};

use checkpoint::{Storage, atomic_write};

use crate::Error;
use crate::run::OutputError;

/// A method of the table: its config file, without the paths.
struct Preset {
    method: &'static str,
    config: &'static str,
}

const PRESETS: [Preset; 17] = [
    Preset { method: "lora", config: include_str!("../../assets/quickstart/lora.toml") },
    Preset { method: "dora", config: include_str!("../../assets/quickstart/dora.toml") },
    Preset { method: "pissa", config: include_str!("../../assets/quickstart/pissa.toml") },
    Preset { method: "olora", config: include_str!("../../assets/quickstart/olora.toml") },
    Preset { method: "lora_plus", config: include_str!("../../assets/quickstart/lora_plus.toml") },
    Preset { method: "qlora", config: include_str!("../../assets/quickstart/qlora.toml") },
    Preset { method: "adalora", config: include_str!("../../assets/quickstart/adalora.toml") },
    Preset { method: "vera", config: include_str!("../../assets/quickstart/vera.toml") },
    Preset { method: "ia3", config: include_str!("../../assets/quickstart/ia3.toml") },
    Preset { method: "ln_tuning", config: include_str!("../../assets/quickstart/ln_tuning.toml") },
    Preset { method: "bottleneck", config: include_str!("../../assets/quickstart/bottleneck.toml") },
    Preset { method: "compacter", config: include_str!("../../assets/quickstart/compacter.toml") },
    Preset { method: "trainable_tokens", config: include_str!("../../assets/quickstart/trainable_tokens.toml") },
    Preset { method: "prefix_tuning", config: include_str!("../../assets/quickstart/prefix_tuning.toml") },
    Preset { method: "prompt_tuning", config: include_str!("../../assets/quickstart/prompt_tuning.toml") },
    Preset { method: "p_tuning", config: include_str!("../../assets/quickstart/p_tuning.toml") },
    Preset { method: "full", config: include_str!("../../assets/quickstart/full.toml") },
];

const MODEL_FILES: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../../assets/quickstart/config.json")),
    ("model.safetensors", include_bytes!("../../assets/quickstart/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../assets/quickstart/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../assets/quickstart/tokenizer_config.json")),
];
const TRAIN_ROWS: &[u8] = include_bytes!("../../assets/quickstart/train.jsonl");
const TEST_ROWS: &[u8] = include_bytes!("../../assets/quickstart/test.jsonl");

/// The bundled files as they lie in a directory.
pub(crate) struct Bundle {
    /// The base model, in Hugging Face layout.
    pub(crate) model: PathBuf,
    /// Rows that no method trains on.
    pub(crate) test: PathBuf,
    /// A method's name, its config and where its result goes.
    pub(crate) methods: Vec<(&'static str, PathBuf, PathBuf)>,
}

impl Bundle {
    /// Writes the files to `dir`. Files that are there already must be the same.
    ///
    /// # Errors
    /// [`OutputError::NotWritable`] if `dir` cannot be made, [`OutputError::Occupied`] if it holds another file under one of
    /// the names; those of the file system.
    pub(crate) fn write(dir: &Path) -> Result<Self, Error> {
        let model = dir.join("model");
        std::fs::create_dir_all(&model).map_err(|source| OutputError::NotWritable { path: model.clone(), source })?;
        for (name, bytes) in MODEL_FILES {
            place(&model.join(name), bytes)?;
        }
        let (train, test) = (dir.join("train.jsonl"), dir.join("test.jsonl"));
        place(&train, TRAIN_ROWS)?;
        place(&test, TEST_ROWS)?;
        let mut methods = Vec::new();
        for Preset { method, config } in PRESETS {
            let (path, output) = (dir.join(format!("{method}.toml")), dir.join(method));
            let text = config
                .replace("\"MODEL\"", &quoted(&model))
                .replace("\"TRAIN\"", &quoted(&train))
                .replace("\"OUTPUT\"", &quoted(&output));
            place(&path, text.as_bytes())?;
            methods.push((method, path, output));
        }
        Ok(Self { model, test, methods })
    }
}

/// Writes a file unless it is there; another one under its name is not touched.
fn place(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    match std::fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => Err(OutputError::Occupied { path: path.to_owned() }.into()),
        Err(_) => atomic_write(&Storage, path, bytes).map_err(Error::Save),
    }
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn a_file_of_somebody_else_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        Bundle::write(dir.path()).unwrap();
        Bundle::write(dir.path()).unwrap();
        let rows = dir.path().join("train.jsonl");
        std::fs::write(&rows, "mine").unwrap();
        let Err(error) = Bundle::write(dir.path()) else { panic!("must be refused") };
        assert!(matches!(&error, Error::Output(OutputError::Occupied { path }) if *path == rows), "{error}");
        assert_eq!(std::fs::read_to_string(&rows).unwrap(), "mine");
    }

    #[test]
    fn every_preset_is_a_config_with_its_paths_filled_in() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::write(&dir.path().join("with \"quotes\" and spaces")).unwrap();
        for (method, config, output) in &bundle.methods {
            let config = Config::load(Some(config), &Overrides::default()).unwrap();
            assert_eq!(config.model.path, bundle.model, "{method}");
            assert_eq!(&config.training.output_dir, output, "{method}");
        }
        let bundled: usize = MODEL_FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bundled <= 4 << 20, "the bundled model takes {bundled} bytes");
    }
}
