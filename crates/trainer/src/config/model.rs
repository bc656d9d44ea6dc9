//! `[model]`: the frozen base.

use std::path::PathBuf;

use device::DType;
use serde::Serialize;

use super::section::Section;
use super::value::Choice;

/// The base model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// A directory in Hugging Face layout.
    pub path: PathBuf,
    /// How the base is stored and computed with; `auto`, the default, is as in its files.
    pub dtype: BaseDType,
    /// Compression of the base: `nf4` holds the linear modules of its blocks in 4 bits, as bitsandbytes does, `int8` in 8
    /// bits, multiplied by activations in 8 bits, on the CPU. Default `none`; what the files hold quantized stays so in any
    /// case.
    pub quantization: Quantization,
    /// Whether the scales of `nf4` are quantized as well: 4.1 bits a weight instead of 4.5. Default true.
    pub double_quant: bool,
    /// What is predicted. Default `CAUSAL_LM`.
    pub task_type: TaskType,
    /// Classes of a classifier. Default: those that the rows name, or the model's `config.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_labels: Option<usize>,
}

/// More classes than any task has.
const MAX_LABELS: usize = 1 << 20;

impl Model {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            path: s.required("path", "--model"),
            dtype: s.or("dtype", BaseDType::Auto),
            quantization: s.or("quantization", Quantization::None),
            double_quant: s.or("double_quant", true),
            task_type: s.or("task_type", TaskType::CausalLm),
            num_labels: s.get_within("num_labels", 1..=MAX_LABELS),
        }
    }
}

impl Model {
    /// How the base is held.
    pub fn storage(&self) -> WeightStorage {
        WeightStorage { quantization: self.quantization, double_quant: self.double_quant }
    }
}

/// How the weights of a base are held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightStorage {
    /// In blocks of few bits, or as in its files.
    pub quantization: Quantization,
    /// Whether scales of blocks are quantized as well.
    pub double_quant: bool,
}

/// The element type of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseDType {
    /// As in the files.
    Auto,
    /// 32 bits.
    Float32,
    /// The upper 16 bits of f32.
    BFloat16,
}

impl BaseDType {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            BaseDType::Auto => "auto",
            BaseDType::Float32 => "float32",
            BaseDType::BFloat16 => "bfloat16",
        }
    }

    /// The element type, or `None` for that of the files.
    pub fn dtype(self) -> Option<DType> {
        match self {
            BaseDType::Auto => None,
            BaseDType::Float32 => Some(DType::F32),
            BaseDType::BFloat16 => Some(DType::BF16),
        }
    }
}

impl Choice for BaseDType {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("float32", Self::Float32), ("bfloat16", Self::BFloat16)];
    const ABSENT: &'static [&'static str] = &["float16"];
}

/// Compression of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// As stored.
    None,
    /// NormalFloat4 blocks.
    Nf4,
    /// 8-bit integers, by output channel.
    Int8,
}

impl Quantization {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Quantization::None => "none",
            Quantization::Nf4 => "nf4",
            Quantization::Int8 => "int8",
        }
    }
}

impl Choice for Quantization {
    const CHOICES: &'static [(&'static str, Self)] = &[("none", Self::None), ("nf4", Self::Nf4), ("int8", Self::Int8)];
}

/// What is predicted, in PEFT's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TaskType {
    /// The next token.
    #[serde(rename = "CAUSAL_LM")]
    CausalLm,
    /// The class of a sequence.
    #[serde(rename = "SEQ_CLS")]
    SequenceClassification,
    /// The class of each token.
    #[serde(rename = "TOKEN_CLS")]
    TokenClassification,
    /// A text from another.
    #[serde(rename = "SEQ_2_SEQ_LM")]
    Seq2SeqLm,
    /// The class of an image. PEFT has no word for it, and null stands in an adapter's file.
    #[serde(rename = "IMAGE_CLS")]
    ImageClassification,
}

impl Choice for TaskType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("CAUSAL_LM", Self::CausalLm),
        ("SEQ_CLS", Self::SequenceClassification),
        ("TOKEN_CLS", Self::TokenClassification),
        ("SEQ_2_SEQ_LM", Self::Seq2SeqLm),
        ("IMAGE_CLS", Self::ImageClassification),
    ];
}
