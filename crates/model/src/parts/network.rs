//! All parts of a decoder, and the list of their modules.

use device::DType;
use half::bf16;
use tensor::Layout;
use tensor::ops::EmbeddingOptions;

use super::{Blocks, Embedding, Linear, Norm};
use crate::config::{DecoderConfig, Positions};
use crate::module::Modules;

/// A decoder without its weights.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) embedding: Embedding,
    /// A table of learned positions.
    pub(crate) positions: Option<Embedding>,
    pub(crate) blocks: Blocks,
    pub(crate) norm: Norm,
    pub(crate) head: Linear,
}

impl Network {
    /// Makes the parts that `config` describes and lists their modules. `dtype` is the one that the model computes in.
    pub(crate) fn declare(config: &DecoderConfig, dtype: DType) -> (Self, Modules) {
        let mut modules = Modules::default();
        let (names, hidden) = (&config.names, config.hidden_size);
        let options = EmbeddingOptions {
            scale: config.scaled_embedding.then(|| embedding_scale(hidden, dtype)),
            padding_idx: config.padding_idx,
        };
        let embedding = Embedding::declare(&mut modules, names.embedding, [config.vocab_size, hidden], options);
        let positions = match config.positions {
            Positions::Learned { path } => {
                let size = [config.max_position_embeddings, hidden];
                Some(Embedding::declare(&mut modules, path, size, EmbeddingOptions::default()))
            }
            Positions::Rotary(_) => None,
        };
        let blocks = Blocks::declare(&mut modules, &config.block(), &config.layers, names.blocks);
        let norm = Norm::declare(&mut modules, names.norm.to_owned(), None, hidden, config.norm);
        let size = [hidden, config.num_labels.unwrap_or(config.vocab_size)];
        let head = Linear::declare(&mut modules, names.head.to_owned(), None, size, Layout::OutIn, false);
        modules.set_head(head.module, config.tie_word_embeddings.then_some(embedding.weight));
        (Self { embedding, positions, blocks, norm, head }, modules)
    }
}

/// `sqrt(hidden_size)`, rounded to the dtype of the model as Gemma was trained with.
fn embedding_scale(hidden_size: usize, dtype: DType) -> f32 {
    let scale = (hidden_size as f64).sqrt() as f32;
    match dtype {
        DType::F32 => scale,
        DType::BF16 => bf16::from_f32(scale).to_f32(),
        DType::F16 => half::f16::from_f32(scale).to_f32(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_of_gemma_7b_is_55_5_in_bfloat16() {
        assert_eq!(embedding_scale(3072, DType::BF16), 55.5);
        assert_eq!(embedding_scale(3072, DType::F32), 55.425_625);
        assert_eq!(embedding_scale(1024, DType::F16), 32.0);
    }
}
