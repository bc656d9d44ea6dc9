//! `{"input_ids", "labels"}`: rows that are tokens already.

use super::{Encoded, Encoder};
use crate::row::TokenizedRow;
use crate::{DataError, Example, IGNORE_INDEX, Task};

impl Encoder<'_> {
    /// The tokens as they are. Positions that `attention_mask` marks as padding are dropped with their labels, because
    /// sequences are packed here. `labels` of a causal model are the tokens themselves if they are left out.
    pub(super) fn tokenized(&self, row: TokenizedRow) -> Result<Encoded, DataError> {
        let TokenizedRow { input_ids, labels, label, attention_mask, token_type_ids } = row;
        let task = self.options.task;
        let expected = input_ids.len();
        let same_length =
            |key, got| if got == expected { Ok(()) } else { Err(DataError::Length { key, expected, got }) };
        let kept = match &attention_mask {
            None => vec![true; expected],
            Some(mask) => {
                same_length("attention_mask", mask.len())?;
                mask.iter().enumerate().map(mask_value).collect::<Result<_, _>>()?
            }
        };
        let keep = |values: Vec<i64>| -> Vec<i64> {
            values.into_iter().zip(&kept).filter_map(|(value, &kept)| kept.then_some(value)).collect()
        };
        let mut ids = keep(input_ids).into_iter().map(|id| self.in_vocabulary(id)).collect::<Result<Vec<u32>, _>>()?;
        let missing = DataError::MissingKey { key: "labels", beside: "input_ids" };
        let mut values = Vec::new();
        let mut labels = match (task, labels) {
            (Task::SequenceClassification, _) => {
                let target = self.target(label, "input_ids")?;
                values = target.values;
                target.labels
            }
            (Task::FeatureExtraction, _) => Vec::new(),
            (Task::CausalLm, None) => ids.iter().map(|&id| i64::from(id)).collect(),
            (Task::Seq2SeqLm, Some(labels)) => labels,
            (Task::CausalLm | Task::TokenClassification, Some(labels)) => {
                same_length("labels", labels.len())?;
                keep(labels)
            }
            (Task::TokenClassification | Task::Seq2SeqLm, None) => return Err(missing),
            (Task::ImageClassification, _) => {
                return Err(DataError::UnknownRow { keys: vec!["input_ids".to_owned()], task });
            }
        };
        let classes = if task == Task::TokenClassification { self.options.num_labels } else { self.options.vocab_size };
        if task != Task::SequenceClassification {
            check_labels(&labels, classes)?;
        }
        let mut token_type_ids = match token_type_ids {
            None => Vec::new(),
            Some(_) if self.options.token_types == 0 => return Err(DataError::NoTokenTypes),
            Some(parts) => {
                same_length("token_type_ids", parts.len())?;
                self.token_types(keep(parts).into_iter().map(|part| u32::try_from(part).unwrap_or(u32::MAX)).collect())?
            }
        };
        let limit = self.options.max_length;
        let cut_labels = task != Task::SequenceClassification && labels.len() > limit;
        let truncated = ids.len() > limit || cut_labels;
        ids.truncate(limit);
        token_type_ids.truncate(limit);
        if cut_labels {
            labels.truncate(limit);
        }
        let example = Example { input_ids: ids, labels, values, token_type_ids, adapter: None };
        Ok(Encoded { example, truncated, merged: false })
    }
}

fn mask_value((index, &value): (usize, &i64)) -> Result<bool, DataError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => {
            let (expected, got) = ("0 or 1".to_owned(), other.to_string());
            Err(DataError::Element { key: "attention_mask", index, expected, got })
        }
    }
}

fn check_labels(labels: &[i64], below: usize) -> Result<(), DataError> {
    let bad = |&label: &i64| label != IGNORE_INDEX && !(0..below as i64).contains(&label);
    match labels.iter().position(bad) {
        None => Ok(()),
        Some(index) => Err(DataError::Element {
            key: "labels",
            index,
            expected: format!("{IGNORE_INDEX}, or 0 to {}", below.saturating_sub(1)),
            got: labels[index].to_string(),
        }),
    }
}
