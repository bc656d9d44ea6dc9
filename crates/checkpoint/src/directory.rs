//! A model directory in the Hugging Face layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::index::{Index, check_place};
use crate::{CheckpointError, MappedTensor, SafetensorsFile};

/// The single file of weights.
pub const MODEL_WEIGHTS: &str = "model.safetensors";
/// The index of a model in shards.
pub const MODEL_INDEX: &str = "model.safetensors.index.json";

/// The weights of a model: `model.safetensors`, or else the shards that `model.safetensors.index.json` names. That is the
/// order in which Hugging Face looks, and other files are never read.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    files: Vec<SafetensorsFile>,
    /// Tensor to index into `files`.
    tensors: BTreeMap<String, usize>,
    notes: Vec<String>,
}

impl Checkpoint {
    /// Opens the weights of the model in `dir`: maps the files and checks their headers. The directory may be read-only.
    ///
    /// # Errors
    /// [`CheckpointError::NoWeights`], with what is there instead; those of [`SafetensorsFile::open`]; for shards also
    /// [`CheckpointError::ShardName`], [`CheckpointError::ShardMissing`], [`CheckpointError::ShardLacksTensor`],
    /// [`CheckpointError::TensorInTwoShards`] and [`CheckpointError::Json`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let dir = dir.into();
        if dir.join(MODEL_WEIGHTS).exists() {
            return Self::open_single(dir);
        }
        if dir.join(MODEL_INDEX).exists() {
            return Self::open_shards(dir);
        }
        let names = file_names(&dir)?;
        let hint = pickle_hint(&names, "pytorch_model").unwrap_or_default();
        Err(CheckpointError::NoWeights { dir, expected: "model.safetensors or model.safetensors.index.json", hint })
    }

    fn open_single(dir: PathBuf) -> Result<Self, CheckpointError> {
        let file = SafetensorsFile::open(dir.join(MODEL_WEIGHTS))?;
        let tensors = file.names().map(|name| (name.to_owned(), 0)).collect();
        Ok(Self { dir, files: vec![file], tensors, notes: Vec::new() })
    }

    fn open_shards(dir: PathBuf) -> Result<Self, CheckpointError> {
        let index_path = dir.join(MODEL_INDEX);
        let index = Index::read(&index_path)?;
        let shards: Vec<&str> = index.shards().into_iter().collect();
        let mut files = Vec::with_capacity(shards.len());
        let mut holders = BTreeMap::new();
        for (i, &shard) in shards.iter().enumerate() {
            let tensor = index.weight_map.iter().find(|(_, s)| *s == shard).map_or("", |(tensor, _)| tensor);
            check_place(&dir, &index_path, tensor, shard)?;
            let file = SafetensorsFile::open(dir.join(shard))?;
            for name in file.names() {
                if let Some(first) = holders.insert(name.to_owned(), i) {
                    return Err(CheckpointError::TensorInTwoShards {
                        index: index_path,
                        tensor: name.to_owned(),
                        first: shards[first].to_owned(),
                        second: shard.to_owned(),
                    });
                }
            }
            files.push(file);
        }
        for (tensor, shard) in &index.weight_map {
            if holders.get(tensor).is_none_or(|&i| shards[i] != shard) {
                return Err(CheckpointError::ShardLacksTensor {
                    index: index_path,
                    shard: shard.clone(),
                    tensor: tensor.clone(),
                });
            }
        }
        let stray = |name: &String| name.ends_with(".safetensors") && !shards.contains(&name.as_str());
        let mut notes: Vec<String> = file_names(&dir)?
            .into_iter()
            .filter(stray)
            .map(|name| format!("{} is ignored: the index does not name it", crate::Quoted(&name)))
            .collect();
        let unlisted = holders.keys().filter(|name| !index.weight_map.contains_key(*name));
        notes.extend(
            unlisted.map(|name| format!("tensor {} is ignored: the index does not name it", crate::Quoted(name))),
        );
        holders.retain(|name, _| index.weight_map.contains_key(name));
        Ok(Self { dir, files, tensors: holders, notes })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The mapped files: one, or the shards in alphabetical order.
    pub fn files(&self) -> &[SafetensorsFile] {
        &self.files
    }

    /// What was found and left aside, for a log.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Names of all tensors in alphabetical order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<MappedTensor> {
        self.files[*self.tensors.get(name)?].get(name)
    }

    /// All tensors in alphabetical order.
    pub fn tensors(&self) -> impl Iterator<Item = MappedTensor> {
        self.tensors.iter().filter_map(|(name, &file)| self.files[file].get(name))
    }

    /// Checks that no file was shortened since it was mapped: before a step that reads all weights, instead of dying of
    /// SIGBUS in it.
    ///
    /// # Errors
    /// [`CheckpointError::Shortened`], [`CheckpointError::Io`].
    pub fn check_length(&self) -> Result<(), CheckpointError> {
        self.files.iter().try_for_each(|file| file.file().check_length())
    }
}

/// Names of the entries of `dir`, sorted; names that are not UTF-8 are left out.
pub(crate) fn file_names(dir: &Path) -> Result<Vec<String>, CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "list", path: dir.to_owned(), source };
    let entries = std::fs::read_dir(dir).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut names: Vec<String> = entries.into_iter().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// What to say if the weights are there as pickles only.
pub(crate) fn pickle_hint(names: &[String], stem: &str) -> Option<String> {
    let is_pickle = |name: &&String| {
        let suffix = [".bin", ".pt", ".pth", ".ckpt"].iter().any(|s| name.ends_with(s));
        suffix && (name.starts_with(stem) || name.starts_with("model") || name.starts_with("consolidated"))
    };
    let name = names.iter().find(is_pickle)?;
    Some(format!(", only {}, which is {}", crate::Quoted(name), crate::Foreign::Pickle))
}
