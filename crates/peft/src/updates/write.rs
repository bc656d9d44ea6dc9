//! Updates as PEFT's files.

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterDirectory, CheckpointError, Dtype, SafetensorsFile, StagedDirectory,
    TensorSpec,
};

use super::{LoraUpdates, UpdateKind, modules_to_save};
use crate::lora::LoraConfig;
use crate::{AdapterConfig, ModuleNames, PeftError, finite, names};

/// A configuration and the tensors that go with it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeftFiles {
    /// The text of `adapter_config.json`.
    pub config: String,
    /// Names, sizes and values of the tensors.
    pub tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl LoraUpdates {
    /// The configuration of a LoRA adapter with these updates: the usual rank and alpha, and patterns for what differs.
    pub fn config(&self) -> LoraConfig {
        let (r, scaling) = self.usual().unwrap_or((8, 1.0));
        let alpha = |rank: usize, scaling: f64| scaling * rank as f64;
        let pattern = |module: &str| module.replace('.', r"\.");
        let ranks = self.updates.iter().filter(|update| update.rank != r);
        let alphas = self.updates.iter().filter(|update| alpha(update.rank, update.scaling) != alpha(r, scaling));
        let names: Vec<String> = self.updates.iter().map(|update| update.module.clone()).collect();
        LoraConfig {
            common: self.common.clone(),
            r,
            lora_alpha: alpha(r, scaling),
            lora_dropout: self.dropout,
            // Names that mean the same modules wherever they are read; ends of names could mean more.
            target_modules: Some(ModuleNames::List(names)),
            rank_pattern: ranks.map(|update| (pattern(&update.module), update.rank)).collect(),
            alpha_pattern: alphas.map(|update| (pattern(&update.module), alpha(update.rank, update.scaling))).collect(),
            use_dora: self.updates.iter().any(|update| update.magnitude.is_some()),
            modules_to_save: modules_to_save(&self.common, &self.head),
            ..LoraConfig::default()
        }
    }

    /// The adapter's files in PEFT's format.
    pub fn to_peft(&self) -> PeftFiles {
        let mut tensors = Vec::with_capacity(2 * self.updates.len());
        for update in &self.updates {
            let [end_a, end_b] = match update.kind {
                UpdateKind::Embedding => ["lora_embedding_A", "lora_embedding_B"],
                UpdateKind::Linear => ["lora_A.weight", "lora_B.weight"],
            };
            let mut add = |end, shape: Vec<usize>, values: &[f32]| {
                tensors.push((names::key(&update.module, end), shape, values.to_vec()));
            };
            add(end_a, vec![update.rank, update.inputs()], &update.a);
            add(end_b, vec![update.outputs(), update.rank], &update.b);
            if let Some(magnitude) = &update.magnitude {
                add("lora_magnitude_vector", vec![magnitude.len()], magnitude);
            }
        }
        tensors.extend(
            self.head.iter().map(|tensor| {
                (format!("{}{}", names::PREFIX, tensor.name), tensor.shape.clone(), tensor.values.clone())
            }),
        );
        PeftFiles { config: AdapterConfig::Lora(self.config()).to_text(self.fan_in_fan_out), tensors }
    }
}

impl PeftFiles {
    /// What `directory` holds, in f32.
    ///
    /// # Errors
    /// [`PeftError::Checkpoint`] for values that are no floats.
    pub fn of(directory: &AdapterDirectory) -> Result<Self, PeftError> {
        let tensors = directory.weights.tensors();
        let read = tensors.map(|tensor| Ok((tensor.name().to_owned(), tensor.shape().to_vec(), tensor.to_f32()?)));
        let tensors = read.collect::<Result<_, PeftError>>()?;
        Ok(Self { config: directory.config.clone(), tensors })
    }

    /// As the adapter that stands in `dir` in another format; `path` is the file that the tensors were in.
    ///
    /// # Errors
    /// [`PeftError::Checkpoint`] if two tensors have the same name.
    pub fn into_directory(self, dir: &Path, path: &Path) -> Result<AdapterDirectory, PeftError> {
        let weights = SafetensorsFile::in_memory(path, &self.specs(), |spec| {
            Ok::<_, CheckpointError>(Cow::Owned(self.bytes(spec)))
        })?;
        Ok(AdapterDirectory::translated(dir, self.config, weights))
    }

    /// Writes them into a directory in the making.
    ///
    /// # Errors
    /// [`PeftError::NonFinite`]; [`PeftError::Checkpoint`].
    pub fn stage(&self, staged: &mut StagedDirectory<'_>) -> Result<(), PeftError> {
        self.tensors.iter().try_for_each(|(name, _, values)| finite::check_values(name, values))?;
        staged.write_safetensors(ADAPTER_WEIGHTS, &self.specs(), &[("format", "pt")], |spec| {
            Ok::<_, PeftError>(Cow::Owned(self.bytes(spec)))
        })?;
        Ok(staged.write(ADAPTER_CONFIG, self.config.as_bytes())?)
    }

    fn specs(&self) -> Vec<TensorSpec> {
        let spec = |(name, shape, _): &(String, Vec<usize>, Vec<f32>)| TensorSpec {
            name: name.clone(),
            dtype: Dtype::F32,
            shape: shape.clone(),
        };
        self.tensors.iter().map(spec).collect()
    }

    fn bytes(&self, spec: &TensorSpec) -> Vec<u8> {
        let found = self.tensors.iter().find(|(name, ..)| *name == spec.name);
        found.map_or_else(Vec::new, |(_, _, values)| bytemuck::cast_slice(values).to_vec())
    }
}
