//! One block of an encoder or a decoder: attention, in a decoder attention to the encoder, MLP, each on the normed hidden
//! states and added to them.

use tensor::{Result, Tensor};

use super::attention::{Bias, CrossAttention, Seen, SelfAttention};
use super::cache::BlockCache;
use super::memory::Memory;
use crate::config::EncoderDecoderConfig;
use crate::module::Modules;
use crate::parts::{BlockSite, Mlp, Norm, Prefix, Residual, Scope};
use crate::{Join, Part};

/// A block.
#[derive(Debug)]
pub(super) struct Block {
    attention: Layer<SelfAttention>,
    /// In a decoder.
    cross_attention: Option<Layer<CrossAttention>>,
    mlp: Layer<Mlp>,
}

/// A part of a block: Hugging Face's `layer.0`, `layer.1`, ...
#[derive(Clone, Copy, Debug)]
struct Layer<T> {
    norm: Norm,
    part: T,
    residual: Residual,
}

/// What a block is given beside the hidden states.
#[derive(Clone)]
pub(super) struct Inputs {
    pub(super) bias: Bias,
    /// In a decoder.
    pub(super) prefix: Option<Prefix>,
    /// In a decoder whose cache does not hold what it sees of it.
    pub(super) memory: Option<Memory>,
}

impl Block {
    /// Adds the modules of the block at `site` to the list.
    pub(super) fn declare(
        modules: &mut Modules,
        config: &EncoderDecoderConfig,
        site: BlockSite<'_>,
        is_decoder: bool,
    ) -> Self {
        let (hidden, heads) = (config.hidden_size, config.heads);
        let paths: Vec<String> = (0..3).map(|i| format!("{}.layer.{i}", site.path)).collect();
        let declare = Declare { config, layer: site.layer };
        let attention = declare.layer(modules, &paths[0], Part::Attention, |modules, layer| {
            let path = format!("{}.SelfAttention", layer.path);
            SelfAttention::declare(modules, BlockSite { path: &path, ..layer }, hidden, heads, is_decoder)
        });
        let cross_attention = is_decoder.then(|| {
            declare.layer(modules, &paths[1], Part::CrossAttention, |modules, layer| {
                let path = format!("{}.EncDecAttention", layer.path);
                CrossAttention::declare(modules, BlockSite { path: &path, ..layer }, hidden, heads)
            })
        });
        let path = &paths[if is_decoder { 2 } else { 1 }];
        let mlp = declare.layer(modules, path, Part::Mlp, |modules, layer| {
            Mlp::declare(modules, config.mlp, [hidden, config.intermediate_size], layer)
        });
        Self { attention, cross_attention, mlp }
    }

    /// Keys and values that a decoder's tokens see of `memory`; `None` in an encoder.
    pub(super) fn cross_keys_and_values(&self, memory: &Memory) -> Option<Result<(Tensor, Tensor)>> {
        self.cross_attention.as_ref().map(|layer| layer.part.keys_and_values(memory))
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        inputs: &Inputs,
        scope: &Scope,
        cache: Option<&mut BlockCache>,
    ) -> Result<Tensor> {
        let (own_cache, cross_cache) = cache.map(|cache| (&mut cache.own, &cache.cross)).unzip();
        let mut x = self.attention.join(x, scope, |part, normed| {
            part.forward(normed, &inputs.bias, inputs.prefix.as_ref(), scope, own_cache)
        })?;
        let seen = cross_cache.map(Seen::Cached).or(inputs.memory.as_ref().map(Seen::Memory));
        if let (Some(layer), Some(seen)) = (&self.cross_attention, seen) {
            x = layer.join(&x, scope, |part, normed| part.forward(normed, seen, scope))?;
        }
        self.mlp.join(&x, scope, |part, normed| part.forward(normed, scope))
    }
}

impl<T> Layer<T> {
    /// The hidden states `x` with what the part computes of them.
    fn join(&self, x: &Tensor, scope: &Scope, part: impl FnOnce(&T, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let output = part(&self.part, &self.norm.forward(x, scope)?)?;
        self.residual.join(Join { output: &output, input: x, residual: x, norm: None }, scope)
    }
}

/// What all parts of a block are declared with.
#[derive(Clone, Copy)]
struct Declare<'a> {
    config: &'a EncoderDecoderConfig,
    layer: usize,
}

impl Declare<'_> {
    fn layer<T>(
        &self,
        modules: &mut Modules,
        path: &str,
        part: Part,
        declare: impl FnOnce(&mut Modules, BlockSite<'_>) -> T,
    ) -> Layer<T> {
        let (hidden, layer) = (self.config.hidden_size, self.layer);
        let own = declare(modules, BlockSite { path, layer });
        Layer {
            part: own,
            norm: Norm::declare(modules, format!("{path}.layer_norm"), Some(layer), hidden, self.config.norm),
            residual: Residual::declare(modules, path, layer, part, hidden),
        }
    }
}
