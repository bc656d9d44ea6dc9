//! All parts of an encoder-decoder, and the list of their modules.

use tensor::Layout;
use tensor::ops::EmbeddingOptions;

use super::stack::{Side, Stack};
use crate::config::EncoderDecoderConfig;
use crate::module::Modules;
use crate::parts::{Embedding, Linear};

/// An encoder-decoder without its weights.
#[derive(Debug)]
pub(crate) struct Network {
    pub(super) encoder: Stack,
    pub(super) decoder: Stack,
    pub(super) head: Linear,
}

/// The embedding whose values all share.
pub(super) const EMBEDDING: &str = "shared";

impl Network {
    /// Makes the parts that `config` describes and lists their modules. As in transformers 5 the embeddings of both sides
    /// and the head share the values of one embedding, unless the files hold others.
    pub(crate) fn declare(config: &EncoderDecoderConfig) -> (Self, Modules) {
        let mut modules = Modules::default();
        let size = [config.vocab_size, config.hidden_size];
        let shared = Embedding::declare(&mut modules, EMBEDDING, size, EmbeddingOptions::default());
        let encoder = Stack::declare(&mut modules, config, Side::Encoder, &shared);
        let decoder = Stack::declare(&mut modules, config, Side::Decoder, &shared);
        let size = [config.hidden_size, config.vocab_size];
        let head = Linear::declare(&mut modules, "lm_head".to_owned(), None, size, Layout::OutIn, false);
        modules.set_head(head.module, Some(shared.weight));
        (Self { encoder, decoder, head }, modules)
    }
}
