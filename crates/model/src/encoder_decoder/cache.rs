//! Generation token by token: the encoded texts, and keys and values of what the decoder has said so far.

use std::sync::Arc;

use tensor::Result;

use crate::cache::LayerCache;
pub(super) use crate::config::EncoderDecoderConfig;

/// Some texts, encoded, and what a decoder has computed of its own. Every text has a place, a number from 0.
pub struct DecoderCache {
    pub(super) blocks: Vec<BlockCache>,
    /// Tokens of each text that the decoder has seen.
    pub(super) lengths: Vec<usize>,
}

/// Keys and values of one block.
pub(super) struct BlockCache {
    /// Of the decoder's tokens.
    pub(super) own: LayerCache,
    /// Of the encoder's.
    pub(super) cross: LayerCache,
}

impl BlockCache {
    /// Says which texts the next pass of the decoder goes on, each with the number of its rows.
    pub(super) fn begin(&mut self, rows: &Arc<[(usize, usize)]>) {
        self.own.begin(rows);
        self.cross.begin(rows);
    }
}

impl DecoderCache {
    pub(super) fn new(config: &EncoderDecoderConfig) -> Result<Self> {
        let columns = config.heads.key_value_size();
        let empty = |_| Ok(BlockCache { own: LayerCache::new(columns, None)?, cross: LayerCache::new(columns, None)? });
        let blocks = (0..config.num_decoder_layers).map(empty).collect::<Result<_>>()?;
        Ok(Self { blocks, lengths: Vec::new() })
    }

    /// Forgets the text at `place`, where another may begin.
    pub fn forget(&mut self, place: usize) {
        if let Some(length) = self.lengths.get_mut(place) {
            *length = 0;
            self.blocks.iter_mut().for_each(|block| {
                block.own.forget(place);
                block.cross.forget(place);
            });
        }
    }

    pub(super) fn add_up_to(&mut self, places: usize) {
        self.lengths.resize(places.max(self.lengths.len()), 0);
        self.blocks.iter_mut().for_each(|block| {
            block.own.add_up_to(places);
            block.cross.add_up_to(places);
        });
    }
}
