//! `SEQ_2_SEQ_LM`: a text from another.

use data::Batch;
use model::{Base, EncoderDecoder, Pass};
use tensor::{LossSum, Tensor, no_grad};

use super::{Logits, Task};
use crate::Error;
use crate::generation::TextModel;
use crate::run::plan::{Activations, Keeping, Trained, encoder_decoder_activations};
use crate::run::rows::input;

/// An encoder-decoder that writes the labels of what it has read.
pub struct Seq2SeqLm {
    model: EncoderDecoder,
}

impl Seq2SeqLm {
    /// The task of `model`.
    pub fn new(model: EncoderDecoder) -> Self {
        Self { model }
    }

    /// `[num_labels, hidden_size]`: the decoder is given the labels, each row moved by one.
    fn hidden(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        let decoder_input = self.model.decoder_input(&batch.labels, &batch.cu_label_seqlens)?;
        Ok(self.model.forward(&input(batch)?, &decoder_input, pass)?)
    }
}

impl Task for Seq2SeqLm {
    fn base(&self) -> &Base {
        self.model.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.model.base_mut()
    }

    fn loss(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        Ok(self.model.loss(&self.hidden(batch, pass)?, &batch.labels, pass)?)
    }

    fn evaluate(&self, batch: &Batch, pass: &Pass) -> Result<LossSum, Error> {
        let hidden = no_grad(|| self.hidden(batch, pass))?;
        Ok(self.model.evaluate(&hidden, &batch.labels, pass)?)
    }

    /// `[batch, labels, vocab]`.
    fn logits(&self, batch: &Batch, pass: &Pass) -> Result<Logits, Error> {
        let logits = no_grad(|| Ok::<_, Error>(self.model.logits(&self.hidden(batch, pass)?, pass)?))?;
        Ok(Logits::padded(&logits.to_vec(), &batch.cu_label_seqlens, self.model.config().vocab_size))
    }

    fn activations(&self, trained: &Trained, tokens: usize, keeping: Keeping) -> Activations {
        let (config, modules) = (self.model.config(), self.model.base().modules());
        encoder_decoder_activations(config, modules, trained, tokens, keeping)
    }

    fn text_model(&self) -> Option<&dyn TextModel> {
        Some(&self.model)
    }
}
