//! Generation token by token: the encoded text, and keys and values of what the decoder has said so far.

use tensor::{Result, Tensor};

use super::memory::Memory;
use crate::cache::LayerCache;
pub(super) use crate::config::EncoderDecoderConfig;

/// One text, encoded, and what a decoder has computed of its own.
pub struct DecoderCache {
    pub(super) memory: Memory,
    pub(super) blocks: Vec<BlockCache>,
    /// Tokens that the decoder has seen.
    pub(super) length: u32,
}

/// Keys and values of one block.
pub(super) struct BlockCache {
    /// Of the decoder's tokens.
    pub(super) own: LayerCache,
    /// Of the encoder's.
    pub(super) cross: CrossCache,
}

/// Keys and values of the encoder's tokens, once they are computed.
#[derive(Default)]
pub(super) struct CrossCache(pub(super) Option<(Tensor, Tensor)>);

impl DecoderCache {
    pub(super) fn new(config: &EncoderDecoderConfig, memory: Memory) -> Result<Self> {
        let columns = config.heads.key_value_size();
        let empty = |_| Ok(BlockCache { own: LayerCache::new(columns, None)?, cross: CrossCache::default() });
        let blocks = (0..config.num_decoder_layers).map(empty).collect::<Result<_>>()?;
        Ok(Self { memory, blocks, length: 0 })
    }
}
