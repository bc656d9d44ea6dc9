//! Attention of one block: projections, norms of heads, rotation, the op, output projection.

use std::ops::Range;
use std::sync::Arc;

use tensor::{AttentionSpec, ops};
use tensor::{Result, Tensor};

use super::{BlockSite, Linear, Norm, Scope};
use crate::cache::LayerCache;
use crate::config::{BlockConfig, Heads, LayerConfig, Projection};
use crate::module::Modules;

/// Keys and values before the tokens' own.
pub(crate) type Prefix = (Tensor, Tensor);

/// The attention of one block.
#[derive(Debug)]
pub(crate) struct Attention {
    projection: QueryKeyValue,
    head_norms: Option<[Norm; 2]>,
    /// The projection of the result, which the block applies.
    pub(super) output: Linear,
    heads: Heads,
    /// Index into [`Scope::ropes`]; `None` where positions are learned.
    rope: Option<usize>,
    spec: AttentionSpec,
}

#[derive(Debug)]
enum QueryKeyValue {
    Separate([Linear; 3]),
    /// One module, and the columns of its output that are queries, keys and values.
    Fused(Linear, FusedColumns),
}

type Columns = Arc<[Range<usize>]>;

/// The columns of a fused projection, which all blocks share.
pub(crate) type FusedColumns = [Columns; 3];

/// Where queries, keys and values lie in the output of the model's fused projection; nowhere if it has none.
pub(crate) fn fused_columns(config: &BlockConfig) -> FusedColumns {
    match config.attention.projection {
        Projection::Separate { .. } => [0, 1, 2].map(|_| [].into()),
        Projection::Fused { .. } => side_by_side(config.heads),
        Projection::FusedByHead { .. } => head_by_head(config.heads),
    }
}

impl Attention {
    /// Adds the modules of the block at `site` to the list; `own` is in what it differs from the others.
    pub(crate) fn declare(
        modules: &mut Modules,
        config: &BlockConfig,
        own: LayerConfig,
        columns: &FusedColumns,
        site: BlockSite<'_>,
    ) -> Self {
        let BlockSite { path: block, layer } = site;
        let (attention, heads) = (config.attention, config.heads);
        let (hidden, query, key) = (config.hidden_size, heads.query_size(), heads.key_value_size());
        let mut linear = |path: &str, size, bias| {
            Linear::declare(modules, format!("{block}.{path}"), Some(layer), size, attention.layout, bias)
        };
        let fused = [hidden, query + 2 * key];
        let projection = match attention.projection {
            Projection::Separate { query: q, key: k, value: v } => QueryKeyValue::Separate([
                linear(q, [hidden, query], attention.bias),
                linear(k, [hidden, key], attention.bias),
                linear(v, [hidden, key], attention.bias),
            ]),
            Projection::Fused { path } | Projection::FusedByHead { path } => {
                QueryKeyValue::Fused(linear(path, fused, attention.bias), columns.clone())
            }
        };
        let output = linear(attention.output, [query, hidden], attention.output_bias);
        let head_norms = attention.head_norms.map(|paths| {
            paths
                .map(|path| Norm::declare(modules, format!("{block}.{path}"), Some(layer), heads.head_dim, config.norm))
        });
        Self {
            projection,
            head_norms,
            output,
            heads,
            rope: config.rotary.then_some(own.rope),
            spec: AttentionSpec {
                num_heads: heads.num_attention_heads,
                num_kv_heads: heads.num_key_value_heads,
                head_dim: heads.head_dim,
                softmax_scale: own.softmax_scale,
                causal: config.causal,
                window: own.window,
                softcap: attention.softcap,
            },
        }
    }

    /// `x`: `[num_tokens, hidden_size]`, returned as `[num_tokens, num_attention_heads * head_dim]`: what the output
    /// projection is given.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        prefix: Option<&Prefix>,
        scope: &Scope,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        // [num_tokens, num_attention_heads * head_dim] and twice [num_tokens, num_key_value_heads * head_dim]
        let [q, k, v] = self.project(x, scope)?;
        let [q, k] = match &self.head_norms {
            Some([q_norm, k_norm]) => [self.norm_heads(q_norm, &q, scope)?, self.norm_heads(k_norm, &k, scope)?],
            None => [q, k],
        };
        let [q, k] = match self.rope {
            Some(rope) => [self.rotate(&q, rope, scope)?, self.rotate(&k, rope, scope)?],
            None => [q, k],
        };
        // A window counts virtual tokens like others, so that they leave it: there they are keys before those of the tokens.
        let (prefix, leading) = if self.spec.window.is_some() { (None, prefix) } else { (prefix, None) };
        let sequences = &scope.context.sequences;
        let (k, v, sequences) = match (cache, leading) {
            (None, None) => (k, v, Arc::clone(sequences)),
            (None, Some((first_k, first_v))) => {
                let longer = sequences.with_leading_keys(first_k.shape()[0])?;
                (ops::prepend(first_k, &k, sequences)?, ops::prepend(first_v, &v, sequences)?, Arc::new(longer))
            }
            (Some(cache), leading) => cache.append(&k, &v, leading)?,
        };
        ops::attention(&q, &k, &v, &self.spec, &sequences, prefix.map(|(k, v)| (k, v)))
    }

    fn project(&self, x: &Tensor, scope: &Scope) -> Result<[Tensor; 3]> {
        match &self.projection {
            QueryKeyValue::Separate([q, k, v]) => {
                let [queries, keys, values] = Linear::forward_all([q, k, v], x, scope)?;
                Ok([queries, keys, v.unkept(values, x, scope)?])
            }
            QueryKeyValue::Fused(linear, [q, k, v]) => {
                let qkv = linear.forward(x, scope)?;
                Ok([ops::columns(&qkv, q)?, ops::columns(&qkv, k)?, ops::columns(&qkv, v)?])
            }
        }
    }

    /// Norms every head of `x` by itself.
    fn norm_heads(&self, norm: &Norm, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        let head_dim = self.heads.head_dim;
        let heads = ops::reshape(x, [x.count() / head_dim, head_dim])?; // [num_tokens * num_heads, head_dim]
        ops::reshape(&norm.forward(&heads, scope)?, x.shape())
    }

    fn rotate(&self, x: &Tensor, rope: usize, scope: &Scope) -> Result<Tensor> {
        let rope = &scope.ropes[rope];
        ops::rope(x, &rope.table, &rope.rows, self.heads.head_dim)
    }
}

/// All queries, all keys, all values.
fn side_by_side(heads: Heads) -> FusedColumns {
    let (query, key) = (heads.query_size(), heads.key_value_size());
    [0..query, query..query + key, query + key..query + 2 * key].map(|columns| Arc::from([columns]))
}

/// Query, key and value of the first head, then of the second, ...
fn head_by_head(heads: Heads) -> FusedColumns {
    let Heads { num_attention_heads, head_dim, .. } = heads;
    [0, 1, 2].map(|part| {
        let start = |head| (3 * head + part) * head_dim;
        (0..num_attention_heads).map(|head| start(head)..start(head) + head_dim).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_fused_projections() {
        let heads = Heads { num_attention_heads: 4, num_key_value_heads: 2, head_dim: 3 };
        assert_eq!(side_by_side(heads).map(|columns| columns[0].clone()), [0..12, 12..18, 18..24]);
        let heads = Heads { num_attention_heads: 2, num_key_value_heads: 2, head_dim: 3 };
        let expected = [vec![0..3, 9..12], vec![3..6, 12..15], vec![6..9, 15..18]];
        assert_eq!(head_by_head(heads).map(|columns| columns.to_vec()), expected);
    }
}
