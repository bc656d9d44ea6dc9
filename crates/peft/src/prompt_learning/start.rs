//! Starting values that are not drawn: embeddings of tokens, keys and values of a text.

use device::philox::Stream;
use model::{Base, ModuleKind};
use tensor::{Tensor, no_grad, ops};

use super::plan::Place;
use super::{PromptLearning, PromptMethod, PromptTuning, PromptTuningInit};
use crate::{PeftError, init};

/// Streams of training use the step as their second coordinate, those of starting values the largest; this one is neither's.
const VOCABULARY_STEP: u32 = u32::MAX - 1;

impl PromptLearning {
    /// Sets the embeddings of prompt tuning to those of tokens, if they are to start from some.
    pub(super) fn start_from_vocabulary(&self, base: &Base, seed: u64) -> Result<(), PeftError> {
        let PromptMethod::PromptTuning(own) = &self.config.method else { return Ok(()) };
        let rows = self.place.shape()[0];
        let ids = match own.prompt_tuning_init {
            PromptTuningInit::Random => return self.start_beside_patches(base, seed),
            PromptTuningInit::SampleVocab => sample(rows, base.dimensions().vocab_size, seed),
            PromptTuningInit::Text => repeated(own, rows)?,
        };
        let embedding = base.modules().iter().find(|module| matches!(module.kind, ModuleKind::Embedding { .. }));
        let Some(embedding) = embedding else {
            let reason = "the model has no embedding of tokens to start from; use \"RANDOM\"".to_owned();
            return Err(PeftError::Setting { key: "prompt_tuning_init", reason });
        };
        let table = base.parameter(embedding.weight)?;
        let values = no_grad(|| ops::embedding(&ids.into(), &table, embedding.embedding_options))?;
        Ok(self.parameters.set(0, &values.to_vec())?)
    }

    /// Sets random embeddings beside those of patches to the size that these have: uniform in the bound of Xavier's
    /// initialization between a patch and its embedding, as Jia et al. 2022, "Visual prompt tuning", start them.
    fn start_beside_patches(&self, base: &Base, seed: u64) -> Result<(), PeftError> {
        let [rows, hidden_size] = self.place.shape();
        let values_of_patch = base.modules().iter().find_map(|module| match module.kind {
            ModuleKind::Conv2d { in_channels, kernel_size: [height, width], .. } => Some(in_channels * height * width),
            _ => None,
        });
        let Some(values_of_patch) = values_of_patch else { return Ok(()) };
        let mut values = vec![0.0; rows * hidden_size];
        init::uniform(&mut values, (6.0 / (values_of_patch + hidden_size) as f32).sqrt(), seed, 0);
        Ok(self.parameters.set(0, &values)?)
    }

    /// Sets the prefix to the keys and values of a text, `[num_virtual_tokens, token_dim]` each, block by block: those of the
    /// text at positions 0, 1, ..., so that the model computes what it would after that text.
    ///
    /// # Errors
    /// [`PeftError::Setting`] if the prefix is projected, or if there are not as many as it has.
    pub fn start_from_keys_and_values(&self, blocks: &[(Tensor, Tensor)]) -> Result<(), PeftError> {
        let refuse = |reason: String| PeftError::Setting { key: "prefix_tuning_init_text", reason };
        let Place::Prefix { num_virtual_tokens, slots, token_dim, .. } = self.place else {
            return Err(refuse("only prefix tuning starts from keys and values".to_owned()));
        };
        if !self.encoder_state.is_empty() {
            return Err(refuse("a projected prefix cannot be set; use prefix_projection = false".to_owned()));
        }
        let slot = |tensor: &&Tensor| tensor.shape() == [num_virtual_tokens, token_dim];
        let tensors: Vec<&Tensor> = blocks.iter().flat_map(|(keys, values)| [keys, values]).filter(slot).collect();
        if tensors.len() != slots || blocks.len() * 2 != slots {
            let expected = format!("{} blocks of {num_virtual_tokens} tokens", slots / 2);
            return Err(refuse(format!("expected keys and values of {expected}, got other shapes")));
        }
        let mut flat = vec![0.0; num_virtual_tokens * slots * token_dim];
        for (slot, tensor) in tensors.iter().enumerate() {
            let rows = flat.chunks_exact_mut(slots * token_dim);
            for (row, values) in rows.zip(tensor.to_vec().chunks_exact(token_dim)) {
                row[slot * token_dim..(slot + 1) * token_dim].copy_from_slice(values);
            }
        }
        Ok(self.parameters.set(0, &flat)?)
    }
}

/// Random tokens.
fn sample(rows: usize, vocab_size: usize, seed: u64) -> Vec<u32> {
    let stream = Stream::new(seed, VOCABULARY_STEP, 0);
    (0..rows as u64).map(|row| stream.below(row, vocab_size as u64) as u32).collect()
}

/// The tokens of the text, cut or repeated.
fn repeated(own: &PromptTuning, rows: usize) -> Result<Vec<u32>, PeftError> {
    if own.init_token_ids.is_empty() {
        let reason = "the text has no tokens to start from".to_owned();
        return Err(PeftError::Setting { key: "prompt_tuning_init_text", reason });
    }
    Ok(own.init_token_ids.iter().copied().cycle().take(rows).collect())
}
