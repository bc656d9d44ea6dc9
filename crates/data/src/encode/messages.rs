//! Messages through the model's chat template: the assistant's turns are trained on.

use super::{Encoded, Encoder};
use crate::tokenizer::WithOffsets;
use crate::{Conversation, DataError, Rendered};

impl Encoder<'_> {
    /// `{"messages"}`: what the assistant wrote is trained on.
    pub(super) fn messages(&self, conversation: &Conversation) -> Result<Vec<Encoded>, DataError> {
        let template = self.template.ok_or(DataError::NoChatTemplate)?;
        if self.options.completion_only_loss {
            template.render_turns(conversation)?.iter().map(|rendered| self.rendered(rendered)).collect()
        } else {
            let text = template.render(conversation, false)?;
            let all = 0..text.len();
            Ok(vec![self.rendered(&Rendered { text, spans: vec![all] })?])
        }
    }

    /// `{"prompt", "completion"}` as messages: all of the completion is trained on.
    pub(super) fn turns(&self, conversation: &Conversation, prompt: usize) -> Result<Encoded, DataError> {
        let template = self.template.ok_or(DataError::NoChatTemplate)?;
        let prompt = if self.options.completion_only_loss { prompt } else { 0 };
        self.rendered(&template.render_completion(conversation, prompt)?)
    }

    /// The template spelled out every special token, so none is added, neither at the beginning nor at the end. As in
    /// transformers, a token is trained on if any of its characters is within a span.
    fn rendered(&self, rendered: &Rendered) -> Result<Encoded, DataError> {
        let WithOffsets { ids, offsets } = self.tokenizer()?.encode_with_offsets(&rendered.text, false)?;
        let supervised = rendered.spans.iter().filter_map(|span| {
            // First and last are looked for apart: a token of blanks alone may have an empty range.
            let first = offsets.iter().position(|token| token.end > span.start)?;
            let last = offsets.iter().rposition(|token| token.start < span.end)?;
            (!span.is_empty() && first <= last).then_some(first..last + 1)
        });
        Ok(self.causal(ids, supervised))
    }
}
