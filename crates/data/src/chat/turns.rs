//! Which part of a rendered conversation the assistant wrote.

use std::ops::Range;

use super::confined::confined;
use super::{ChatTemplate, generation};
use crate::{Conversation, DataError};

/// A text to train on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The whole text, special tokens spelled out.
    pub text: String,
    /// The byte ranges of `text` that are trained on, in order.
    pub spans: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Renders `conversation` with the assistant's turns as spans.
    ///
    /// A template with `{% generation %}` blocks says itself what they are. For any other, a turn is what rendering adds to
    /// the generation prompt: with `before` the messages before the turn, rendered with `add_generation_prompt`, and `after`
    /// those up to it, the span begins where `after` departs from `before` and reaches to the end of `after`. The header of
    /// the turn is so left out, and the token that ends it is trained on. Where the conversation begins with the
    /// assistant, there is no prompt to compare with and the span begins with the text.
    ///
    /// Some templates render a turn differently once more messages follow: they drop earlier reasoning or put a token at the
    /// end of the whole. Then no single text has every turn as it was generated, and the conversation becomes one text for
    /// each turn of the assistant: the messages up to it, with that turn as its span.
    ///
    /// # Errors
    /// Those of [`render`](Self::render); [`DataError::UnstableTemplate`] if even the messages before a turn are rendered
    /// differently once the turn follows; [`DataError::ReservedCharacter`] if a message contains U+FDD0 or U+FDD1, which
    /// mark generation blocks.
    pub fn render_turns(&self, conversation: &Conversation) -> Result<Vec<Rendered>, DataError> {
        confined(|| self.turns(conversation))
    }

    fn turns(&self, conversation: &Conversation) -> Result<Vec<Rendered>, DataError> {
        if self.marks_generation(conversation)? {
            if let Some(character) = conversation.reserved_character() {
                return Err(DataError::ReservedCharacter { character });
            }
            let (text, spans) = generation::split_marks(self.render_marked(conversation, conversation.len(), false)?);
            return Ok(vec![Rendered { text, spans }]);
        }
        let turns: Vec<usize> = conversation.assistant_turns().collect();
        let whole = self.prefix(conversation, conversation.len(), false)?;
        let mut spans = Vec::with_capacity(turns.len());
        let mut texts = Vec::with_capacity(turns.len());
        for &turn in &turns {
            let after = self.prefix(conversation, turn + 1, false)?;
            let start = self.departure(conversation, turn, &after)?;
            spans.push(start..after.len());
            texts.push(after);
        }
        if texts.iter().all(|text| whole.starts_with(text)) {
            return Ok(vec![Rendered { text: whole, spans }]);
        }
        Ok(texts.into_iter().zip(spans).map(|(text, span)| Rendered { text, spans: vec![span] }).collect())
    }

    /// Renders `conversation` with everything from message `prompt` on as the span.
    ///
    /// # Errors
    /// Those of [`render_turns`](Self::render_turns).
    pub fn render_completion(&self, conversation: &Conversation, prompt: usize) -> Result<Rendered, DataError> {
        confined(|| {
            let text = self.prefix(conversation, conversation.len(), false)?;
            let start = self.departure(conversation, prompt, &text)?;
            let completion = start..text.len();
            Ok(Rendered { text, spans: vec![completion] })
        })
    }

    /// Where `text`, which goes on after the first `count` messages, departs from what a model is prompted with there.
    fn departure(&self, conversation: &Conversation, count: usize, text: &str) -> Result<usize, DataError> {
        if count == 0 {
            return Ok(0);
        }
        let prompt = self.prefix(conversation, count, true)?;
        if text.starts_with(&prompt) {
            return Ok(prompt.len());
        }
        // The generation prompt may hold more than the header of a turn in the history, such as an opened `<think>`.
        let history = self.prefix(conversation, count, false)?;
        if !text.starts_with(&history) {
            return Err(DataError::UnstableTemplate { message: count });
        }
        let common = text.chars().zip(prompt.chars()).take_while(|(a, b)| a == b);
        Ok(common.map(|(c, _)| c.len_utf8()).sum::<usize>().max(history.len()))
    }
}
