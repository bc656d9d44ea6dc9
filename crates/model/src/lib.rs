//! Frozen base models: decoders, encoders and both together, built from the same parts, one file per family.
//!
//! | concept | here |
//! |---|---|
//! | a model as data, read from `config.json` | [`DecoderConfig`], [`EncoderConfig`], [`EncoderDecoderConfig`], [`ClassifierConfig`], [`VisionConfig`] |
//! | the families, a file each | [`Family`], [`EncoderFamily`], [`EncoderDecoderFamily`], [`VisionFamily`] |
//! | what a model consists of, under Hugging Face's names | [`Modules`], [`Module`], [`Parameter`], [`Residual`] |
//! | rotary embedding and its scalings | [`rope`] |
//! | the weights of a model of any kind, as methods see them | [`Base`] |
//! | a causal language model | [`Decoder`] |
//! | hidden states of which every token sees the whole text | [`Encoder`] |
//! | scores of classes, from either | [`Classifier`] |
//! | a decoder of a text that an encoder has read | [`EncoderDecoder`] |
//! | scores of classes of images | [`ImageClassifier`] |
//! | what a method may change in it | [`Adapter`] |
//! | the tokens or images of a pass, and how it is run | [`Input`], [`Images`], [`Pass`] |
//! | generation token by token | [`KvCache`], [`DecoderCache`] |
//!
//! The decoder does not know which methods exist, and nothing here changes a weight. Results are those of transformers:
//! logits agree to 5e-6 of the largest in f32 for every family and scaling (`tests/golden.rs`, `tests/encoders.rs`,
//! `tests/seq2seq.rs`, `tests/vision.rs`).

#![forbid(unsafe_code)]

mod adapter;
mod base;
mod cache;
mod classifier;
pub mod config;
mod context;
mod decoder;
mod encoder;
mod encoder_decoder;
mod error;
mod families;
mod hidden;
mod input;
mod join;
mod lm_head;
mod load;
mod module;
mod parts;
mod pass;
mod placement;
pub mod rope;
mod stored;
mod vision;

pub use adapter::{Adapter, NoAdapter, Projection, one_by_one};
pub use base::{Base, Dimensions, Held, Nf4};
pub use cache::KvCache;
pub use classifier::Classifier;
pub use config::{ClassifierConfig, DecoderConfig, EncoderConfig, EncoderDecoderConfig, VisionConfig};
pub use context::{Context, Dropout};
pub use decoder::Decoder;
pub use encoder::{Encoder, TaskHead};
pub use encoder_decoder::{DecoderCache, EncoderDecoder};
pub use error::{ModelError, TensorNames};
pub use families::{EncoderDecoderFamily, EncoderFamily, Family, VisionFamily, current_name};
pub use hidden::Hidden;
pub use input::Input;
pub use join::{Join, NormFn};
pub use load::{StoredNames, quantized_weight_of};
pub use module::{Module, ModuleId, ModuleKind, Modules, Parameter, ParameterId, Part, Residual, ResidualId};
pub use pass::Pass;
pub use vision::{ImageClassifier, Images};

/// A result of this crate.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;
