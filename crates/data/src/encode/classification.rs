//! `{"text", "label"}` and `{"text", "text_pair", "label"}` for a sequence classifier, the same without a label for an
//! embedding.

use super::{Encoded, Encoder};
use crate::row::{EXPECTED_LABEL, Label};
use crate::{DataError, Example};

/// What a sequence is trained to give: its class, or in a regression a number.
pub(super) struct Target {
    pub(super) labels: Vec<i64>,
    pub(super) values: Vec<f32>,
}

impl Encoder<'_> {
    /// The text, or two, with the post-processor's special tokens and no other, cut inside of them.
    pub(super) fn classified(
        &self,
        text: &str,
        pair: Option<&str>,
        label: Option<Label>,
    ) -> Result<Encoded, DataError> {
        let target = self.target(label, "text")?;
        self.sequence(text, pair, target)
    }

    /// The same with nothing to predict.
    pub(super) fn embedded(&self, text: &str, pair: Option<&str>) -> Result<Encoded, DataError> {
        self.sequence(text, pair, Target { labels: Vec::new(), values: Vec::new() })
    }

    fn sequence(&self, text: &str, pair: Option<&str>, target: Target) -> Result<Encoded, DataError> {
        let cut = self.tokenizer()?.encode_pair(text, pair, self.options.max_length)?;
        let token_type_ids = self.token_types(cut.token_type_ids)?;
        let Target { labels, values } = target;
        let example = Example { input_ids: cut.ids, labels, values, token_type_ids, adapter: None };
        Ok(Encoded { example, truncated: cut.truncated, merged: false })
    }

    /// A class, or where there is one class only the number itself.
    pub(super) fn target(&self, label: Option<Label>, beside: &'static str) -> Result<Target, DataError> {
        if self.options.num_labels != 1 {
            return Ok(Target { labels: vec![self.class(label, beside)?], values: Vec::new() });
        }
        let wrong = |got| Err(DataError::WrongType { key: "label", expected: "a number that 32 bits can hold", got });
        let value = match label {
            None => return Err(DataError::MissingKey { key: "label", beside }),
            Some(Label::Name(_)) => return wrong("a string"),
            Some(Label::Id(number)) => number as f32,
            Some(Label::Value(number)) => number as f32,
        };
        if value.is_finite() { Ok(Target { labels: vec![0], values: vec![value] }) } else { wrong("a larger number") }
    }

    /// The number of a class.
    pub(crate) fn class(&self, label: Option<Label>, beside: &'static str) -> Result<i64, DataError> {
        let num_labels = self.options.num_labels;
        match label {
            None => Err(DataError::MissingKey { key: "label", beside }),
            Some(Label::Id(label)) if (0..num_labels as i64).contains(&label) => Ok(label),
            Some(Label::Id(label)) => Err(DataError::LabelOutOfRange { label, num_labels }),
            Some(Label::Name(label)) => match self.options.label_names.iter().position(|name| *name == label) {
                Some(id) => self.class(Some(Label::Id(id as i64)), beside),
                None => Err(DataError::UnknownLabel { label, known: self.options.label_names.clone() }),
            },
            Some(Label::Value(_)) => {
                let (expected, got) = (EXPECTED_LABEL, "a number with a fraction");
                Err(DataError::WrongType { key: "label", expected, got })
            }
        }
    }
}
