//! Rows in, token ids and labels out: JSON Lines, tokenizers, chat templates, packing, order. No tensor.
