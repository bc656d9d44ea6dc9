//! The texts of a batch: which prompts wait, which texts are being written, and what was written.

use std::time::Instant;

use super::{Continuation, FinishReason, Generation, News, PROMPT_TOKENS, Prompt, Writing};
use crate::Error;

/// All texts of one call.
pub(super) struct Texts<'a, F> {
    generation: &'a Generation<'a>,
    prompts: &'a [Prompt],
    each: F,
    writing: Box<dyn Writing + 'a>,
    /// Prompts that were given a place.
    begun: usize,
    places: Vec<Option<Text>>,
    /// By prompt.
    continuations: Vec<Option<Continuation>>,
}

/// A text on its way.
struct Text {
    /// Its prompt.
    index: usize,
    token_ids: Vec<u32>,
    /// Tokens that it may have.
    most: usize,
    started: Instant,
    seconds_to_first_token: Option<f64>,
}

impl<'a, F: FnMut(usize, News) -> Result<(), Error>> Texts<'a, F> {
    /// None of `prompts` has been read.
    pub(super) fn new(generation: &'a Generation<'a>, prompts: &'a [Prompt], each: F) -> Result<Self, Error> {
        let writing = generation.model.write(generation.pass)?;
        let places = prompts.len().min(generation.batch_size.max(1));
        Ok(Self {
            generation,
            prompts,
            each,
            writing,
            begun: 0,
            places: (0..places).map(|_| None).collect(),
            continuations: vec![None; prompts.len()],
        })
    }

    /// Reads prompts that wait into places that are free, and chooses their first tokens. Returns whether there were any.
    pub(super) fn read(&mut self) -> Result<bool, Error> {
        let mut chosen = Vec::new();
        let mut tokens = 0;
        for place in (0..self.places.len()).filter(|&place| self.places[place].is_none()) {
            let Some(prompt) = self.prompts.get(self.begun) else { break };
            if tokens > 0 && tokens + prompt.token_ids.len() > PROMPT_TOKENS {
                break;
            }
            tokens += prompt.token_ids.len();
            chosen.push((place, self.begun));
            self.begun += 1;
        }
        if chosen.is_empty() {
            return Ok(false);
        }
        let started = Instant::now();
        let mut given: Vec<&[u32]> = vec![&[]; self.places.len()];
        let mut read = Vec::new();
        for (place, index) in chosen {
            let prompt = &self.prompts[index];
            let most = self.generation.max_new_tokens.min(self.writing.room(prompt.token_ids.len()));
            let text = Text { index, token_ids: Vec::new(), most, started, seconds_to_first_token: None };
            if most == 0 {
                self.end(text, FinishReason::Length)?;
            } else {
                given[place] = &prompt.token_ids;
                read.push(place);
                self.places[place] = Some(text);
            }
        }
        if !read.is_empty() {
            let logits = self.writing.read(&given)?;
            self.choose(&read, &logits)?;
        }
        Ok(true)
    }

    /// Adds a token to each text that is being written. Returns whether there were any.
    pub(super) fn write(&mut self) -> Result<bool, Error> {
        let last = |text: &Option<Text>| text.as_ref().and_then(|text| text.token_ids.last().copied());
        let tokens: Vec<Option<u32>> = self.places.iter().map(last).collect();
        let written: Vec<usize> = (0..tokens.len()).filter(|&place| tokens[place].is_some()).collect();
        if written.is_empty() {
            return Ok(false);
        }
        let logits = self.writing.write(&tokens)?;
        self.choose(&written, &logits)?;
        Ok(true)
    }

    /// Chooses the next token of the texts at `places`, which have a row of `logits` each.
    fn choose(&mut self, places: &[usize], logits: &[f32]) -> Result<(), Error> {
        let Generation { sampling, stop_token_ids, .. } = self.generation;
        for (&place, logits) in places.iter().zip(logits.chunks_exact(logits.len() / places.len())) {
            let Some(mut text) = self.places[place].take() else { continue };
            let number = self.prompts[text.index].number;
            let not_a_number = || Error::Prompt { index: text.index, source: Box::new(Error::NotANumber) };
            let token = sampling.choose(logits, number, text.token_ids.len() as u64).ok_or_else(not_a_number)?;
            if stop_token_ids.contains(&token) {
                self.writing.forget(place);
                self.end(text, FinishReason::Stop)?;
                continue;
            }
            text.seconds_to_first_token.get_or_insert_with(|| text.started.elapsed().as_secs_f64());
            text.token_ids.push(token);
            (self.each)(text.index, News::Token(token))?;
            if text.token_ids.len() == text.most {
                self.writing.forget(place);
                self.end(text, FinishReason::Length)?;
            } else {
                self.places[place] = Some(text);
            }
        }
        Ok(())
    }

    fn end(&mut self, text: Text, finish_reason: FinishReason) -> Result<(), Error> {
        let Text { index, token_ids, started, seconds_to_first_token, .. } = text;
        let seconds = started.elapsed().as_secs_f64();
        self.continuations[index] = Some(Continuation { token_ids, finish_reason, seconds_to_first_token, seconds });
        (self.each)(index, News::End)
    }

    /// What was written, once all has ended.
    pub(super) fn into_continuations(self) -> Vec<Continuation> {
        self.continuations.into_iter().flatten().collect()
    }
}
