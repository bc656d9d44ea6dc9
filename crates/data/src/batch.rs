//! What the model is given.

use std::num::NonZeroUsize;

use rayon::prelude::*;

use crate::example::num_targets;
use crate::{DataError, Dataset, Example, IGNORE_INDEX, Task};

/// Any token: nothing is made of it.
const PADDING: u32 = 0;

/// How far sequences are [padded](Batch::padded).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// To the next multiple of this many tokens,
    pub multiple: NonZeroUsize,
    /// or to this many, if that comes first.
    pub longest: usize,
}

impl Padding {
    /// Tokens that a sequence of `length` has then.
    pub fn length(self, length: usize) -> usize {
        length.next_multiple_of(self.multiple.get()).min(self.longest).max(length)
    }
}

/// Sequences side by side, without padding but where it is [asked for](Batch::padded).
///
/// | field | shape |
/// |---|---|
/// | `input_ids`, `positions`, `token_type_ids` | `[num_tokens]` |
/// | `cu_seqlens` | `[num_sequences + 1]`: where each sequence starts, then `num_tokens` |
/// | `labels` | `[num_tokens]`; `[num_sequences]` for `SEQ_CLS` and `IMAGE_CLS`, the decoders' tokens for `SEQ_2_SEQ_LM` |
/// | `pixel_values` | `[num_sequences, 3, height, width]` of images, whose tokens the model makes, else empty |
/// | `values` | `[num_sequences]` for a regression, else empty |
/// | `cu_label_seqlens` | `[num_sequences + 1]`: where the labels of each sequence start, then their number |
///
/// Attention goes over one sequence at a time, and positions begin anew with each, so that sequences do not see each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What `labels` are; see [`Example`].
    pub task: Task,
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// The place of each token in its own sequence, from 0.
    pub positions: Vec<u32>,
    /// Starts of the sequences, then the number of tokens.
    pub cu_seqlens: Vec<u32>,
    /// Labels as the rows have them, not shifted.
    pub labels: Vec<i64>,
    /// Images, as the model's processor makes them.
    pub pixel_values: Vec<f32>,
    /// The numbers that a regression predicts.
    pub values: Vec<f32>,
    /// The part of the text that each token is in; empty where all are in the first.
    pub token_type_ids: Vec<u32>,
    /// Starts of the sequences' labels, then their number.
    pub cu_label_seqlens: Vec<u32>,
    /// How many tokens are no row's: see [`Batch::padded`].
    pub num_padding: usize,
    /// How many labels the loss is taken over: those that are not -100 and, for `CAUSAL_LM`, not a sequence's first.
    pub num_targets: usize,
}

impl Batch {
    /// The examples `indices` of `dataset`. Images are decoded here, in parallel.
    ///
    /// # Errors
    /// Those of [`Dataset::pixel_values`]; none for texts.
    ///
    /// # Panics
    /// If an index is not below the dataset's length, or if the batch has 2^32 tokens or more.
    pub fn gather(dataset: &Dataset, indices: &[usize]) -> Result<Self, DataError> {
        let mut batch = Self::empty(dataset.task());
        let images: Vec<_> = indices.par_iter().map(|&index| dataset.pixel_values(index)).collect();
        for (&index, image) in indices.iter().zip(images) {
            match image? {
                Some(pixel_values) => batch.push_image(&pixel_values, dataset.image_tokens(), dataset.labels(index)),
                None => batch.push(dataset.input_ids(index), dataset.labels(index), dataset.token_type_ids(index)),
            }
            batch.values.extend(dataset.value(index));
        }
        dataset.release();
        Ok(batch)
    }

    /// `examples` of `task`.
    ///
    /// # Panics
    /// If the batch has 2^32 tokens or more.
    pub fn from_examples(task: Task, examples: &[Example]) -> Self {
        let mut batch = Self::empty(task);
        for example in examples {
            batch.push(&example.input_ids, &example.labels, &example.token_type_ids);
            batch.values.extend(&example.values);
        }
        batch
    }

    fn empty(task: Task) -> Self {
        Self {
            task,
            input_ids: Vec::new(),
            positions: Vec::new(),
            cu_seqlens: vec![0],
            labels: Vec::new(),
            pixel_values: Vec::new(),
            values: Vec::new(),
            token_type_ids: Vec::new(),
            cu_label_seqlens: vec![0],
            num_padding: 0,
            num_targets: 0,
        }
    }

    fn push<L: Copy + Into<i64>>(&mut self, input_ids: &[u32], labels: &[L], token_type_ids: &[u32]) {
        if !(token_type_ids.is_empty() && self.token_type_ids.is_empty()) {
            self.token_type_ids.resize(self.input_ids.len(), 0);
            self.token_type_ids.extend(token_type_ids);
            self.token_type_ids.resize(self.input_ids.len() + input_ids.len(), 0);
        }
        self.input_ids.extend(input_ids);
        self.positions.extend(0..below_2_to_32(input_ids.len()));
        self.push_labels(input_ids.len(), labels);
    }

    fn push_image<L: Copy + Into<i64>>(&mut self, pixel_values: &[f32], num_tokens: usize, labels: &[L]) {
        self.pixel_values.extend(pixel_values);
        self.push_labels(num_tokens, labels);
    }

    /// Ends a sequence of `num_tokens` tokens with these labels.
    fn push_labels<L: Copy + Into<i64>>(&mut self, num_tokens: usize, labels: &[L]) {
        self.num_targets += num_targets(self.task, labels);
        self.labels.extend(labels.iter().map(|&label| label.into()));
        self.cu_seqlens.push(below_2_to_32(self.num_input_tokens() + num_tokens));
        self.cu_label_seqlens.push(below_2_to_32(self.labels.len()));
    }

    /// Where the last sequence ends.
    fn num_input_tokens(&self) -> usize {
        self.cu_seqlens.last().map_or(0, |&end| end as usize)
    }

    /// [`Batch::targets`] where each sequence of a causal model comes after `prompt_len` rows that are no tokens: one target for
    /// each of those rows too. The last of them predicts the first token, if that is supervised.
    pub fn targets_after(&self, prompt_len: usize) -> Vec<i64> {
        if self.task != Task::CausalLm || prompt_len == 0 {
            return self.targets();
        }
        let mut targets = Vec::with_capacity(self.labels.len() + prompt_len * self.num_sequences());
        for pair in self.cu_seqlens.windows(2) {
            targets.extend(std::iter::repeat_n(IGNORE_INDEX, prompt_len - 1));
            targets.extend(&self.labels[pair[0] as usize..pair[1] as usize]);
            targets.push(IGNORE_INDEX);
        }
        targets
    }

    /// Labels that the loss is taken over after `prompt_len` rows: those of first tokens count where something predicts them.
    pub fn num_targets_after(&self, prompt_len: usize) -> usize {
        if self.task != Task::CausalLm || prompt_len == 0 {
            return self.num_targets;
        }
        self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
    }

    /// How many sequences there are.
    pub fn num_sequences(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// How many tokens of rows there are, those of a decoder beside its encoder's too.
    pub fn num_tokens(&self) -> usize {
        let decoded = if self.task == Task::Seq2SeqLm { self.labels.len() } else { 0 };
        self.num_input_tokens() + decoded - self.num_padding
    }

    /// Each sequence followed by tokens without labels: batches have few sizes then. A causal model computes the same for the tokens
    /// before.
    ///
    /// # Panics
    /// If the task is not [`Task::CausalLm`], or if the batch has 2^32 tokens or more.
    pub fn padded(&self, padding: Padding) -> Self {
        assert_eq!(self.task, Task::CausalLm, "what follows a sequence must not change it");
        let mut padded = Self::empty(self.task);
        for pair in self.cu_seqlens.windows(2) {
            let sequence = pair[0] as usize..pair[1] as usize;
            let more = padding.length(sequence.len()) - sequence.len();
            let input_ids = [&self.input_ids[sequence.clone()], &vec![PADDING; more]].concat();
            let labels = [&self.labels[sequence.clone()], &vec![IGNORE_INDEX; more]].concat();
            let token_type_ids = self.token_type_ids.get(sequence).unwrap_or_default();
            padded.push(&input_ids, &labels, token_type_ids);
            padded.num_padding += more;
        }
        padded
    }

    /// The labels of a causal model, moved to the token that predicts them: `[num_tokens]`, -100 at the end of every
    /// sequence. Those of any other task as they are.
    pub fn targets(&self) -> Vec<i64> {
        if self.task != Task::CausalLm {
            return self.labels.clone();
        }
        let mut targets = Vec::with_capacity(self.labels.len());
        for pair in self.cu_seqlens.windows(2) {
            let labels = &self.labels[pair[0] as usize..pair[1] as usize];
            if let Some((_, shifted)) = labels.split_first() {
                targets.extend(shifted);
                targets.push(IGNORE_INDEX);
            }
        }
        targets
    }
}

fn below_2_to_32(len: usize) -> u32 {
    u32::try_from(len).expect("a batch has fewer than 2^32 tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(input_ids: &[u32], labels: &[i64]) -> Example {
        Example { input_ids: input_ids.to_vec(), labels: labels.to_vec(), ..Example::default() }
    }

    #[test]
    fn sequences_lie_side_by_side() {
        let rows = [example(&[5, 6, 7], &[5, -100, 7]), example(&[8], &[8]), example(&[9, 4], &[-100, 4])];
        let batch = Batch::from_examples(Task::CausalLm, &rows);
        assert_eq!(batch.input_ids, [5, 6, 7, 8, 9, 4]);
        assert_eq!(batch.positions, [0, 1, 2, 0, 0, 1]);
        assert_eq!(batch.cu_seqlens, [0, 3, 4, 6]);
        assert_eq!(batch.targets(), [-100, 7, -100, -100, 4, -100]);
        assert_eq!((batch.num_sequences(), batch.num_tokens(), batch.num_targets), (3, 6, 2));
    }

    #[test]
    fn sequences_are_padded_to_multiples() {
        let rows =
            [example(&[5, 6, 7], &[5, -100, 7]), example(&[8, 9, 10, 11, 12], &[8; 5]), example(&[4; 4], &[4; 4])];
        let batch = Batch::from_examples(Task::CausalLm, &rows);
        let padding = |multiple, longest| Padding { multiple: NonZeroUsize::new(multiple).unwrap(), longest };
        let padded = batch.padded(padding(4, 6));
        assert_eq!(padded.cu_seqlens, [0, 4, 10, 14]);
        assert_eq!(padded.input_ids, [5, 6, 7, 0, 8, 9, 10, 11, 12, 0, 4, 4, 4, 4]);
        assert_eq!(padded.positions[..4], [0, 1, 2, 3]);
        assert_eq!(padded.targets()[..4], [-100, 7, -100, -100]);
        let counts = |batch: &Batch| (batch.num_tokens(), batch.num_targets, batch.num_targets_after(2));
        assert_eq!((counts(&padded), padded.num_padding), (counts(&batch), 2));
        assert_eq!(batch.padded(padding(1, 100)), batch);
        // What is longer stays.
        assert_eq!(batch.padded(padding(4, 2)), batch);
    }

    #[test]
    fn the_last_row_of_a_prompt_predicts_the_first_token() {
        let rows = [example(&[5, 6, 7], &[5, -100, 7]), example(&[8], &[8]), example(&[9, 4], &[-100, 4])];
        let batch = Batch::from_examples(Task::CausalLm, &rows);
        assert_eq!(batch.targets_after(0), batch.targets());
        assert_eq!(batch.num_targets_after(0), 2);
        let expected = [-100, 5, -100, 7, -100, -100, 8, -100, -100, -100, 4, -100];
        assert_eq!(batch.targets_after(2), expected);
        assert_eq!(batch.num_targets_after(2), 4);
        let class = Batch::from_examples(Task::SequenceClassification, &[example(&[1, 2], &[1])]);
        assert_eq!((class.targets_after(2), class.num_targets_after(2)), (vec![1], 1));
    }

    #[test]
    fn labels_of_other_tasks_have_their_own_shape() {
        let classes = [example(&[1, 2, 3], &[1]), example(&[4], &[0])];
        let batch = Batch::from_examples(Task::SequenceClassification, &classes);
        assert_eq!((batch.targets(), batch.cu_label_seqlens, batch.num_targets), (vec![1, 0], vec![0, 1, 2], 2));
        let decoded = [example(&[1, 2, 3], &[7, 1]), example(&[4], &[8, 9, 1])];
        let batch = Batch::from_examples(Task::Seq2SeqLm, &decoded);
        assert_eq!(batch.num_tokens(), 4 + 5);
        assert_eq!((batch.cu_seqlens, batch.cu_label_seqlens, batch.num_targets), (vec![0, 3, 4], vec![0, 2, 5], 5));
    }
}
