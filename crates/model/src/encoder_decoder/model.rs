//! An encoder-decoder with its weights.

use std::path::Path;
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::DType;
use tensor::{LossSum, Tensor, no_grad, ops};

use super::DecoderCache;
use super::memory::Memory;
use super::network::{EMBEDDING, Network};
use crate::config::EncoderDecoderConfig;
use crate::lm_head::LmHead;
use crate::load::{Expected, NewModules, Spelling};
use crate::parts::Scope;
use crate::placement::Placement;
use crate::{Base, Input, ModelError, Pass, Result};

/// A frozen encoder-decoder with a language model's head (`T5ForConditionalGeneration`).
///
/// It is computed as transformers computes it in evaluation: `dropout_rate` is left out in training too, because nothing of
/// the base is trained.
pub struct EncoderDecoder {
    config: EncoderDecoderConfig,
    network: Network,
    base: Base,
}

impl EncoderDecoder {
    /// Loads the model in a Hugging Face directory to compute with `dtype`; see [`crate::Decoder::load`].
    ///
    /// # Errors
    /// Those of [`EncoderDecoderConfig::read`], [`Checkpoint::open`] and [`EncoderDecoder::from_checkpoint`].
    pub fn load(dir: &Path, dtype: DType) -> Result<Self> {
        let config = EncoderDecoderConfig::read(dir)?;
        Self::from_checkpoint(config, &Checkpoint::open(dir)?, dtype)
    }

    /// As [`EncoderDecoder::load`], from files that are open already. The mapping lives as long as the model.
    ///
    /// # Errors
    /// [`ModelError::MissingTensors`], [`ModelError::ExtraTensors`], [`ModelError::TensorShape`],
    /// [`ModelError::TensorDtype`]; [`ModelError::Tensor`] without memory.
    pub fn from_checkpoint(config: EncoderDecoderConfig, checkpoint: &Checkpoint, dtype: DType) -> Result<Self> {
        let (network, modules) = Network::declare(&config);
        let expected = Expected {
            // Files name the modules as they are, with a head and without.
            spelling: Spelling { base: "transformer", is_bare: false, head: None, older: &[] },
            embedding: EMBEDDING,
            new: NewModules::default(),
            other_heads: &[],
        };
        let base = Base::load(config.dimensions(), &expected, modules, checkpoint, dtype)?;
        Ok(Self { config, network, base })
    }

    /// What the model is.
    pub fn config(&self) -> &EncoderDecoderConfig {
        &self.config
    }

    /// Its weights, and what a method may know of it.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The same, to quantize it.
    pub fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    /// The decoder's inputs for `labels`, packed rows that start at `cu_seqlens`: each moved by one to the right behind
    /// [`EncoderDecoderConfig::decoder_start_token_id`], with the padding token in the place of -100.
    ///
    /// # Errors
    /// [`ModelError::Label`] for a label outside the vocabulary; as [`Input::packed`].
    pub fn decoder_input(&self, labels: &[i64], cu_seqlens: &[u32]) -> Result<Input> {
        let EncoderDecoderConfig { decoder_start_token_id, pad_token_id, vocab_size, .. } = self.config;
        let token = |(index, label): (usize, &i64)| match u32::try_from(*label) {
            Ok(id) if (id as usize) < vocab_size => Ok(id),
            _ if *label == -100 => Ok(pad_token_id),
            _ => Err(ModelError::Label { index, label: *label, vocab_size }),
        };
        let tokens = labels.iter().enumerate().map(token).collect::<Result<Vec<u32>>>()?;
        let (mut input_ids, mut positions) = (Vec::new(), Vec::new());
        for ends in cu_seqlens.windows(2).filter(|ends| ends[0] < ends[1]) {
            let row = tokens.get(ends[0] as usize..ends[1] as usize).unwrap_or_default();
            input_ids.push(decoder_start_token_id);
            input_ids.extend(&row[..row.len().saturating_sub(1)]);
            positions.extend(0..ends[1] - ends[0]);
        }
        Input::packed(&input_ids, &positions, cu_seqlens)
    }

    /// The decoder's hidden states, `[num_decoder_tokens, hidden_size]`, as the head takes them: normed and, where the model
    /// does so, scaled. Sequence `i` of `decoder_input` sees sequence `i` of `input`. A prompt stands before the encoder's
    /// tokens, a prefix before the decoder's.
    ///
    /// # Errors
    /// [`ModelError::TokenId`]; [`ModelError::Tensor`] from an op or the adapter, among them for another number of
    /// sequences in one than in the other.
    pub fn forward(&self, input: &Input, decoder_input: &Input, pass: &Pass) -> Result<Tensor> {
        let memory = self.encode(input, pass)?;
        let scope = self.scope(decoder_input, None, pass)?;
        let x = self.network.decoder.embed(&decoder_input.input_ids, &scope)?;
        self.finish(&self.network.decoder.forward(x, Some(&memory), &scope, pass, None)?)
    }

    /// Logits of `hidden`, some rows of what [`EncoderDecoder::forward`] gave: `[rows, vocab_size]`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`].
    pub fn logits(&self, hidden: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.head().logits(hidden, pass)
    }

    /// The sum of the cross-entropies of `hidden`'s rows, a scalar. `labels[i]` is the token that row `i` should predict, or
    /// -100 for a row that is not trained on.
    ///
    /// # Errors
    /// As [`crate::Decoder::loss`].
    pub fn loss(&self, hidden: &Tensor, labels: &[i64], pass: &Pass) -> Result<Tensor> {
        self.head().loss(hidden, labels, pass)
    }

    /// As [`EncoderDecoder::loss`], with the number of supervised and of correctly predicted tokens, for evaluation: nothing
    /// is recorded.
    ///
    /// # Errors
    /// As [`EncoderDecoder::loss`].
    pub fn evaluate(&self, hidden: &Tensor, labels: &[i64], pass: &Pass) -> Result<LossSum> {
        self.head().evaluate(hidden, labels, pass)
    }

    /// A cache without texts, for a decoder that goes token by token.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] without memory.
    pub fn new_cache(&self) -> Result<DecoderCache> {
        Ok(DecoderCache::new(&self.config)?)
    }

    /// Encodes texts to begin others with: `input_ids[i]` for the one at place `i` of `cache`, where it takes the place of what
    /// was there. Nothing is begun where it has no tokens. Nothing is recorded.
    ///
    /// # Errors
    /// As [`EncoderDecoder::forward`]; the cache must not be used after one.
    pub fn start(&self, cache: &mut DecoderCache, input_ids: &[&[u32]], pass: &Pass) -> Result<()> {
        cache.add_up_to(input_ids.len());
        let begun = || (0..input_ids.len()).filter(|&place| !input_ids[place].is_empty());
        begun().for_each(|place| cache.forget(place));
        let input = Input::from_sequences(&begun().map(|place| input_ids[place]).collect::<Vec<_>>())?;
        no_grad(|| {
            let memory = self.encode(&input, pass)?;
            let starts = memory.scope.context.sequences.cu_seqlens_q();
            let rows = starts.windows(2).map(|ends| (ends[1] - ends[0]) as usize);
            let rows: Vec<(usize, usize)> = begun().zip(rows).collect();
            Ok(self.network.decoder.remember(&memory, &rows, &mut cache.blocks)?)
        })
    }

    /// The decoder's hidden states, as [`EncoderDecoder::forward`] gives them, of more tokens of the texts that were started in
    /// `cache`: `input_ids[i]` go on the text at place `i`, which waits if there are none. The rows of each text follow those of
    /// the one before, `[all new tokens, hidden_size]`; their tokens are then in the cache too. Nothing is recorded.
    ///
    /// # Errors
    /// As [`EncoderDecoder::forward`], after which the cache must not be used; [`ModelError::BatchLength`] for more texts than
    /// were started.
    pub fn forward_cached(&self, cache: &mut DecoderCache, input_ids: &[&[u32]], pass: &Pass) -> Result<Tensor> {
        let (expected, got) = (cache.lengths.len(), input_ids.len());
        if got > expected {
            return Err(ModelError::BatchLength { argument: "input_ids", expected, got });
        }
        let (mut positions, mut ends) = (Vec::new(), vec![0]);
        let mut rows = Vec::new();
        for (place, new) in input_ids.iter().enumerate().filter(|(_, new)| !new.is_empty()) {
            let start = cache.lengths[place];
            positions.extend((start..start + new.len()).map(|position| position as u32));
            ends.push(positions.len() as u32);
            rows.push((place, new.len()));
            cache.lengths[place] += new.len();
        }
        let input = Input::packed(&input_ids.concat(), &positions, &ends)?;
        let rows: Arc<[(usize, usize)]> = rows.into();
        cache.blocks.iter_mut().for_each(|block| block.begin(&rows));
        no_grad(|| {
            let scope = self.scope(&input, None, pass)?;
            let x = self.network.decoder.embed(&input.input_ids, &scope)?;
            self.finish(&self.network.decoder.forward(x, None, &scope, pass, Some(&mut cache.blocks))?)
        })
    }

    fn encode(&self, input: &Input, pass: &Pass) -> Result<Memory> {
        let prompt = pass.adapter.prompt()?;
        let scope = self.scope(input, prompt.as_ref(), pass)?;
        let mut x = self.network.encoder.embed(&input.input_ids, &scope)?;
        if let Some(prompt) = &prompt {
            x = ops::prepend(prompt, &x, &input.sequences)?;
        }
        let hidden = self.network.encoder.forward(x, None, &scope, pass, None)?;
        Ok(Memory { hidden, scope })
    }

    fn finish(&self, hidden: &Tensor) -> Result<Tensor> {
        match self.config.scale_decoder_outputs {
            true => Ok(ops::scale(hidden, (self.config.hidden_size as f64).powf(-0.5) as f32)?),
            false => Ok(hidden.clone()),
        }
    }

    fn head(&self) -> LmHead<'_> {
        LmHead { base: &self.base, linear: self.network.head, softcap: None }
    }

    /// What the parts of the model see in a pass over `input` after `prompt`.
    fn scope(&self, input: &Input, prompt: Option<&Tensor>, pass: &Pass) -> Result<Scope> {
        input.check_tokens(self.config.vocab_size)?;
        let prompt_len = prompt.map_or(0, |prompt| prompt.shape()[0]);
        let Placement { sequences, positions } = Placement::new(input, prompt_len, prompt_len as u32)?;
        Ok(Scope::new(&self.base, &sequences, positions, pass))
    }
}
