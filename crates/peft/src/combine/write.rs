//! The combined adapter's files.

use std::path::Path;

use checkpoint::{StagedDirectory, Storage};
use serde_json::Map;

use super::Combined;
use crate::updates::{PeftFiles, UpdateKind};
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
        let matrices = self.modules.iter().flat_map(|(module, factors)| {
            let [end_a, end_b] = match factors.kind {
                UpdateKind::Embedding => ["lora_embedding_A", "lora_embedding_B"],
                UpdateKind::Linear => ["lora_A.weight", "lora_B.weight"],
            };
            let rank = factors.rank.max(1);
            [
                (names::key(module, end_a), vec![factors.rank, factors.a.len() / rank], factors.a.clone()),
                (names::key(module, end_b), vec![factors.b.len() / rank, factors.rank], factors.b.clone()),
            ]
        });
        let config = AdapterConfig::Lora(self.config.clone()).to_text(self.fan_in_fan_out);
        let mut staged = StagedDirectory::create(&Storage, dir)?;
        PeftFiles { config, tensors: matrices.collect() }.stage(&mut staged)?;
        Ok(staged.commit(Map::new())?)
    }
}
