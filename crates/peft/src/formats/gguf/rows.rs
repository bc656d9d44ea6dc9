//! The order in which llama.cpp keeps the rows of some weights.
//!
//! Rotation takes pairs of a head's elements: half a head apart in transformers, neighbours in llama.cpp's Llama. So its
//! queries and keys have element `i` of the first half followed by element `i` of the second. GPT-NeoX fuses query, key
//! and value head by head, and llama.cpp expects all queries first.

use model::Dimensions;

/// For each row in llama.cpp the row in transformers; `None` where they are the same.
pub(super) fn order(module: &str, dimensions: &Dimensions) -> Option<Vec<usize>> {
    let (heads, head_dim) = (&dimensions.heads, dimensions.heads.head_dim);
    match (dimensions.model_type, module.rsplit('.').next()?) {
        ("llama" | "mistral", "q_proj") => Some(neighbours(heads.num_attention_heads, head_dim)),
        ("llama" | "mistral", "k_proj") => Some(neighbours(heads.num_key_value_heads, head_dim)),
        ("gpt_neox", "query_key_value") => Some(by_part(heads.num_attention_heads, head_dim)),
        _ => None,
    }
}

fn neighbours(heads: usize, head_dim: usize) -> Vec<usize> {
    let half = head_dim / 2;
    (0..heads).flat_map(|head| (0..half).flat_map(move |i| [0, half].map(|of| head * head_dim + of + i))).collect()
}

fn by_part(heads: usize, head_dim: usize) -> Vec<usize> {
    let row = move |part: usize, head: usize, i: usize| (3 * head + part) * head_dim + i;
    (0..3).flat_map(|part| (0..heads).flat_map(move |head| (0..head_dim).map(move |i| row(part, head, i)))).collect()
}

/// The rows of a matrix of `columns` columns in llama.cpp's order.
pub(super) fn ordered(values: &[f32], columns: usize, order: &[usize]) -> Vec<f32> {
    order.iter().flat_map(|&row| &values[row * columns..(row + 1) * columns]).copied().collect()
}

/// The rows in transformers' order again.
pub(super) fn restored(values: &[f32], columns: usize, order: &[usize]) -> Vec<f32> {
    let mut rows = vec![0.0; values.len()];
    for (own, &row) in order.iter().enumerate() {
        rows[row * columns..(row + 1) * columns].copy_from_slice(&values[own * columns..(own + 1) * columns]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        // `w.reshape(heads, 2, half).swapaxes(1, 2)` of two heads of four.
        assert_eq!(neighbours(2, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
        // `w.reshape(heads, 3, head_dim)[:, part]`, one part after the other.
        assert_eq!(by_part(2, 2), [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11]);
    }

    #[test]
    fn restoring_undoes_ordering() {
        let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
        for order in [by_part(2, 2), neighbours(3, 4)] {
            let there = ordered(&values, 2, &order);
            assert_ne!(there, values);
            assert_eq!(restored(&there, 2, &order), values);
        }
        assert_eq!(ordered(&[1.0, 2.0, 3.0], 1, &[2, 0, 1]), [3.0, 1.0, 2.0]);
    }
}
