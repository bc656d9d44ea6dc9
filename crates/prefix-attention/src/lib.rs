//! Attention over packed sequences with learned prefix keys and values; prefix length 0 is plain attention.
//!
//! `o_i = sum_j p_ij v_j`, `p_i = softmax_j(s_ij)`, `s_ij = softmax_scale q_i . k_j`, over the keys that query `i` sees:
//! those of the prefix and those of its own sequence that the mask of [`AttentionSpec`] leaves. [`RelativeBias`] adds a term
//! to `s_ij` by the distance of key and query.
//!
//! | argument | shape | dtype |
//! |---|---|---|
//! | `q`, `o` | `[num_q_tokens, num_heads * head_dim]` | f32 |
//! | `k`, `v` | `[num_kv_tokens, num_kv_heads * head_dim]` | f32 |
//! | `prefix.k`, `prefix.v` | `[prefix_len, num_kv_heads * head_dim]` | f32 |
//! | `bias.table` | `[num_buckets, num_heads]` | f32 |
//! | `softmax_lse` | `[num_heads, num_q_tokens]` | f32 |
//! | `cu_seqlens_q`, `cu_seqlens_kv` | `[num_sequences + 1]`: starts, then the number of tokens | u32 |
//!
//! [`launch`] does the same on a GPU, or emulated, for f32 and bf16. On the CPU the forward pass of many queries runs on AMX
//! tiles where there are some, fed with exact pieces of the operands, and everything else on vectors. In precision bf16
//! ([`Forward::precision`]) both directions run on tiles, which take the operands of products as the nearest bf16: queries, keys,
//! values, probabilities and gradients. Scores, softmax and all sums stay f32.
//!
//! Sources: Dao 2023, "FlashAttention-2"; Li and Liang 2021, "Prefix-Tuning"; soft-capping: Gemma team 2024, "Gemma 2".
//!
//! Guarantees:
//! - memory beyond the arguments is linear in the number of tokens; no score matrix is formed;
//! - a sequence's result is the same bit for bit alone and packed with others, on any number of threads;
//! - `o` and `softmax_lse` agree with an f64 evaluation within 5e-6 of the largest value, or of 1 if that is larger,
//!   gradients within 2e-5, for scores up to 36 (`src/tests/oracle.rs`); in bf16 the same holds of operands in bf16 but for `2^-8`
//!   of each probability, and of each gradient of a score, that is multiplied;
//! - a NaN among the operands reaches every result that depends on it.

mod arguments;
mod backward;
mod blocks;
mod dots;
mod error;
mod forward;
mod isa;
pub mod launch;
mod panels;
mod pieces;
mod product;
mod relative_bias;
mod scores;
mod spec;
#[cfg(test)]
mod tests;
mod tile;
mod transpose;
mod visible;
mod workspace;

pub use arguments::{Backward, Forward, GradKeyValue, Prefix, TokenRows};
pub use backward::backward;
pub use error::AttentionError;
pub use forward::forward;
pub use relative_bias::{RelativeBias, RelativeBuckets};
pub use spec::{AttentionShape, AttentionSpec};
