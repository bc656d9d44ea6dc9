//! NormalFloat4: weights as 4-bit codes in blocks with one scale each, and the scales in 8 bits.
//!
//! `x_i = CODEBOOK[code_i] absmax_(i / block_size)`
//!
//! | argument | shape | dtype |
//! |---|---|---|
//! | `x`, `out` | any, row by row | f32, bf16 or f16 |
//! | `packed` | `[(num_elements + 1) / 2]`, the even element in the high half of its byte | u8 |
//! | `absmax` | `[num_blocks]` | f32, or u8 with the three below |
//! | `nested_absmax` | `[num_blocks / 256]`, rounded up | f32 |
//! | `map` | `[256]` | f32 |
//! | `offset` | scalar | f32 |
//!
//! Source: Dettmers et al. 2023, "QLoRA: Efficient finetuning of quantized LLMs", section 3.
//!
//! A product reads the blocks where they are: an [`Operand`] is dequantized panel by panel while it is packed. The functions here
//! are the definition of the result, on slices; [`launch`] has kernels for them, on device buffers.
//!
//! Codes, scales and dequantized values equal those of bitsandbytes 0.50 on the CPU bit for bit
//! (`tests/bitsandbytes.rs`), whatever the number of threads. The error of a value is at most half the widest gap of
//! [`CODEBOOK`], 0.152, times its block's `absmax`.

mod blocks;
mod codebook;
mod dequantize;
mod error;
pub mod launch;
mod lookup;
mod nested;
mod operand;
mod quantize;
mod shape;
#[cfg(test)]
mod tests;

pub use codebook::CODEBOOK;
pub use dequantize::{Dequantize, dequantize};
pub use error::Nf4Error;
pub use nested::{Absmax, NESTED_BLOCK_SIZE, NestedAbsmax, QuantizeAbsmax, dynamic_map, quantize_absmax};
pub use operand::Operand;
pub use quantize::{Quantize, quantize};
pub use shape::Nf4Shape;
