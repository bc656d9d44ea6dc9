//! `CAUSAL_LM`: the next token.

use data::Batch;
use model::{Base, Decoder, Pass};
use tensor::{LossSum, Tensor, no_grad};

use super::{Logits, Task};
use crate::Error;
use crate::generation::TextModel;
use crate::run::plan::{Activations, Keeping, Trained, decoder_activations};
use crate::run::rows::input;

/// A decoder that predicts the next token.
pub struct CausalLm {
    decoder: Decoder,
}

impl CausalLm {
    /// The task of `decoder`.
    pub fn new(decoder: Decoder) -> Self {
        Self { decoder }
    }
}

impl Task for CausalLm {
    fn base(&self) -> &Base {
        self.decoder.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.decoder.base_mut()
    }

    fn loss(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        let hidden = self.decoder.forward(&input(batch)?, pass)?; // [num_tokens and rows of prompts, hidden_size]
        Ok(self.decoder.loss(&hidden, &batch.targets_after(pass.adapter.prompt_len()), pass)?)
    }

    fn evaluate(&self, batch: &Batch, pass: &Pass) -> Result<LossSum, Error> {
        let hidden = no_grad(|| self.decoder.forward(&input(batch)?, pass).map_err(Error::from))?;
        Ok(self.decoder.evaluate(&hidden, &batch.targets_after(pass.adapter.prompt_len()), pass)?)
    }

    /// `[batch, seq, vocab]`; with a prompt `[batch, prompt_len + seq, vocab]`, as PEFT has them.
    fn logits(&self, batch: &Batch, pass: &Pass) -> Result<Logits, Error> {
        let logits = no_grad(|| {
            let hidden = self.decoder.forward(&input(batch)?, pass)?;
            Ok::<_, Error>(self.decoder.logits(&hidden, pass)?)
        })?;
        let prompt_len = pass.adapter.prompt_len() as u32;
        let cu_seqlens: Vec<u32> =
            (0..).zip(&batch.cu_seqlens).map(|(index, start)| start + index * prompt_len).collect();
        Ok(Logits::padded(&logits.to_vec(), &cu_seqlens, self.decoder.config().vocab_size))
    }

    fn activations(&self, trained: &Trained, tokens: usize, keeping: Keeping) -> Activations {
        let (config, modules) = (self.decoder.config(), self.decoder.base().modules());
        decoder_activations(config, modules, trained, tokens, keeping)
    }

    fn keys_and_values(&self, input_ids: &[u32]) -> Result<Option<Vec<(Tensor, Tensor)>>, Error> {
        Ok(Some(self.decoder.keys_and_values(input_ids)?))
    }

    fn text_model(&self) -> Option<&dyn TextModel> {
        Some(&self.decoder)
    }
}
