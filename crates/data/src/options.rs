//! What rows are for, and how they become examples.

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::{DataError, ImageProcessor};

/// What the model is trained to do, as PEFT's `task_type` spells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Predict the next token.
    #[default]
    #[serde(rename = "CAUSAL_LM")]
    CausalLm,
    /// One class for each sequence.
    #[serde(rename = "SEQ_CLS")]
    SequenceClassification,
    /// One class for each token.
    #[serde(rename = "TOKEN_CLS")]
    TokenClassification,
    /// Embed each sequence; nothing is predicted.
    #[serde(rename = "FEATURE_EXTRACTION")]
    FeatureExtraction,
    /// Predict the tokens of one sequence from another.
    #[serde(rename = "SEQ_2_SEQ_LM")]
    Seq2SeqLm,
    /// One class for each image. PEFT has no name for it, and writes null.
    #[serde(rename = "IMAGE_CLS")]
    ImageClassification,
}

impl Task {
    /// As PEFT spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CausalLm => "CAUSAL_LM",
            Self::SequenceClassification => "SEQ_CLS",
            Self::TokenClassification => "TOKEN_CLS",
            Self::FeatureExtraction => "FEATURE_EXTRACTION",
            Self::Seq2SeqLm => "SEQ_2_SEQ_LM",
            Self::ImageClassification => "IMAGE_CLS",
        }
    }

    /// The sets of keys that a row may have.
    pub(crate) fn rows(self) -> &'static str {
        match self {
            Self::CausalLm => {
                "{text}, {prompt, completion}, {messages}, {instruction, input, output}, {input_ids, labels}"
            }
            Self::SequenceClassification => "{text, label}, {text, text_pair, label}, {input_ids, label}",
            Self::TokenClassification => "{tokens, tags}, {input_ids, labels}",
            Self::FeatureExtraction => "{text}, {text, text_pair}, {input_ids}",
            Self::ImageClassification => "{image, label}",
            Self::Seq2SeqLm => "{prompt, completion}, {instruction, input, output}, {input_ids, labels}",
        }
    }
}

impl Display for Task {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a model asks of images.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageOptions {
    /// Its processor.
    pub processor: ImageProcessor,
    /// Height and width of its images.
    pub size: [usize; 2],
    /// Tokens that it makes of an image.
    pub num_tokens: usize,
}

/// How rows become examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataOptions {
    /// What rows are for.
    pub task: Task,
    /// Tokens of an example; what is longer is cut at its end, and counted.
    pub max_length: usize,
    /// The model's: the rows of its embedding.
    pub vocab_size: usize,
    /// Classes, for `SEQ_CLS` and `TOKEN_CLS`. One class of a sequence is no class: rows then have a number to predict.
    pub num_labels: usize,
    /// Names of the classes, by number; may be empty.
    pub label_names: Vec<String>,
    /// Parts of a text that the model tells apart (`type_vocab_size`), 0 if it has no table of them.
    pub token_types: usize,
    /// The names of adapters that rows choose from; empty where they do not.
    pub adapters: Vec<String>,
    /// Train on completions and on the assistant's turns only (TRL's word). Otherwise prompts, user and system turns are
    /// trained on too.
    pub completion_only_loss: bool,
    /// Bytes of a line; a longer one is refused before it is read.
    pub max_line_bytes: usize,
}

impl DataOptions {
    /// The defaults for a model with `vocab_size` tokens: `CAUSAL_LM`, at most 512 tokens, loss on completions only.
    pub fn new(vocab_size: usize) -> Self {
        Self {
            task: Task::CausalLm,
            max_length: 512,
            vocab_size,
            num_labels: 2,
            label_names: Vec::new(),
            token_types: 0,
            adapters: Vec::new(),
            completion_only_loss: true,
            max_line_bytes: 16 << 20,
        }
    }

    /// # Errors
    /// [`DataError::Setting`] for a setting out of its range.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        // Labels are stored in 32 bits.
        if self.vocab_size == 0 || self.vocab_size > i32::MAX as usize {
            let expected = "a number of tokens between 1 and 2147483647";
            return Err(DataError::Setting { setting: "vocab_size", got: self.vocab_size.to_string(), expected });
        }
        if self.max_length == 0 || self.max_length > i32::MAX as usize {
            let expected = "a number of tokens between 1 and 2147483647";
            return Err(DataError::Setting { setting: "data.max_length", got: self.max_length.to_string(), expected });
        }
        Ok(())
    }
}
