//! What a model is trained to do: one task a file. The training loop, evaluation and the memory plan know no more of a
//! model than this.

mod causal_lm;
mod classification;
mod image_classification;
mod seq2seq_lm;

use data::Batch;
use model::{Base, Pass, VisionConfig};
use tensor::{LossSum, Tensor};

use super::plan::{Activations, Keeping, Trained};
use crate::Error;
use crate::generation::TextModel;

pub use causal_lm::CausalLm;
pub use classification::Classification;
pub use image_classification::ImageClassification;
pub use seq2seq_lm::Seq2SeqLm;

/// A frozen model together with its task.
pub trait Task: Send + Sync {
    /// The frozen weights.
    fn base(&self) -> &Base;

    /// The same, to quantize them.
    fn base_mut(&mut self) -> &mut Base;

    /// The sum of the losses of the batch's targets, a scalar.
    ///
    /// # Errors
    /// Those of the model.
    fn loss(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error>;

    /// The same, with targets and correct predictions counted. Nothing is recorded.
    ///
    /// # Errors
    /// Those of the model.
    fn evaluate(&self, batch: &Batch, pass: &Pass) -> Result<LossSum, Error>;

    /// The logits of the batch. Nothing is recorded.
    ///
    /// # Errors
    /// Those of the model.
    fn logits(&self, batch: &Batch, pass: &Pass) -> Result<Logits, Error>;

    /// What a pass over `tokens` tokens keeps and uses in memory, while `trained` is trained.
    fn activations(&self, trained: &Trained, tokens: usize, keeping: Keeping) -> Activations;

    /// Keys and values of every block after a text, for a prefix to start from; `None` if its blocks do not read one text.
    ///
    /// # Errors
    /// Those of the model.
    fn keys_and_values(&self, input_ids: &[u32]) -> Result<Option<Vec<(Tensor, Tensor)>>, Error> {
        let _ = input_ids;
        Ok(None)
    }

    /// What the model is, if it is given images.
    fn images(&self) -> Option<&VisionConfig> {
        None
    }

    /// The language model, if it is one that writes texts.
    fn text_model(&self) -> Option<&dyn TextModel> {
        None
    }
}

/// Logits as other implementations have them: padded to a block, zero where a row has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Logits {
    /// Sizes, the batch first and the classes or tokens last.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

impl Logits {
    /// The block `[batch, seq, classes]` of `values`, `[num_tokens, classes]`, the rows of which start at `cu_seqlens`.
    pub fn padded(values: &[f32], cu_seqlens: &[u32], classes: usize) -> Self {
        let rows = || cu_seqlens.windows(2).map(|pair| pair[0] as usize * classes..pair[1] as usize * classes);
        let width = rows().map(|row| row.len()).max().unwrap_or(0);
        let mut padded = vec![0.0; rows().len() * width];
        for (to, row) in padded.chunks_exact_mut(width.max(1)).zip(rows()) {
            to[..row.len()].copy_from_slice(&values[row]);
        }
        Self { shape: vec![rows().len(), width / classes.max(1), classes], values: padded }
    }

    /// The block of some batches, with the places that their rows have in it.
    pub fn joined(parts: Vec<(Self, Vec<usize>)>) -> Self {
        let Some((first, _)) = parts.first() else { return Self { shape: vec![0], values: Vec::new() } };
        let mut shape = first.shape.clone();
        shape[0] = parts.iter().map(|(_, places)| places.len()).sum();
        for (part, _) in &parts {
            shape[1..].iter_mut().zip(&part.shape[1..]).for_each(|(size, own)| *size = (*size).max(*own));
        }
        let width: usize = shape[1..].iter().product();
        let mut values = vec![0.0; shape[0] * width];
        for (part, places) in &parts {
            let own: usize = part.shape[1..].iter().product();
            for (row, &place) in part.values.chunks_exact(own.max(1)).zip(places) {
                values[place * width..][..own].copy_from_slice(row);
            }
        }
        Self { shape, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_joined_in_the_order_of_their_rows() {
        let long = Logits { shape: vec![1, 2, 2], values: vec![1.0, 2.0, 3.0, 4.0] };
        let short = Logits { shape: vec![2, 1, 2], values: vec![5.0, 6.0, 7.0, 8.0] };
        let joined = Logits::joined(vec![(short, vec![2, 0]), (long.clone(), vec![1])]);
        assert_eq!(joined.shape, [3, 2, 2]);
        assert_eq!(joined.values, [7.0, 8.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
        assert_eq!(Logits::joined(vec![(long.clone(), vec![0])]), long);
    }

    #[test]
    fn shorter_rows_end_in_zeros() {
        let logits = Logits::padded(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[0, 2, 3], 2);
        assert_eq!(logits.shape, [2, 2, 2]);
        assert_eq!(logits.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
    }
}
