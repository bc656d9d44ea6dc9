//! A decoder with its weights.

use std::path::Path;
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::DType;
use tensor::{LossSum, Tensor, ops};

use crate::config::DecoderConfig;
use crate::lm_head::LmHead;
use crate::load::{Expected, Initial, NewModules, Spelling};
use crate::parts::{Network, Scope};
use crate::placement::Placement;
use crate::rope::RopeTables;
use crate::{Base, Context, Hidden, Input, ModelError, Pass, Result};

/// A frozen causal language model.
///
/// It is computed as transformers computes it in evaluation: the dropout that a configuration may ask for within the base
/// (`attn_pdrop` and its like) is left out in training too, because nothing of the base is trained.
pub struct Decoder {
    pub(crate) config: DecoderConfig,
    pub(crate) network: Network,
    pub(crate) ropes: RopeTables,
    base: Base,
}

impl Decoder {
    /// Loads the model in a Hugging Face directory. `dtype` is what the model computes with, as in `from_pretrained`:
    ///
    /// | `dtype` | weights stored in it | others |
    /// |---|---|---|
    /// | f32 | used where they lie | used where they lie, widened while computing: the same numbers as a widened copy |
    /// | bf16, f16 | used where they lie | rounded once, into memory of their own |
    ///
    /// Sums, and activations on their way from op to op, are f32 in every case. With bf16, products round their operands to
    /// it, and so do ops what they keep for backward.
    ///
    /// # Errors
    /// Those of [`DecoderConfig::read`], [`Checkpoint::open`] and [`Decoder::from_checkpoint`].
    pub fn load(dir: &Path, dtype: DType) -> Result<Self> {
        let config = DecoderConfig::read(dir)?;
        Self::from_checkpoint(config, &Checkpoint::open(dir)?, dtype)
    }

    /// As [`Decoder::load`], from files that are open already. The mapping lives as long as the model.
    ///
    /// # Errors
    /// [`ModelError::MissingTensors`], [`ModelError::MissingHead`], [`ModelError::ExtraTensors`],
    /// [`ModelError::TensorShape`], [`ModelError::TensorDtype`]; [`ModelError::Tensor`] without memory.
    pub fn from_checkpoint(config: DecoderConfig, checkpoint: &Checkpoint, dtype: DType) -> Result<Self> {
        Self::with_initial(config, checkpoint, dtype, Initial::default())
    }

    /// As [`Decoder::from_checkpoint`]; parameters of a classifier that the files do not have start as `initial` says.
    pub(crate) fn with_initial(
        config: DecoderConfig,
        checkpoint: &Checkpoint,
        dtype: DType,
        initial: Initial,
    ) -> Result<Self> {
        let (network, modules) = Network::declare(&config, dtype);
        let names = &config.names;
        let is_classifier = config.num_labels.is_some();
        let expected = Expected {
            spelling: Spelling {
                base: names.base,
                is_bare: false,
                head: names.head_alias.map(|alias| (names.head, alias)),
                older: &[],
            },
            embedding: names.embedding,
            new: NewModules {
                modules: is_classifier.then_some(network.head.module).into_iter().collect(),
                initial,
                are_replaced: false,
            },
            other_heads: if is_classifier { &["lm_head.", "embed_out."] } else { &[] },
        };
        let base = Base::load(config.dimensions(), &expected, modules, checkpoint, dtype)?;
        let ropes = RopeTables::new(config.ropes());
        Ok(Self { config, network, ropes, base })
    }

    /// What the model is.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Its weights, and what a method may know of it.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The same, to quantize it.
    pub fn base_mut(&mut self) -> &mut Base {
        &mut self.base
    }

    /// Hidden states after the last norm, `[num_tokens, hidden_size]`; with a prompt
    /// `[num_tokens + num_sequences * prompt_len, hidden_size]`, the rows of the prompt before those of each sequence.
    ///
    /// # Errors
    /// [`ModelError::TokenId`], [`ModelError::TooLong`], and [`ModelError::Tensor`] from an op or the adapter.
    pub fn forward(&self, input: &Input, pass: &Pass) -> Result<Tensor> {
        Ok(self.hidden(input, pass)?.rows)
    }

    /// As [`Decoder::forward`], with the places of the sequences.
    pub(crate) fn hidden(&self, input: &Input, pass: &Pass) -> Result<Hidden> {
        let prompt = pass.adapter.prompt()?;
        let scope = self.scope(input, prompt.as_ref(), pass)?;
        let x = self.embed(input, prompt.as_ref(), &scope)?;
        let x = self.network.blocks.forward(x, &scope, pass)?;
        let rows = self.network.norm.forward(&x, &scope)?;
        let prompt_len = prompt.map_or(0, |prompt| prompt.shape()[0]);
        Ok(Hidden { rows, sequences: Arc::clone(&scope.context.sequences), prompt_len })
    }

    /// Logits of `hidden`, some rows of what [`Decoder::forward`] gave: `[rows, vocab_size]`.
    ///
    /// # Errors
    /// [`ModelError::Tensor`].
    pub fn logits(&self, hidden: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.head().logits(hidden, pass)
    }

    /// The sum of the cross-entropies of `hidden`'s rows, a scalar. `targets[i]` is the token that row `i` should predict
    /// (labels already shifted), or -100 for a row that is not trained on.
    ///
    /// # Errors
    /// [`ModelError::BatchLength`] if there is not one target for each row; [`ModelError::Tensor`], for a target outside
    /// the vocabulary among others.
    pub fn loss(&self, hidden: &Tensor, targets: &[i64], pass: &Pass) -> Result<Tensor> {
        self.head().loss(hidden, targets, pass)
    }

    /// As [`Decoder::loss`], with the number of supervised and of correctly predicted tokens, for evaluation: nothing is
    /// recorded.
    ///
    /// # Errors
    /// As [`Decoder::loss`].
    pub fn evaluate(&self, hidden: &Tensor, targets: &[i64], pass: &Pass) -> Result<LossSum> {
        self.head().evaluate(hidden, targets, pass)
    }

    fn head(&self) -> LmHead<'_> {
        LmHead { base: &self.base, linear: self.network.head, softcap: self.config.final_logit_softcapping }
    }

    /// What the parts of the model see in a pass over `input` after `prompt`.
    pub(crate) fn scope(&self, input: &Input, prompt: Option<&Tensor>, pass: &Pass) -> Result<Scope> {
        input.check_tokens(self.config.vocab_size)?;
        let prompt_len = prompt.map_or(0, |prompt| prompt.shape()[0]);
        let Placement { sequences, positions } = Placement::new(input, prompt_len, pass.adapter.position_offset())?;
        let ropes = self.ropes.rows(&sequences, &positions)?.into();
        let context = Context { sequences, positions, dropout: pass.dropout };
        if let (Some(_), Some(last)) = (&self.network.positions, context.positions.iter().max()) {
            let limit = self.config.max_position_embeddings;
            if *last as usize >= limit {
                return Err(ModelError::TooLong { got: *last as usize, limit });
            }
        }
        let (adapter, base) = (Arc::clone(&pass.adapter), Arc::clone(self.base.parameters()));
        Ok(Scope { adapter, base, context, ropes, precision: self.base.dtype() })
    }

    pub(crate) fn embed(&self, input: &Input, prompt: Option<&Tensor>, scope: &Scope) -> Result<Tensor> {
        let mut x = self.network.embedding.forward(&input.input_ids, scope)?;
        if let Some(prompt) = prompt {
            x = ops::prepend(prompt, &x, &input.sequences)?;
        }
        match &self.network.positions {
            Some(positions) => Ok(ops::add(&x, &positions.forward(&scope.context.positions, scope)?)?),
            None => Ok(x),
        }
    }
}
