//! Encoder-decoders: a text is encoded once, and a decoder that attends to it predicts another.
//!
//! Source: Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer".

mod attention;
mod block;
mod cache;
mod memory;
mod model;
mod network;
mod stack;

pub use cache::DecoderCache;
pub use model::EncoderDecoder;
pub(crate) use network::Network;
