//! Scores of classes, from an encoder or a decoder.

use std::path::Path;

use checkpoint::Checkpoint;
use device::DType;
use tensor::Tensor;

use crate::config::{BlockConfig, ClassifierConfig, Labels, TrunkConfig};
use crate::load::Initial;
use crate::{Base, Decoder, Encoder, Input, ModelError, Modules, Pass, Result, TaskHead};

/// A frozen model with a classifier for its head.
///
/// | task | model | scores are those of |
/// |---|---|---|
/// | `SEQ_CLS` | encoder | each sequence's first token |
/// | `SEQ_CLS` | decoder | each sequence's last token that is not padding |
/// | `TOKEN_CLS` | encoder | every token |
pub struct Classifier {
    trunk: Trunk,
    labels: Labels,
    pad_token_id: Option<u32>,
}

enum Trunk {
    Encoder(Encoder),
    Decoder(Decoder),
}

impl ClassifierConfig {
    /// The model's modules under `head`, without reading a weight.
    ///
    /// # Errors
    /// [`ModelError::NoHead`] for a decoder that is to do something else than classify sequences.
    pub fn modules(&self, head: TaskHead) -> Result<Modules> {
        match &self.trunk {
            TrunkConfig::Encoder(config) => Ok(config.modules(head)),
            TrunkConfig::Decoder(config) => Ok(config.clone().with_classifier(sequence_labels(head)?).modules()),
        }
    }
}

impl Classifier {
    /// Loads the model in a Hugging Face directory under `head`. See [`Decoder::load`] for `dtype`. Parameters of the head
    /// that the files do not have are drawn from `seed`, and listed in [`Base::newly_initialized`].
    ///
    /// # Errors
    /// Those of [`ClassifierConfig::read`], [`Checkpoint::open`] and [`Classifier::from_checkpoint`].
    pub fn load(dir: &Path, head: TaskHead, dtype: DType, seed: u64) -> Result<Self> {
        let config = ClassifierConfig::read(dir)?;
        Self::from_checkpoint(config, head, &Checkpoint::open(dir)?, dtype, seed)
    }

    /// As [`Classifier::load`], from files that are open already.
    ///
    /// # Errors
    /// [`ModelError::NoHead`] for a decoder that is to do something else than classify sequences, and those of
    /// [`Encoder::from_checkpoint`].
    pub fn from_checkpoint(
        config: ClassifierConfig,
        head: TaskHead,
        checkpoint: &Checkpoint,
        dtype: DType,
        seed: u64,
    ) -> Result<Self> {
        let ClassifierConfig { trunk, labels, initializer_range, pad_token_id } = config;
        let initial = Initial { deviation: initializer_range, seed };
        let trunk = match trunk {
            TrunkConfig::Encoder(config) => {
                Trunk::Encoder(Encoder::from_checkpoint(config, head, checkpoint, dtype, seed)?)
            }
            TrunkConfig::Decoder(config) => {
                let config = config.with_classifier(sequence_labels(head)?);
                Trunk::Decoder(Decoder::with_initial(config, checkpoint, dtype, initial)?)
            }
        };
        Ok(Self { trunk, labels, pad_token_id })
    }

    /// Its weights, and what a method may know of it.
    pub fn base(&self) -> &Base {
        match &self.trunk {
            Trunk::Encoder(encoder) => encoder.base(),
            Trunk::Decoder(decoder) => decoder.base(),
        }
    }

    /// The same, to quantize them.
    pub fn base_mut(&mut self) -> &mut Base {
        match &mut self.trunk {
            Trunk::Encoder(encoder) => encoder.base_mut(),
            Trunk::Decoder(decoder) => decoder.base_mut(),
        }
    }

    /// The classes that its file names.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What its blocks are built from.
    pub fn block(&self) -> BlockConfig {
        match &self.trunk {
            Trunk::Encoder(encoder) => encoder.config().block,
            Trunk::Decoder(decoder) => decoder.config().block(),
        }
    }

    /// Scores, `[num_sequences, num_labels]`, or `[num_tokens, num_labels]` of a classifier of tokens.
    ///
    /// # Errors
    /// Those of [`Encoder::forward`] or [`Decoder::forward`]; [`ModelError::EmptySequence`].
    pub fn logits(&self, input: &Input, pass: &Pass) -> Result<Tensor> {
        match &self.trunk {
            Trunk::Encoder(encoder) => {
                let hidden = encoder.forward(input, pass)?;
                let rows = match encoder.head() {
                    // With a prompt its first row, as in PEFT.
                    TaskHead::SequenceClassification { .. } => hidden.one_each(|_, rows| rows.start)?,
                    TaskHead::TokenClassification { .. } | TaskHead::FeatureExtraction => hidden.tokens()?,
                };
                encoder.logits(&rows, pass)
            }
            Trunk::Decoder(decoder) => {
                let hidden = decoder.hidden(input, pass)?;
                let last = self.last_tokens(input);
                decoder.logits(&hidden.one_each(|index, rows| rows.start + hidden.prompt_len + last[index])?, pass)
            }
        }
    }

    /// The last token of each sequence that is not padding, counted from its first. Of padding alone transformers takes the
    /// first.
    fn last_tokens(&self, input: &Input) -> Vec<usize> {
        let last = |ends: &[u32]| {
            let ids = &input.input_ids[ends[0] as usize..ends[1] as usize];
            let found = ids.iter().rposition(|&id| Some(id) != self.pad_token_id);
            found.unwrap_or(0)
        };
        input.sequences.cu_seqlens_q().windows(2).map(last).collect()
    }
}

fn sequence_labels(head: TaskHead) -> Result<usize> {
    match head {
        TaskHead::SequenceClassification { num_labels } => Ok(num_labels),
        TaskHead::TokenClassification { .. } => Err(ModelError::NoHead { task: "TOKEN_CLS" }),
        TaskHead::FeatureExtraction => Err(ModelError::NoHead { task: "FEATURE_EXTRACTION" }),
    }
}
