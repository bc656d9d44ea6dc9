//! Generation token by token: keys and values of the text so far.

use std::sync::Arc;

use tensor::{RowBuffer, Sequences, Tensor, no_grad};

use crate::parts::Prefix;
use crate::{Decoder, Input, Pass, Result};

/// Keys and values of one text, block by block, and its tokens.
///
/// A block that sees a window keeps that many tokens. Where a rotation depends on the length of the text (dynamic and
/// longrope scaling), what was computed at a shorter length is no longer what the model computes: when the frequencies
/// change, everything is computed again. So a cached text always gives what computing it at once would.
#[derive(Debug)]
pub struct KvCache {
    input_ids: Vec<u32>,
    layers: Vec<LayerCache>,
    /// Which frequencies the keys were rotated by.
    variants: Vec<usize>,
}

/// Keys and values of one block.
#[derive(Debug)]
pub(crate) struct LayerCache {
    keys: RowBuffer,
    values: RowBuffer,
    window: Option<usize>,
    /// What the adapter sets before them: computed once for the text.
    prefix: Option<Prefix>,
}

impl KvCache {
    /// The tokens that are in it.
    pub fn input_ids(&self) -> &[u32] {
        &self.input_ids
    }

    fn clear(&mut self) {
        self.input_ids.clear();
        self.layers.iter_mut().for_each(|layer| {
            layer.keys.clear();
            layer.values.clear();
        });
    }
}

impl LayerCache {
    /// An empty one for keys and values of `columns` elements each, of which a block sees the last `window`.
    pub(crate) fn new(columns: usize, window: Option<usize>) -> tensor::Result<Self> {
        Ok(Self { keys: RowBuffer::new(columns)?, values: RowBuffer::new(columns)?, window, prefix: None })
    }

    /// What is set before the keys and values: what `compute` gives where the text begins.
    pub(crate) fn prefix(
        &mut self,
        compute: impl FnOnce() -> tensor::Result<Option<Prefix>>,
    ) -> tensor::Result<Option<Prefix>> {
        if self.keys.rows() == 0 {
            self.prefix = compute()?;
        }
        Ok(self.prefix.clone())
    }

    /// Takes the keys and values of new tokens, and gives those of all tokens that these see, with the sequences of
    /// queries and keys. `leading` come before those of the first token.
    pub(crate) fn append(
        &mut self,
        keys: &Tensor,
        values: &Tensor,
        leading: Option<&Prefix>,
    ) -> tensor::Result<(Tensor, Tensor, Arc<Sequences>)> {
        if let Some((keys, values)) = leading.filter(|_| self.keys.rows() == 0) {
            self.keys.push(keys)?;
            self.values.push(values)?;
        }
        if let Some(window) = self.window {
            let gone = self.keys.rows().saturating_sub(window - 1);
            self.keys.drop_front(gone);
            self.values.drop_front(gone);
        }
        self.keys.push(keys)?;
        self.values.push(values)?;
        let (new, all) = (keys.shape()[0] as u32, self.keys.rows() as u32);
        let sequences = Arc::new(Sequences::cached(&[0, new], &[0, all])?);
        Ok((self.keys.view(), self.values.view(), sequences))
    }
}

impl Decoder {
    /// An empty cache.
    ///
    /// # Errors
    /// [`crate::ModelError::Tensor`] without memory.
    pub fn new_cache(&self) -> Result<KvCache> {
        let columns = self.config.heads.key_value_size();
        let layers = self.config.layers.iter().map(|layer| LayerCache::new(columns, layer.window));
        let layers = layers.collect::<tensor::Result<_>>()?;
        Ok(KvCache { input_ids: Vec::new(), layers, variants: Vec::new() })
    }

    /// Keys and values of every block after the text `input_ids`, `[input_ids.len(), num_key_value_heads * head_dim]` each:
    /// the keys as they are rotated, for a text that goes on from there.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn keys_and_values(&self, input_ids: &[u32]) -> Result<Vec<(Tensor, Tensor)>> {
        let mut cache = self.new_cache()?;
        self.forward_cached(&mut cache, input_ids, &Pass::base())?;
        Ok(cache.layers.iter().map(|layer| (layer.keys.view(), layer.values.view())).collect())
    }

    /// Hidden states after the last norm of the tokens `input_ids`, which go on the text in `cache`:
    /// `[input_ids.len(), hidden_size]`. They are then in the cache too. Nothing is recorded.
    ///
    /// # Errors
    /// As [`Decoder::forward`]; the cache is empty afterwards.
    pub fn forward_cached(&self, cache: &mut KvCache, input_ids: &[u32], pass: &Pass) -> Result<Tensor> {
        let hidden = no_grad(|| self.extend(cache, input_ids, pass));
        if hidden.is_err() {
            cache.clear();
        }
        hidden
    }

    fn extend(&self, cache: &mut KvCache, input_ids: &[u32], pass: &Pass) -> Result<Tensor> {
        let length = cache.input_ids.len() + input_ids.len() + pass.adapter.position_offset() as usize;
        let variants = self.ropes.variants(length);
        if variants != cache.variants {
            let before = std::mem::take(&mut cache.input_ids);
            cache.clear();
            cache.variants = variants;
            let hidden = self.append(cache, &[&before, input_ids].concat(), pass)?;
            let new: Arc<[u32]> = (before.len() as u32..cache.input_ids.len() as u32).collect();
            return Ok(tensor::ops::select_rows(&hidden, &new)?);
        }
        self.append(cache, input_ids, pass)
    }

    fn append(&self, cache: &mut KvCache, input_ids: &[u32], pass: &Pass) -> Result<Tensor> {
        let start = cache.input_ids.len() as u32;
        let len = input_ids.len() as u32;
        let positions: Vec<u32> = (start..start + len).collect();
        let input = Input::packed(input_ids, &positions, &[0, len])?;
        let prompt = if cache.input_ids.is_empty() { pass.adapter.prompt()? } else { None };
        let scope = self.scope(&input, prompt.as_ref(), pass)?;
        let mut x = self.embed(&input, prompt.as_ref(), &scope)?;
        for (layer, (block, cached)) in self.network.blocks.0.iter().zip(&mut cache.layers).enumerate() {
            let prefix = cached.prefix(|| scope.adapter.prefix(layer))?;
            x = block.forward(&x, prefix.as_ref(), &scope, Some(cached))?;
        }
        if let Some(prompt) = prompt {
            let rows = prompt.shape()[0];
            x = tensor::ops::slice_rows(&x, rows..rows + input_ids.len())?;
        }
        cache.input_ids.extend(input_ids);
        Ok(self.network.norm.forward(&x, &scope)?)
    }
}
