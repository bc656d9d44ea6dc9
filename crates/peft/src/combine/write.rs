//! The combined adapter's files.

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, Dtype, StagedDirectory, Storage, TensorSpec};
use serde_json::Map;

use super::Combined;
use crate::{AdapterConfig, PeftError, names};

impl Combined {
    /// How many modules it changes.
    pub fn num_modules(&self) -> usize {
        self.modules.len()
    }

    /// Writes it as the directory `dir`, which must not exist, whole or not at all.
    ///
    /// # Errors
    /// [`PeftError::Checkpoint`].
    pub fn save(&self, dir: &Path) -> Result<(), PeftError> {
        let mut specs = Vec::with_capacity(2 * self.modules.len());
        let mut values: Vec<&[f32]> = Vec::with_capacity(2 * self.modules.len());
        for (module, factors) in &self.modules {
            let [end_a, end_b] = match factors.embedding {
                true => ["lora_embedding_A", "lora_embedding_B"],
                false => ["lora_A.weight", "lora_B.weight"],
            };
            let rank = factors.rank.max(1);
            for (end, shape, matrix) in [
                (end_a, vec![factors.rank, factors.a.len() / rank], &factors.a),
                (end_b, vec![factors.b.len() / rank, factors.rank], &factors.b),
            ] {
                specs.push(TensorSpec { name: names::key(module, end), dtype: Dtype::F32, shape });
                values.push(matrix);
            }
        }
        let mut staged = StagedDirectory::create(&Storage, dir)?;
        staged.write_safetensors(ADAPTER_WEIGHTS, &specs, &[("format", "pt")], |spec| {
            let index = specs.iter().position(|known| known.name == spec.name);
            let bytes: &[u8] = index.map_or(&[], |index| bytemuck::cast_slice(values[index]));
            Ok::<_, PeftError>(Cow::Borrowed(bytes))
        })?;
        staged
            .write(ADAPTER_CONFIG, AdapterConfig::Lora(self.config.clone()).to_text(self.fan_in_fan_out).as_bytes())?;
        Ok(staged.commit(Map::new())?)
    }
}
