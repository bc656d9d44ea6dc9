//! Models that write a text token by token.

use model::config::Positions;
use model::{Decoder, DecoderCache, EncoderDecoder, KvCache, Pass};
use tensor::{Tensor, no_grad, ops};

use crate::Error;

/// A model that writes a text after it has read another.
pub trait TextModel: Send + Sync {
    /// Reads `prompt`.
    ///
    /// # Errors
    /// Those of the model.
    fn start<'a>(&'a self, prompt: &[u32], pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error>;

    /// Whether what it writes goes on with the prompt, and is no text of its own.
    fn continues(&self) -> bool;
}

/// A text on its way.
pub trait Writing {
    /// The logits of the first token, or of the one after `token`, which is now a part of the text.
    ///
    /// # Errors
    /// Those of the model.
    fn logits(&mut self, token: Option<u32>) -> Result<Vec<f32>, Error>;

    /// Tokens that the model has positions for.
    fn room(&self) -> usize;
}

impl TextModel for Decoder {
    fn start<'a>(&'a self, prompt: &[u32], pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error> {
        let used = prompt.len() + pass.adapter.position_offset() as usize;
        let room = match self.config().positions {
            Positions::Learned { .. } => self.config().max_position_embeddings.saturating_sub(used),
            Positions::Rotary(_) => usize::MAX,
        };
        Ok(Box::new(Continuing { model: self, pass, cache: self.new_cache()?, prompt: prompt.to_vec(), room }))
    }

    fn continues(&self) -> bool {
        true
    }
}

/// A prompt that a decoder goes on with.
struct Continuing<'a> {
    model: &'a Decoder,
    pass: &'a Pass,
    cache: KvCache,
    prompt: Vec<u32>,
    room: usize,
}

impl Writing for Continuing<'_> {
    fn logits(&mut self, token: Option<u32>) -> Result<Vec<f32>, Error> {
        let tokens = token.map_or_else(|| self.prompt.clone(), |token| vec![token]);
        let hidden = self.model.forward_cached(&mut self.cache, &tokens, self.pass)?;
        of_last_row(&hidden, |hidden| self.model.logits(hidden, self.pass))
    }

    fn room(&self) -> usize {
        self.room
    }
}

impl TextModel for EncoderDecoder {
    fn start<'a>(&'a self, prompt: &[u32], pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error> {
        Ok(Box::new(Answering { model: self, pass, cache: self.start(prompt, pass)? }))
    }

    fn continues(&self) -> bool {
        false
    }
}

/// A text that an encoder has read, and the decoder's answer.
struct Answering<'a> {
    model: &'a EncoderDecoder,
    pass: &'a Pass,
    cache: DecoderCache,
}

impl Writing for Answering<'_> {
    fn logits(&mut self, token: Option<u32>) -> Result<Vec<f32>, Error> {
        let token = token.unwrap_or(self.model.config().decoder_start_token_id);
        let hidden = self.model.forward_cached(&mut self.cache, &[token], self.pass)?;
        of_last_row(&hidden, |hidden| self.model.logits(hidden, self.pass))
    }

    fn room(&self) -> usize {
        usize::MAX
    }
}

fn of_last_row(hidden: &Tensor, logits: impl Fn(&Tensor) -> model::Result<Tensor>) -> Result<Vec<f32>, Error> {
    let last = hidden.shape()[0].saturating_sub(1) as u32;
    no_grad(|| Ok(logits(&ops::select_rows(hidden, &[last].into())?)?.to_vec()))
}
