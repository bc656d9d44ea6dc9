//! Models that write texts token by token.

use model::config::Positions;
use model::{Decoder, DecoderCache, EncoderDecoder, KvCache, Pass};
use tensor::{Tensor, no_grad, ops};

use crate::Error;

/// A model that writes a text after it has read another.
pub trait TextModel: Send + Sync {
    /// Texts written with `pass`, none yet.
    ///
    /// # Errors
    /// Those of the model.
    fn write<'a>(&'a self, pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error>;

    /// Whether what it writes goes on with the prompt, and is no text of its own.
    fn continues(&self) -> bool;
}

/// Texts on their way. Each has a place, a number from 0.
pub trait Writing {
    /// Reads `prompts[i]` for the text at place `i`, where there is none; nothing where it has no tokens. Returns the logits of the
    /// first token of each that was read, `[prompts, vocab_size]`.
    ///
    /// # Errors
    /// Those of the model.
    fn read(&mut self, prompts: &[&[u32]]) -> Result<Vec<f32>, Error>;

    /// The logits of the token after `tokens[i]`, which is now a part of the text at place `i`, `[tokens, vocab_size]`. Texts without
    /// one wait.
    ///
    /// # Errors
    /// Those of the model.
    fn write(&mut self, tokens: &[Option<u32>]) -> Result<Vec<f32>, Error>;

    /// Forgets the text at `place`.
    fn forget(&mut self, place: usize);

    /// Tokens that the model has positions for after a prompt of `prompt` tokens.
    fn room(&self, prompt: usize) -> usize;
}

impl TextModel for Decoder {
    fn write<'a>(&'a self, pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error> {
        Ok(Box::new(Continuing { model: self, pass, cache: self.new_cache()? }))
    }

    fn continues(&self) -> bool {
        true
    }
}

/// Prompts that a decoder goes on with.
struct Continuing<'a> {
    model: &'a Decoder,
    pass: &'a Pass,
    cache: KvCache,
}

impl Writing for Continuing<'_> {
    fn read(&mut self, prompts: &[&[u32]]) -> Result<Vec<f32>, Error> {
        let hidden = self.model.forward_cached(&mut self.cache, prompts, self.pass)?;
        of_last_rows(&hidden, prompts, |hidden| self.model.logits(hidden, self.pass))
    }

    fn write(&mut self, tokens: &[Option<u32>]) -> Result<Vec<f32>, Error> {
        self.read(&one_each(tokens))
    }

    fn forget(&mut self, place: usize) {
        self.cache.forget(place);
    }

    fn room(&self, prompt: usize) -> usize {
        let config = self.model.config();
        match config.positions {
            Positions::Learned { .. } => {
                let used = prompt + self.pass.adapter.position_offset() as usize;
                config.max_position_embeddings.saturating_sub(used)
            }
            Positions::Rotary(_) => usize::MAX,
        }
    }
}

impl TextModel for EncoderDecoder {
    fn write<'a>(&'a self, pass: &'a Pass) -> Result<Box<dyn Writing + 'a>, Error> {
        Ok(Box::new(Answering { model: self, pass, cache: self.new_cache()? }))
    }

    fn continues(&self) -> bool {
        false
    }
}

/// Texts that an encoder has read, and the decoder's answers.
struct Answering<'a> {
    model: &'a EncoderDecoder,
    pass: &'a Pass,
    cache: DecoderCache,
}

impl Writing for Answering<'_> {
    fn read(&mut self, prompts: &[&[u32]]) -> Result<Vec<f32>, Error> {
        self.model.start(&mut self.cache, prompts, self.pass)?;
        let first = self.model.config().decoder_start_token_id;
        let begun: Vec<Option<u32>> = prompts.iter().map(|prompt| (!prompt.is_empty()).then_some(first)).collect();
        self.write(&begun)
    }

    fn write(&mut self, tokens: &[Option<u32>]) -> Result<Vec<f32>, Error> {
        let tokens = one_each(tokens);
        let hidden = self.model.forward_cached(&mut self.cache, &tokens, self.pass)?;
        of_last_rows(&hidden, &tokens, |hidden| self.model.logits(hidden, self.pass))
    }

    fn forget(&mut self, place: usize) {
        self.cache.forget(place);
    }

    fn room(&self, _prompt: usize) -> usize {
        usize::MAX
    }
}

fn one_each(tokens: &[Option<u32>]) -> Vec<&[u32]> {
    tokens.iter().map(Option::as_slice).collect()
}

/// The logits of the last row of each text in `hidden`, where texts have as many rows as `tokens` has for them.
fn of_last_rows(
    hidden: &Tensor,
    tokens: &[&[u32]],
    logits: impl Fn(&Tensor) -> model::Result<Tensor>,
) -> Result<Vec<f32>, Error> {
    let given = tokens.iter().filter(|tokens| !tokens.is_empty());
    let ends = given.scan(0, |end, tokens| {
        *end += tokens.len() as u32;
        Some(*end)
    });
    let last = ends.map(|end| end - 1).collect();
    no_grad(|| Ok(logits(&ops::select_rows(hidden, &last)?)?.to_vec()))
}
