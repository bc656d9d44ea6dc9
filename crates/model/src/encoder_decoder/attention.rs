//! Attention of an encoder-decoder's block: of tokens to one another, with a bias by distance, and of a decoder to the
//! encoder's output.

use tensor::{AttentionSpec, Layout, RelativeBuckets, Result, Tensor, ops};

use super::memory::Memory;
use crate::cache::LayerCache;
use crate::config::Heads;
use crate::module::Modules;
use crate::parts::{BlockSite, Linear, Prefix, Scope};

/// The bias of a pass, which all blocks of a stack share: `[num_buckets, num_heads]`, and how a row of it is found.
pub(super) type Bias = (Tensor, RelativeBuckets);

/// Queries, keys, values and the output projection, all without biases.
#[derive(Clone, Copy, Debug)]
struct Projections {
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

impl Projections {
    /// Adds the modules below `site` to the list.
    fn declare(modules: &mut Modules, site: BlockSite<'_>, hidden_size: usize, heads: Heads) -> Self {
        let inner = heads.query_size();
        let mut linear = |name: &str, size| {
            Linear::declare(modules, format!("{}.{name}", site.path), Some(site.layer), size, Layout::OutIn, false)
        };
        Self {
            query: linear("q", [hidden_size, inner]),
            key: linear("k", [hidden_size, inner]),
            value: linear("v", [hidden_size, inner]),
            output: linear("o", [inner, hidden_size]),
        }
    }
}

fn spec(heads: Heads, causal: bool) -> AttentionSpec {
    AttentionSpec {
        num_heads: heads.num_attention_heads,
        num_kv_heads: heads.num_key_value_heads,
        head_dim: heads.head_dim,
        softmax_scale: 1.0,
        causal,
        window: None,
        softcap: None,
    }
}

/// Attention of tokens to those of their own sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct SelfAttention {
    projections: Projections,
    spec: AttentionSpec,
}

impl SelfAttention {
    /// Adds the modules below `site` to the list.
    pub(super) fn declare(
        modules: &mut Modules,
        site: BlockSite<'_>,
        hidden_size: usize,
        heads: Heads,
        causal: bool,
    ) -> Self {
        Self { projections: Projections::declare(modules, site, hidden_size, heads), spec: spec(heads, causal) }
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        (table, buckets): &Bias,
        prefix: Option<&Prefix>,
        scope: &Scope,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let Projections { query, key, value, output } = &self.projections;
        let [q, k, v] = Linear::forward_all([query, key, value], x, scope)?;
        let (prefix, bias) = (prefix.map(|(k, v)| (k, v)), Some((table, *buckets)));
        let attended = match cache {
            None => ops::attention_with_bias(&q, &k, &v, &self.spec, &scope.context.sequences, prefix, bias)?,
            Some(cache) => {
                let (k, v, sequences) = cache.append(&k, &v, None)?;
                ops::attention_with_bias(&q, &k, &v, &self.spec, &sequences, prefix, bias)?
            }
        };
        output.forward(&attended, scope)
    }
}

/// What a decoder's tokens see of the encoder's.
pub(super) enum Seen<'a> {
    /// The encoder's output, of which keys and values are computed.
    Memory(&'a Memory),
    /// Keys and values that were computed once.
    Cached(&'a LayerCache),
}

/// Attention of a decoder's tokens to all tokens of the text that was encoded for their sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct CrossAttention {
    projections: Projections,
    spec: AttentionSpec,
}

impl CrossAttention {
    /// Adds the modules below `site` to the list.
    pub(super) fn declare(modules: &mut Modules, site: BlockSite<'_>, hidden_size: usize, heads: Heads) -> Self {
        Self { projections: Projections::declare(modules, site, hidden_size, heads), spec: spec(heads, false) }
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape.
    pub(super) fn forward(&self, x: &Tensor, seen: Seen<'_>, scope: &Scope) -> Result<Tensor> {
        let q = self.projections.query.forward(x, scope)?;
        let (k, v, sequences) = match seen {
            Seen::Cached(cache) => cache.seen()?,
            Seen::Memory(memory) => {
                let (k, v) = self.keys_and_values(memory)?;
                (k, v, memory.seen_by(&scope.context.sequences)?)
            }
        };
        let attended = ops::attention(&q, &k, &v, &self.spec, &sequences, None)?;
        self.projections.output.forward(&attended, scope)
    }

    /// Of the encoder's tokens: their sequences, and not the decoder's, are what a hook is told.
    pub(super) fn keys_and_values(&self, Memory { hidden, scope }: &Memory) -> Result<(Tensor, Tensor)> {
        Ok((self.projections.key.forward(hidden, scope)?, self.projections.value.forward(hidden, scope)?))
    }
}
