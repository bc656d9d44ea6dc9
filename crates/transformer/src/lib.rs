//! What a frozen transformer block needs around its products: norms, rotary embedding, activations, embedding, cross-entropy.
