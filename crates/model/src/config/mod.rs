//! A decoder as data: everything in which the families differ.

mod block;
mod classifier;
mod encoder;
mod encoder_decoder;
mod keys;
mod labels;
mod layer_types;
mod quantization;
mod read;
mod settings;
mod vision;

use device::DType;
use tensor::Activation;
use tensor::Layout;

use crate::Dimensions;
use crate::families::Family;
use crate::module::Modules;
use crate::parts::Network;
use crate::rope::RopeConfig;

pub use block::BlockConfig;
pub use classifier::{ClassifierConfig, TrunkConfig};
pub use encoder::{EmbeddingsConfig, EncoderConfig, FirstPosition, HeadConfig, HeadsConfig};
pub use encoder_decoder::EncoderDecoderConfig;
pub(crate) use keys::Keys;
pub use labels::Labels;
pub(crate) use layer_types::LayerType;
pub(crate) use quantization::check_quantization;
pub use read::CONFIG_FILE;
pub(crate) use settings::{
    Common, Defaults, MAX_WIDTH, even_head_dim, num_layers, padding_idx, read_activation, read_dtype, width,
};
pub use vision::VisionConfig;

/// One decoder. [`DecoderConfig::read`] makes it from a `config.json`; nothing is allocated by the sizes in it before they
/// were checked.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// The family, whose [`Family::model_type`] is Hugging Face's name of it.
    pub family: &'static Family,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Elements of a token's hidden state.
    pub hidden_size: usize,
    /// Elements between the two products of an MLP.
    pub intermediate_size: usize,
    /// The length that the model was made for. It binds only where positions are learned.
    pub max_position_embeddings: usize,
    /// Tokens that end a text; empty if the file names none.
    pub eos_token_id: Vec<u32>,
    /// The dtype that the file says the weights are meant for.
    pub dtype: Option<DType>,
    /// Heads of every block's attention.
    pub heads: Heads,
    /// Whether the input embedding is multiplied by `sqrt(hidden_size)` (Gemma).
    pub scaled_embedding: bool,
    /// The token whose row of the input embedding is not trained: transformers gives `pad_token_id` to torch's `Embedding`
    /// as `padding_idx` in Llama and its descendants.
    pub padding_idx: Option<u32>,
    /// Where positions enter.
    pub positions: Positions,
    /// The norms.
    pub norm: NormConfig,
    /// How a block puts its parts together.
    pub residual: Residual,
    /// Projections of attention.
    pub attention: AttentionConfig,
    /// Projections of the MLP.
    pub mlp: MlpConfig,
    /// One entry for each block.
    pub layers: Vec<LayerConfig>,
    /// Classes of a sequence, where the head gives those and not the next token.
    pub num_labels: Option<usize>,
    /// Whether the head shares the embedding's weight.
    pub tie_word_embeddings: bool,
    /// Bound of the logits (Gemma 2).
    pub final_logit_softcapping: Option<f32>,
    /// Paths of the modules that are not in a block.
    pub names: Names,
}

impl DecoderConfig {
    /// The modules of this model, without reading a weight. A head that [`DecoderConfig::tie_word_embeddings`] ties is
    /// listed as tied; files that hold another one untie it when they are loaded.
    pub fn modules(&self) -> Modules {
        // The dtype decides nothing but the scale of the embedding.
        Network::declare(self, DType::F32).1
    }

    /// The model with a classifier for a head, as `LlamaForSequenceClassification`: one projection without a bias, `score`.
    pub fn with_classifier(self, num_labels: usize) -> Self {
        let names = Names { head: "score", head_alias: None, ..self.names };
        Self { num_labels: Some(num_labels), tie_word_embeddings: false, final_logit_softcapping: None, names, ..self }
    }

    /// What its blocks are built from.
    pub fn block(&self) -> BlockConfig {
        BlockConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            heads: self.heads,
            norm: self.norm,
            residual: self.residual,
            attention: self.attention,
            mlp: self.mlp,
            rotary: matches!(self.positions, Positions::Rotary(_)),
            causal: true,
        }
    }

    /// Its sizes, as every kind of model has them.
    pub fn dimensions(&self) -> Dimensions {
        Dimensions {
            model_type: self.family.model_type,
            architecture: self.family.architecture,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_layers: self.layers.len(),
            heads: self.heads,
            learned_positions: match self.positions {
                Positions::Learned { .. } => Some(self.max_position_embeddings),
                Positions::Rotary(_) => None,
            },
            rotations_follow_length: self.ropes().iter().any(|rope| rope.variant(usize::MAX) != rope.variant(0)),
            image: None,
        }
    }

    /// The rotations.
    pub(crate) fn ropes(&self) -> &[RopeConfig] {
        match &self.positions {
            Positions::Learned { .. } => &[],
            Positions::Rotary(ropes) => ropes,
        }
    }
}

/// Heads of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; each serves `num_attention_heads / num_key_value_heads` query heads.
    pub num_key_value_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
}

impl Heads {
    /// Columns of all queries.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Columns of all keys, and of all values.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}

/// How positions enter.
#[derive(Clone, Debug)]
pub enum Positions {
    /// A table with a row for each position is added to the embedding (GPT-2).
    Learned {
        /// Path of the table.
        path: &'static str,
    },
    /// Queries and keys are rotated. [`LayerConfig::rope`] says which of these a block uses.
    Rotary(Vec<RopeConfig>),
}

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConfig {
    /// RMSNorm or LayerNorm.
    pub kind: NormKind,
    /// Added to the variance.
    pub eps: f32,
}

/// Kinds of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Zhang and Sennrich 2019; the factor is `1 + weight` with `unit_offset` (Gemma).
    Rms {
        /// Whether 1 is added to the weight.
        unit_offset: bool,
    },
    /// Ba, Kiros and Hinton 2016, with weight and bias.
    Layer,
}

/// How a block adds its parts to the hidden states. Paths are below the block's.
#[derive(Clone, Copy, Debug)]
pub enum Residual {
    /// `x += attention(norm(x))`, then `x += mlp(norm(x))`.
    Sequential {
        /// Norm before attention.
        before_attention: &'static str,
        /// Norm of attention's output (Gemma 2 and 3).
        after_attention: Option<&'static str>,
        /// Norm before the MLP.
        before_mlp: &'static str,
        /// Norm of the MLP's output (Gemma 2 and 3).
        after_mlp: Option<&'static str>,
    },
    /// `x + attention(norm(x)) + mlp(norm(x))` (GPT-NeoX).
    Parallel {
        /// Norm before attention.
        before_attention: &'static str,
        /// Norm before the MLP.
        before_mlp: &'static str,
    },
    /// `x = norm(x + attention(x))`, then `x = norm(x + mlp(x))` (BERT).
    PostNorm {
        /// Norm of the sum with attention's output.
        after_attention: &'static str,
        /// Norm of the sum with the MLP's output.
        after_mlp: &'static str,
    },
}

/// Projections of attention. Paths are below the block's.
#[derive(Clone, Copy, Debug)]
pub struct AttentionConfig {
    /// Queries, keys and values.
    pub projection: Projection,
    /// Whether these have a bias.
    pub bias: bool,
    /// The output projection.
    pub output: &'static str,
    /// Whether it has a bias.
    pub output_bias: bool,
    /// How their weights lie in memory.
    pub layout: Layout,
    /// Norms of each head's query and key, in this order (Qwen 3, Gemma 3).
    pub head_norms: Option<[&'static str; 2]>,
    /// Bound of the scores (Gemma 2).
    pub softcap: Option<f32>,
}

/// How queries, keys and values are projected.
#[derive(Clone, Copy, Debug)]
pub enum Projection {
    /// By a module each.
    Separate {
        /// Queries.
        query: &'static str,
        /// Keys.
        key: &'static str,
        /// Values.
        value: &'static str,
    },
    /// By one module whose output holds all queries, then all keys, then all values (GPT-2, Phi-3).
    Fused {
        /// The module.
        path: &'static str,
    },
    /// By one module whose output holds query, key and value of the first head, then of the second, ... (GPT-NeoX).
    FusedByHead {
        /// The module.
        path: &'static str,
    },
}

/// Projections of the MLP. Paths are below the block's.
#[derive(Clone, Copy, Debug)]
pub struct MlpConfig {
    /// What comes before the activation.
    pub input: MlpInput,
    /// The projection back to the hidden size.
    pub output: &'static str,
    /// Whether the projections have biases.
    pub bias: bool,
    /// How their weights lie in memory.
    pub layout: Layout,
    /// The activation.
    pub activation: Activation,
}

/// What an MLP applies its activation to.
#[derive(Clone, Copy, Debug)]
pub enum MlpInput {
    /// `act(up(x))` (GPT-2, GPT-NeoX).
    Plain {
        /// The projection.
        up: &'static str,
    },
    /// `act(gate(x)) * up(x)`.
    Gated {
        /// The gate.
        gate: &'static str,
        /// What it gates.
        up: &'static str,
    },
    /// The same by one module whose output holds the gate, then what it gates (Phi-3).
    FusedGated {
        /// The module.
        path: &'static str,
    },
}

/// In what one block may differ from the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerConfig {
    /// Factor of the scores.
    pub softmax_scale: f32,
    /// Keys that a query sees, itself included; `None` for all before it.
    pub window: Option<usize>,
    /// Index into [`Positions::Rotary`].
    pub rope: usize,
}

/// Paths of the modules that are not in a block.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The part of the tree that a model without a head consists of: files of such models leave it out of their names.
    pub base: &'static str,
    /// The input embedding.
    pub embedding: &'static str,
    /// The list of blocks.
    pub blocks: &'static str,
    /// The norm after the last block.
    pub norm: &'static str,
    /// The output embedding.
    pub head: &'static str,
    /// Another name that files give to the output embedding.
    pub head_alias: Option<&'static str>,
}
