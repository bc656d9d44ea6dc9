//! Parallel loops with a fixed split.
//!
//! Work is cut by size, never by the number of threads, and a reduction adds its parts in order. So a result depends on
//! neither the machine's cores nor on which of them was faster.

mod team;

use rayon::prelude::*;

pub use team::{brief, brief_rows_mut};

/// Calls `body(start, rows)` for consecutive blocks of `block` rows of `data`, each `row_len` long, in parallel.
/// `start` is the index of the block's first row.
pub fn rows_mut<T: Send>(data: &mut [T], row_len: usize, block: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    if data.is_empty() || row_len == 0 {
        return;
    }
    let chunk = row_len * block.max(1);
    if data.len() <= chunk {
        return body(0, data);
    }
    data.par_chunks_mut(chunk).enumerate().for_each(|(i, rows)| body(i * block.max(1), rows));
}

/// Calls `body(range)` for consecutive ranges of `block` indices below `len`, in parallel.
pub fn ranges(len: usize, block: usize, body: impl Fn(std::ops::Range<usize>) + Sync) {
    let block = block.max(1);
    if len <= block {
        if len > 0 {
            body(0..len);
        }
        return;
    }
    (0..len.div_ceil(block)).into_par_iter().for_each(|i| body(i * block..len.min((i + 1) * block)));
}

/// Sums `part(range)` over consecutive ranges of `block` indices below `len`: the parts in parallel, their sum in order.
pub fn sum(len: usize, block: usize, part: impl Fn(std::ops::Range<usize>) -> f64 + Sync) -> f64 {
    let block = block.max(1);
    let parts: Vec<f64> =
        (0..len.div_ceil(block)).into_par_iter().map(|i| part(i * block..len.min((i + 1) * block))).collect();
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once() {
        let mut data = vec![0usize; 7 * 3];
        rows_mut(&mut data, 3, 2, |start, rows| {
            for (i, row) in rows.chunks_mut(3).enumerate() {
                row.fill(start + i + 1);
            }
        });
        assert_eq!(data.chunks(3).map(|r| r[0]).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn a_sum_is_the_same_with_any_number_of_threads() {
        let term = |r: std::ops::Range<usize>| r.map(|i| 1.0 / (i as f64 + 1.0)).sum::<f64>();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| sum(10_001, 64, term));
        let four = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap().install(|| sum(10_001, 64, term));
        assert_eq!(one.to_bits(), four.to_bits());
    }
}
