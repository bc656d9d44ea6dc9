//! LoRA and (IA)^3 of AdapterHub, and what all of its files say about their base.
//!
//! | AdapterHub, below `<module>.loras.<name>` | PEFT |
//! |---|---|
//! | `lora_A` `[r, in]`, `lora_B` `[out, r]`, factor `alpha / r` | the same |
//! | of GPT-2's fused `c_attn`: `lora_A` `[n r, in]`, `lora_B` `[n out / 3, r]` for `n` of queries, keys and values | rank `n r`, B with a block for each |
//! | `composition_mode` "scale": `lora_B` `[out, 1]` | `ia3_l` of outputs, ones where nothing is scaled |
//!
//! AdapterHub's (IA)^3 scales keys, values and what enters the MLP's activation, all of them outputs; PEFT's own default
//! scales the input of the MLP's last projection, which it has no place for.
//!
//! Source: `methods/lora.py` of AdapterHub's `adapters` 1.2.

mod config;
mod facts;
mod fused;
mod read;
mod sites;
mod write;

pub use read::read;
pub use write::{write, write_ia3};
