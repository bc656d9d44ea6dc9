//! `{"text", "label"}` for a sequence classifier.

use super::{Encoded, Encoder};
use crate::row::Label;
use crate::{DataError, Example};

impl Encoder<'_> {
    /// The text with the post-processor's special tokens and no other, cut inside of them.
    pub(super) fn classified(&self, text: &str, label: Option<Label>) -> Result<Encoded, DataError> {
        let label = self.class(label, "text")?;
        let (input_ids, truncated) = self.tokenizer()?.encode_truncated(text, self.options.max_length)?;
        Ok(Encoded { example: Example { input_ids, labels: vec![label] }, truncated, merged: false })
    }

    /// The number of a class.
    pub(super) fn class(&self, label: Option<Label>, beside: &'static str) -> Result<i64, DataError> {
        let num_labels = self.options.num_labels;
        match label {
            None => Err(DataError::MissingKey { key: "label", beside }),
            Some(Label::Id(label)) if (0..num_labels as i64).contains(&label) => Ok(label),
            Some(Label::Id(label)) => Err(DataError::LabelOutOfRange { label, num_labels }),
            Some(Label::Name(label)) => match self.options.label_names.iter().position(|name| *name == label) {
                Some(id) => self.class(Some(Label::Id(id as i64)), beside),
                None => Err(DataError::UnknownLabel { label, known: self.options.label_names.clone() }),
            },
        }
    }
}
