//! Adds what the tasks have summed, in the order of the tasks.

use device::parallel;
use rayon::prelude::*;

use super::Chunk;
use super::pass::Pass;
use crate::GradKeyValue;
use crate::tile::KEYS;
use crate::workspace::carve;

/// Keys or values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Keys,
    Values,
}

/// The sums of all tasks.
pub(super) struct Sums<'a> {
    pass: &'a Pass<'a>,
    tasks: Vec<(&'a Chunk, &'a [f32])>,
}

impl<'a> Sums<'a> {
    pub(super) fn new(pass: &'a Pass<'a>, tasks: Vec<(&'a Chunk, &'a mut [f32])>) -> Self {
        Self { pass, tasks: tasks.into_iter().map(|(chunk, sums)| (chunk, &*sums)).collect() }
    }

    /// Gradients of the sequences' own keys and values.
    pub(super) fn add_own(&self, grad: GradKeyValue<'_>) {
        let shape = self.pass.layout.shape;
        for (of, mut rest) in [(Of::Keys, grad.k), (Of::Values, grad.v)] {
            let row_len = shape.spec().num_kv_heads * shape.spec().head_dim;
            let by_sequence: Vec<_> = (0..shape.num_sequences())
                .map(|index| (self.of_sequence(index), carve(&mut rest, shape.sequence(index).kv_len * row_len)))
                .collect();
            by_sequence.into_par_iter().for_each(|(tasks, rows)| {
                parallel::rows_mut(rows, row_len, KEYS, |first, rows| {
                    for (j, row) in rows.chunks_exact_mut(row_len).enumerate() {
                        self.add(of, tasks, row, |chunk| {
                            let key = first + j;
                            chunk.keys.contains(&key).then(|| chunk.prefix_rows + key - chunk.keys.start)
                        });
                    }
                });
            });
        }
    }

    /// Gradients of the prefix, over all sequences.
    pub(super) fn add_prefix(&self, grad: GradKeyValue<'_>) {
        let spec = self.pass.layout.shape.spec();
        let row_len = spec.num_kv_heads * spec.head_dim;
        for (of, rows) in [(Of::Keys, grad.k), (Of::Values, grad.v)] {
            parallel::rows_mut(rows, row_len, 1, |key, row| {
                self.add(of, &self.tasks, row, |chunk| (key < chunk.prefix_rows).then_some(key));
            });
        }
    }

    /// Gradient of the bias, over all sequences. The sums of a bucket may be thousands of terms of either sign: in f64.
    pub(super) fn add_bias(&self, grad: &mut [f32]) {
        let (num_heads, group) = (self.pass.layout.shape.spec().num_heads, self.pass.layout.shape.group());
        let mut total = vec![0.0; grad.len()];
        for (chunk, sums) in &self.tasks {
            let Some(differences) = &chunk.differences else { continue };
            let sums = &sums[chunk.key_value_len(self.pass)..];
            for ((bucket, head), sum) in differences.places().zip(sums) {
                total[bucket * num_heads + chunk.kv_head * group + head] += f64::from(*sum);
            }
        }
        grad.iter_mut().zip(total).for_each(|(grad, total)| *grad = total as f32);
    }

    /// The tasks of one sequence.
    fn of_sequence(&self, index: usize) -> &[(&'a Chunk, &'a [f32])] {
        let start = self.tasks.partition_point(|(chunk, _)| chunk.index < index);
        let len = self.tasks[start..].partition_point(|(chunk, _)| chunk.index == index);
        &self.tasks[start..start + len]
    }

    /// Sets `row`, one key of all heads, to the sum over `tasks`; `place` is the key's row among a task's sums, if it
    /// has one.
    fn add(&self, of: Of, tasks: &[(&Chunk, &[f32])], row: &mut [f32], place: impl Fn(&Chunk) -> Option<usize>) {
        let (layout, spec) = (&self.pass.layout, self.pass.layout.shape.spec());
        row.fill(0.0);
        for (chunk, sums) in tasks {
            let Some(place) = place(chunk) else { continue };
            let skipped = if of == Of::Keys { 0 } else { chunk.sums_rows() };
            let sums = &sums[(skipped + place) * layout.padded_dim..];
            let row = &mut row[chunk.kv_head * spec.head_dim..][..spec.head_dim];
            row.iter_mut().zip(sums).for_each(|(y, x)| *y += x);
        }
        if of == Of::Keys {
            row.iter_mut().for_each(|y| *y *= self.pass.key_factor);
        }
    }
}
