//! Generation token by token: keys and values of the texts so far.

mod layer;

use std::sync::Arc;

use tensor::{RowBuffers, Tensor, no_grad, ops};

pub(crate) use layer::LayerCache;

use crate::{Decoder, Input, Pass, Result};

/// Keys and values of some texts, block by block, and their tokens. Every text has a place, a number from 0.
///
/// A block that sees a window keeps that many tokens. Where a rotation depends on the length of a text (dynamic and
/// longrope scaling), what was computed at a shorter length is no longer what the model computes: when the frequencies
/// change, all of that text is computed again. So a cached text always gives what computing it at once would.
#[derive(Debug)]
pub struct KvCache {
    texts: Vec<CachedText>,
    layers: Vec<LayerCache>,
}

/// A text that keys and values are kept of.
#[derive(Clone, Debug, Default)]
struct CachedText {
    input_ids: Vec<u32>,
    /// Which frequencies the keys were rotated by.
    variants: Vec<usize>,
}

/// What is computed of one text in a pass.
struct Part {
    place: usize,
    /// All of the text, where it is computed again.
    input_ids: Vec<u32>,
    /// How many of them are new: the last ones.
    new: usize,
}

impl KvCache {
    /// The tokens of the text at `place`, none if there is no text.
    pub fn input_ids(&self, place: usize) -> &[u32] {
        self.texts.get(place).map_or(&[], |text| &text.input_ids)
    }

    /// Forgets the text at `place`, where another may begin.
    pub fn forget(&mut self, place: usize) {
        if let Some(text) = self.texts.get_mut(place) {
            *text = CachedText::default();
            self.layers.iter_mut().for_each(|layer| layer.forget(place));
        }
    }

    fn clear(&mut self) {
        (0..self.texts.len()).for_each(|place| self.forget(place));
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
        Ok(KvCache { texts: Vec::new(), layers: layers.collect::<tensor::Result<_>>()? })
    }

    /// Keys and values of every block after the text `input_ids`, `[input_ids.len(), num_key_value_heads * head_dim]` each:
    /// the keys as they are rotated, for a text that goes on from there.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn keys_and_values(&self, input_ids: &[u32]) -> Result<Vec<(Tensor, Tensor)>> {
        let mut cache = self.new_cache()?;
        self.forward_cached(&mut cache, &[input_ids], &Pass::base())?;
        Ok(cache.layers.iter().map(LayerCache::keys_and_values).collect())
    }

    /// Hidden states after the last norm of more tokens of the texts in `cache`: `input_ids[i]` go on the text at place `i`, or
    /// begin one where there is none. A text without new tokens waits. The rows of each text follow those of the one before,
    /// `[all new tokens, hidden_size]`; their tokens are then in the cache too. Nothing is recorded.
    ///
    /// A text's rows depend on the others only as rows of a product do on their number: by roundings.
    ///
    /// # Errors
    /// As [`Decoder::forward`]; the cache is empty afterwards.
    pub fn forward_cached(&self, cache: &mut KvCache, input_ids: &[&[u32]], pass: &Pass) -> Result<Tensor> {
        let hidden = no_grad(|| self.extend(cache, input_ids, pass));
        if hidden.is_err() {
            cache.clear();
        }
        hidden
    }

    fn extend(&self, cache: &mut KvCache, input_ids: &[&[u32]], pass: &Pass) -> Result<Tensor> {
        let places = input_ids.len().max(cache.texts.len());
        cache.texts.resize(places, CachedText::default());
        cache.layers.iter_mut().for_each(|layer| layer.add_up_to(places));
        let offset = pass.adapter.position_offset() as usize;
        let given = input_ids.iter().enumerate().filter(|(_, new)| !new.is_empty());
        let parts: Vec<Part> = given.map(|(place, new)| self.part(cache, place, new, offset)).collect();
        // Only texts that begin have a prompt before them.
        let (begun, going_on): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|part| cache.texts[part.place].input_ids.is_empty());
        let mut computed = Vec::new();
        for parts in [begun, going_on].into_iter().filter(|parts| !parts.is_empty()) {
            computed.push((self.append(cache, &parts, pass)?, parts));
        }
        match computed.as_slice() {
            [(hidden, parts)] if parts.iter().all(|part| part.new == part.input_ids.len()) => Ok(hidden.clone()),
            _ => self.in_order(places, &computed),
        }
    }

    /// What has to be computed for the tokens `new` of the text at `place`.
    fn part(&self, cache: &mut KvCache, place: usize, new: &[u32], offset: usize) -> Part {
        let text = &cache.texts[place];
        let variants = self.ropes.variants(text.input_ids.len() + new.len() + offset);
        let before = if variants == text.variants { Vec::new() } else { text.input_ids.clone() };
        if variants != text.variants {
            cache.forget(place);
            cache.texts[place].variants = variants;
        }
        Part { place, input_ids: [&before, new].concat(), new: new.len() }
    }

    /// The rows of the new tokens, text by text, of passes over these parts.
    fn in_order(&self, places: usize, computed: &[(Tensor, Vec<Part>)]) -> Result<Tensor> {
        let mut rows = vec![None; places];
        for (hidden, parts) in computed {
            let mut end = 0;
            for part in parts {
                end += part.input_ids.len();
                rows[part.place] = Some((hidden, end - part.new..end));
            }
        }
        let mut ordered = RowBuffers::new(self.config.hidden_size)?;
        ordered.add_up_to(1);
        for (hidden, rows) in rows.into_iter().flatten() {
            ordered.push(&ops::slice_rows(hidden, rows.clone())?, &[(0, rows.len())])?;
        }
        Ok(ordered.view())
    }

    /// Hidden states of all tokens of `parts`, of which either all begin or none does.
    fn append(&self, cache: &mut KvCache, parts: &[Part], pass: &Pass) -> Result<Tensor> {
        let (mut input_ids, mut positions, mut ends) = (Vec::new(), Vec::new(), vec![0]);
        for part in parts {
            let start = cache.texts[part.place].input_ids.len() as u32;
            input_ids.extend(&part.input_ids);
            positions.extend(start..start + part.input_ids.len() as u32);
            ends.push(input_ids.len() as u32);
        }
        let input = Input::packed(&input_ids, &positions, &ends)?;
        let begins = parts.iter().any(|part| cache.texts[part.place].input_ids.is_empty());
        let prompt = if begins { pass.adapter.prompt()? } else { None };
        let scope = self.scope(&input, prompt.as_ref(), pass)?;
        let mut x = self.embed(&input, prompt.as_ref(), &scope)?;
        let starts = scope.context.sequences.cu_seqlens_q();
        let rows: Arc<[(usize, usize)]> = parts
            .iter()
            .zip(starts.windows(2))
            .map(|(part, ends)| (part.place, (ends[1] - ends[0]) as usize))
            .collect();
        for (layer, (block, cached)) in self.network.blocks.0.iter().zip(&mut cache.layers).enumerate() {
            cached.begin(&rows);
            let prefix = cached.prefix(|| scope.adapter.prefix(layer))?;
            x = block.forward(&x, prefix.as_ref(), &scope, Some(cached))?;
        }
        if let Some(prompt) = prompt {
            let of_tokens = |ends: &[u32]| ends[0] + prompt.shape()[0] as u32..ends[1];
            x = ops::select_rows(&x, &starts.windows(2).flat_map(of_tokens).collect())?;
        }
        parts.iter().for_each(|part| cache.texts[part.place].input_ids.extend(&part.input_ids));
        Ok(self.network.norm.forward(&x, &scope)?)
    }
}
