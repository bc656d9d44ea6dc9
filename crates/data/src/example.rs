//! One row, encoded.

use crate::Task;

/// The label of a token that is not trained on, as in PyTorch and transformers.
pub const IGNORE_INDEX: i64 = -100;

/// Token ids and what is to be predicted.
///
/// | task | `labels` |
/// |---|---|
/// | `CAUSAL_LM` | one for each token, not shifted: token `t` predicts label `t + 1`, so the first label is never used |
/// | `TOKEN_CLS` | one for each token, its own class |
/// | `SEQ_CLS`, `IMAGE_CLS` | one, the class of the sequence or image; with a single class 0, and the number to predict in `values` |
/// | `FEATURE_EXTRACTION` | none |
/// | `SEQ_2_SEQ_LM` | the tokens of the decoder, of their own length |
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// Token ids, no padding.
    pub input_ids: Vec<u32>,
    /// Labels; [`IGNORE_INDEX`] is not trained on.
    pub labels: Vec<i64>,
    /// The number to predict, of a regression.
    pub values: Vec<f32>,
    /// The part of the text that each token is in; empty where all are in the first.
    pub token_type_ids: Vec<u32>,
    /// The adapter that the row names, by its place in [`DataOptions::adapters`](crate::DataOptions::adapters).
    pub adapter: Option<u32>,
}

/// How many of `labels`, those of one example, are predicted from something and trained on.
pub(crate) fn num_targets<L: Copy + Into<i64>>(task: Task, labels: &[L]) -> usize {
    let predicted = match task {
        Task::CausalLm => labels.get(1..).unwrap_or_default(),
        _ => labels,
    };
    predicted.iter().filter(|&&label| label.into() != IGNORE_INDEX).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_of_a_causal_model_is_no_target() {
        assert_eq!(num_targets(Task::CausalLm, &[5i64, -100, 6, 7]), 2);
        assert_eq!(num_targets(Task::TokenClassification, &[5i64, -100, 6, 7]), 3);
        assert_eq!(num_targets(Task::CausalLm, &[5i64]), 0);
        assert_eq!(num_targets::<i64>(Task::CausalLm, &[]), 0);
        assert_eq!(num_targets(Task::SequenceClassification, &[1i64]), 1);
    }
}
