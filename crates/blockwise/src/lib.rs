//! Blocks of numbers in 8 bits: `x_i = map[code_i] absmax`, with `absmax` the largest magnitude of the block.
//!
//! Codes stand for values that lie the nearer to each other the nearer they are to zero ([`DynamicMap`]). Double quantization of
//! NF4 and the moments of 8-bit AdamW are stored so.
//!
//! Codes, scales and values equal those of bitsandbytes 0.50 on the CPU bit for bit (`tests/bitsandbytes.rs`).
//!
//! Source: Dettmers et al. 2022, "8-bit optimizers via block-wise quantization", section 2.

mod block;
mod map;

pub use block::{BLOCK_SIZE, dequantize_block, quantize_block};
pub use map::DynamicMap;
