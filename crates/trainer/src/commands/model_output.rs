//! A model directory made of another one: weights written tensor by tensor, what stands beside them copied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checkpoint::{
    CheckpointError, Dtype, MODEL_INDEX, MODEL_WEIGHTS, MappedTensor, SafetensorsFile, StagedDirectory, Storage,
    TensorSpec,
};
use half::{bf16, f16};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::run::{OutputError, companions};

/// A directory that is to appear, whole or not at all.
pub(super) struct ModelOutput {
    path: PathBuf,
}

impl ModelOutput {
    /// The directory `path`, which must not exist.
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        // A link that leads nowhere has the name too.
        if path.symlink_metadata().is_ok() {
            return Err(OutputError::Exists { path: path.to_owned() }.into());
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Starts it, beside its final place.
    pub(super) fn stage(&self) -> Result<StagedDirectory<'static>, Error> {
        if let Some(parent) = self.path.parent() {
            let failed = |source| CheckpointError::Io { action: "create", path: parent.to_owned(), source };
            std::fs::create_dir_all(parent).map_err(failed).map_err(Error::Save)?;
        }
        StagedDirectory::create(&Storage, &self.path).map_err(Error::Save)
    }

    /// Adds the files of the model in `dir` that are no weights, with `change` made to its `config.json`, and gives the
    /// directory its name.
    pub(super) fn finish(
        &self,
        mut staged: StagedDirectory<'_>,
        dir: &Path,
        index: &Index,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<(), Error> {
        let mut files = companions::of_model(dir, change)?;
        files.extend(index.text().map(|text| (MODEL_INDEX, text)));
        for (name, text) in files {
            staged.write(name, text.as_bytes()).map_err(Error::Save)?;
        }
        staged.commit(Map::new()).map_err(Error::Save)
    }
}

/// Which file has which tensor.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: usize,
    weight_map: BTreeMap<String, String>,
    total_size: u64,
}

impl Index {
    /// Notes the tensors of one file.
    pub(super) fn add(&mut self, file: &str, specs: &[TensorSpec]) {
        self.files += 1;
        for spec in specs {
            let bits = spec.shape.iter().product::<usize>() * spec.dtype.bitsize();
            self.total_size += (bits / 8) as u64;
            self.weight_map.insert(spec.name.clone(), file.to_owned());
        }
    }

    /// Bytes of all tensors.
    pub(super) fn total_size(&self) -> u64 {
        self.total_size
    }

    /// The index of a model in shards; a single file has none.
    pub(super) fn text(&self) -> Option<String> {
        let json = json!({ "metadata": { "total_size": self.total_size }, "weight_map": self.weight_map });
        (self.files > 1).then(|| serde_json::to_string_pretty(&json).unwrap_or_default() + "\n")
    }
}

/// The name of one file of weights.
pub(super) fn file_name(file: &SafetensorsFile) -> &str {
    file.path().file_name().and_then(|name| name.to_str()).unwrap_or(MODEL_WEIGHTS)
}

/// A tensor as it is stored.
pub(super) fn spec_of(source: &MappedTensor) -> TensorSpec {
    TensorSpec { name: source.name().to_owned(), dtype: source.dtype(), shape: source.shape().to_vec() }
}

/// The values of `tensor` in the type that the base stores them in, rounded to nearest even.
///
/// # Errors
/// [`Error::TooLarge`].
pub(super) fn narrowed(tensor: &str, values: &[f32], dtype: Dtype) -> Result<Vec<u8>, Error> {
    let is_held = |x: &f32| match dtype {
        Dtype::BF16 => bf16::from_f32(*x).is_finite(),
        Dtype::F16 => f16::from_f32(*x).is_finite(),
        _ => x.is_finite(),
    };
    if let Some(element) = values.iter().position(|x| !is_held(x)) {
        return Err(Error::TooLarge { tensor: tensor.to_owned(), element, dtype });
    }
    Ok(match dtype {
        Dtype::BF16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_cannot_hold_is_not_narrowed() {
        let types =
            [(Dtype::F32, f32::MAX, 4), (Dtype::F64, f32::MAX, 8), (Dtype::BF16, 3.38e38, 2), (Dtype::F16, 65519.0, 2)];
        for (dtype, largest, bytes) in types {
            assert_eq!(narrowed("w", &[1.0, -largest], dtype).unwrap().len(), 2 * bytes, "{dtype}");
            let beyond = if largest == f32::MAX { f32::INFINITY } else { 1.01 * largest };
            for wrong in [beyond, -beyond, f32::NAN] {
                let error = narrowed("w", &[1.0, wrong], dtype).unwrap_err();
                assert!(
                    matches!(&error, Error::TooLarge { tensor, element: 1, .. } if tensor == "w"),
                    "{dtype}: {error}"
                );
            }
        }
    }
}
