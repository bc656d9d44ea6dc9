//! What a token is given to the first block as: `norm(word + token type + position)`.

use std::sync::Arc;

use tensor::ops::EmbeddingOptions;
use tensor::{Result, Tensor, ops};

use crate::Input;
use crate::config::{EncoderConfig, FirstPosition};
use crate::module::Modules;
use crate::parts::{Embedding, Norm, Scope};

/// The tables and their norm.
#[derive(Debug)]
pub(crate) struct Embeddings {
    words: Embedding,
    positions: Embedding,
    token_types: Option<Embedding>,
    norm: Norm,
    first_position: FirstPosition,
}

impl Embeddings {
    /// Adds the modules to the list, each at the path that `path` makes of its own.
    pub(crate) fn declare(modules: &mut Modules, config: &EncoderConfig, path: impl Fn(&str) -> String) -> Self {
        let (tables, hidden) = (&config.embeddings, config.block.hidden_size);
        let mut table = |name, rows, padding_idx| {
            let options = EmbeddingOptions { scale: None, padding_idx };
            Embedding::declare(modules, &path(name), [rows, hidden], options)
        };
        let position_padding = match tables.first_position {
            FirstPosition::Zero => None,
            FirstPosition::AfterPadding(padding_idx) => Some(padding_idx),
        };
        let rows = config.max_position_embeddings + tables.first_position.unused();
        Self {
            words: table(tables.words, config.vocab_size, tables.padding_idx),
            positions: table(tables.positions, rows, position_padding),
            token_types: tables.token_types.map(|(name, kinds)| table(name, kinds, None)),
            norm: Norm::declare(modules, path(tables.norm), None, hidden, config.block.norm),
            first_position: tables.first_position,
        }
    }

    /// A row for each token, and before each sequence those of `prompt`, which are of the first part of the text.
    pub(crate) fn forward(&self, input: &Input, prompt: Option<&Tensor>, scope: &Scope) -> Result<Tensor> {
        let mut x = self.words.forward(&input.input_ids, scope)?;
        if let Some(prompt) = prompt {
            x = ops::prepend(prompt, &x, &input.sequences)?;
        }
        let prompt_len = prompt.map_or(0, |prompt| prompt.shape()[0]);
        if let Some(token_types) = &self.token_types {
            let types = token_types_of(input, prompt_len, x.shape()[0]);
            x = ops::add(&x, &token_types.forward(&types, scope)?)?;
        }
        x = ops::add(&x, &self.positions.forward(&self.rows(input, prompt_len, scope), scope)?)?;
        self.norm.forward(&x, scope)
    }

    /// The row of the table of positions for each row.
    fn rows(&self, input: &Input, prompt_len: usize, scope: &Scope) -> Arc<[u32]> {
        let positions = &scope.context.positions;
        let FirstPosition::AfterPadding(padding_idx) = self.first_position else { return Arc::clone(positions) };
        let mut rows: Vec<u32> = positions.iter().map(|position| position + padding_idx + 1).collect();
        // A padding token within a text keeps its own row, and those after it are counted without it. After a prompt
        // transformers sees embeddings alone, and counts all.
        if prompt_len == 0 {
            for ends in input.sequences.cu_seqlens_q().windows(2) {
                let tokens = ends[0] as usize..ends[1] as usize;
                let mut skipped = 0;
                for (row, &id) in rows[tokens.clone()].iter_mut().zip(&input.input_ids[tokens]) {
                    skipped += u32::from(id == padding_idx);
                    *row = if id == padding_idx { padding_idx } else { *row - skipped };
                }
            }
        }
        rows.into()
    }
}

/// The part of the text that each of `rows` rows belongs to.
fn token_types_of(input: &Input, prompt_len: usize, rows: usize) -> Arc<[u32]> {
    let Some(types) = &input.token_type_ids else { return vec![0; rows].into() };
    let mut all = Vec::with_capacity(rows);
    for ends in input.sequences.cu_seqlens_q().windows(2) {
        all.resize(all.len() + prompt_len, 0);
        all.extend(&types[ends[0] as usize..ends[1] as usize]);
    }
    all.into()
}
