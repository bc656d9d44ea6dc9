//! `[data]`: what is trained on.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Serialize;

use super::section::Section;
use super::value::Choice;

/// The rows and how they become sequences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// A JSON Lines file, or a directory with `train.jsonl` and perhaps `valid.jsonl`. For `IMAGE_CLS` also a directory with a
    /// directory of PNG and JPEG files for each class, or with two such, `train` and `valid`.
    pub train: PathBuf,
    /// Rows to evaluate on; a directory's `valid.jsonl`, or its images in `valid`, unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<PathBuf>,
    /// Longer sequences are cut to this many tokens, and counted. Default 512.
    pub max_length: usize,
    /// Fill each sequence of a batch with several rows that do not see each other. Default false.
    pub packing: bool,
    /// Follow each sequence with tokens that are not trained on, up to a multiple of this many: a GPU is given batches of few sizes
    /// then, whose launches come again as CUDA graphs. For `CAUSAL_LM`. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_to_multiple_of: Option<NonZeroUsize>,
    /// A new order each epoch, drawn from `training.seed`. Default true.
    pub shuffle: bool,
    /// Train on completions and the assistant's turns only; otherwise on prompts and user turns too. Default true.
    pub completion_only_loss: bool,
    /// A jinja file used in place of the model's own chat template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// Whether rows are kept encoded in files. Default `auto`.
    pub cache: CacheUse,
    /// Where; `tokens` in `training.output_dir` unless set. Runs that share it encode the same rows once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
}

/// Which files of rows are encoded once, into files that are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheUse {
    /// Those that take long to encode.
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

impl Choice for CacheUse {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

impl Data {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            train: s.required("train", "--data"),
            eval: s.get_path("eval"),
            max_length: s.within("max_length", 512, 1..=1 << 24),
            packing: s.or("packing", false),
            pad_to_multiple_of: s.get_within("pad_to_multiple_of", 1..=1 << 16).and_then(NonZeroUsize::new),
            shuffle: s.or("shuffle", true),
            completion_only_loss: s.or("completion_only_loss", true),
            chat_template: s.get_path("chat_template"),
            cache: s.or("cache", CacheUse::Auto),
            cache_dir: s.get_path("cache_dir"),
        }
    }
}
