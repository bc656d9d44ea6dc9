//! All blocks of an encoder or of a decoder.

use std::sync::Arc;

use tensor::ops::EmbeddingOptions;
use tensor::{Offload, RelativeBuckets, Result, Tensor, ops};

use super::block::{Block, Inputs};
use super::cache::BlockCache;
use super::memory::Memory;
use crate::Pass;
use crate::config::EncoderDecoderConfig;
use crate::module::Modules;
use crate::parts::{BlockSite, Embedding, Norm, Prefix, Scope};

/// Blocks that share a bias, and the norm after the last.
#[derive(Debug)]
pub(super) struct Stack {
    embedding: Embedding,
    blocks: Vec<Arc<Block>>,
    /// Held by the first block.
    bias: Embedding,
    buckets: RelativeBuckets,
    norm: Norm,
}

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Encoder,
    Decoder,
}

impl Stack {
    /// Adds the modules to the list. The embedding has the values of `shared`.
    pub(super) fn declare(
        modules: &mut Modules,
        config: &EncoderDecoderConfig,
        side: Side,
        shared: &Embedding,
    ) -> Self {
        // Blocks are numbered through both stacks.
        let (path, first, layers, buckets) = match side {
            Side::Encoder => ("encoder", 0, config.num_layers, config.encoder_buckets),
            Side::Decoder => ("decoder", config.num_layers, config.num_decoder_layers, config.decoder_buckets),
        };
        let (hidden, options) = (config.hidden_size, EmbeddingOptions::default());
        let embedding =
            Embedding::declare(modules, &format!("{path}.embed_tokens"), [config.vocab_size, hidden], options);
        modules.tie(embedding.weight, shared.weight);
        let blocks = (0..layers).map(|layer| {
            let path = format!("{path}.block.{layer}");
            let site = BlockSite { path: &path, layer: first + layer };
            Arc::new(Block::declare(modules, config, site, side == Side::Decoder))
        });
        let blocks = blocks.collect();
        let table = format!("{path}.block.0.layer.0.SelfAttention.relative_attention_bias");
        let size = [buckets.num_buckets(), config.heads.num_attention_heads];
        let bias = Embedding::declare(modules, &table, size, options);
        let norm = Norm::declare(modules, format!("{path}.final_layer_norm"), None, hidden, config.norm);
        Self { embedding, blocks, bias, buckets, norm }
    }

    /// The rows `ids` of the embedding: `[ids.len(), hidden_size]`.
    pub(super) fn embed(&self, ids: &Arc<[u32]>, scope: &Scope) -> Result<Tensor> {
        self.embedding.forward(ids, scope)
    }

    /// Keeps what the blocks of a decoder will see of `memory` in `caches`: `rows` says whose texts were encoded, and how many rows
    /// each has.
    pub(super) fn remember(&self, memory: &Memory, rows: &[(usize, usize)], caches: &mut [BlockCache]) -> Result<()> {
        for (block, cache) in self.blocks.iter().zip(caches) {
            if let Some(seen) = block.cross_keys_and_values(memory) {
                let (keys, values) = seen?;
                cache.cross.push(&keys, &values, rows)?;
            }
        }
        Ok(())
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape, normed. A decoder is given `memory`, or `caches` that hold
    /// what it sees of it, where texts go on. With gradient checkpointing a block keeps its inputs alone and is computed again
    /// in backward; never where a text goes on.
    pub(super) fn forward(
        &self,
        mut x: Tensor,
        memory: Option<&Memory>,
        scope: &Scope,
        pass: &Pass,
        mut caches: Option<&mut [BlockCache]>,
    ) -> Result<Tensor> {
        let rows: Arc<[u32]> = (0..self.buckets.num_buckets() as u32).collect();
        let bias = (self.bias.forward(&rows, scope)?, self.buckets);
        for (layer, block) in self.blocks.iter().enumerate() {
            let mut cache = caches.as_mut().map(|caches| &mut caches[layer]);
            let prefix = match (memory, &mut cache) {
                (None, None) => None,
                (Some(_), None) => scope.adapter.prefix(layer)?,
                (_, Some(cache)) => cache.own.prefix(|| scope.adapter.prefix(layer))?,
            };
            let inputs = Inputs { bias: bias.clone(), prefix, memory: memory.cloned() };
            x = match pass.gradient_checkpointing && cache.is_none() {
                true => checkpointed(block, &x, inputs, scope, pass.offload.as_ref())?,
                false => block.forward(&x, &inputs, scope, cache)?,
            };
        }
        self.norm.forward(&x, scope)
    }
}

/// The block, keeping its inputs alone. What is computed once for all blocks has its history outside of them.
fn checkpointed(
    block: &Arc<Block>,
    x: &Tensor,
    inputs: Inputs,
    scope: &Scope,
    offload: Option<&Offload>,
) -> Result<Tensor> {
    let (block, scope) = (Arc::clone(block), scope.clone());
    let mut tensors = vec![x.clone(), inputs.bias.0.clone()];
    tensors.extend(inputs.memory.iter().map(|memory| memory.hidden.clone()));
    tensors.extend(inputs.prefix.iter().flat_map(|(k, v)| [k.clone(), v.clone()]));
    ops::checkpoint(&tensors.iter().collect::<Vec<_>>(), offload, move |tensors| {
        let mut given = tensors.iter().cloned();
        let mut next = || given.next().expect("as many as were kept");
        let x = next();
        let bias = (next(), inputs.bias.1);
        let memory = inputs.memory.as_ref().map(|memory| Memory { hidden: next(), ..memory.clone() });
        let prefix: Option<Prefix> = inputs.prefix.as_ref().map(|_| (next(), next()));
        block.forward(&x, &Inputs { bias, prefix, memory }, &scope, None)
    })
}
