//! What a LoRA adapter is in any file: for each module `scaling B A`, and perhaps the norms of DoRA.
//!
//! PEFT's files say it in two parts, tensors here and numbers there (ranks, alphas, patterns, rsLoRA). Whoever changes
//! adapters as such, to combine them or to write them in another format, works on this.

mod complete;
mod head;
mod read;
mod write;

use model::ModuleKind;

use crate::config::Common;
use crate::{PeftError, finite};

pub use complete::check_complete;
pub(crate) use head::{has_head, is_of_images, modules_to_save};
pub use write::PeftFiles;

/// The update of one module.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraUpdate {
    /// The module's name in Hugging Face's module tree.
    pub module: String,
    /// What the module is.
    pub kind: UpdateKind,
    /// Rows of A.
    pub rank: usize,
    /// `[rank, in]`; of an embedding `[rank, vocab]`.
    pub a: Vec<f32>,
    /// `[out, rank]`
    pub b: Vec<f32>,
    /// Factor of the product.
    pub scaling: f64,
    /// `[out]`, of a DoRA adapter.
    pub magnitude: Option<Vec<f32>>,
}

/// What an update belongs to: the keys and the shapes of its matrices depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// A projection.
    Linear,
    /// A table of rows.
    Embedding,
}

impl UpdateKind {
    /// What a module of this kind takes; `None` where no product of two matrices is added.
    pub fn of(kind: ModuleKind) -> Option<Self> {
        match kind {
            ModuleKind::Linear { .. } => Some(Self::Linear),
            ModuleKind::Embedding { .. } => Some(Self::Embedding),
            ModuleKind::Norm { .. } | ModuleKind::Conv2d { .. } | ModuleKind::Parameter => None,
        }
    }
}

/// A tensor that is saved with an adapter as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeTensor {
    /// The parameter's name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

/// A LoRA adapter without a base.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoraUpdates {
    /// What its file says beside the method.
    pub common: Common,
    /// Probability with which inputs were dropped in training.
    pub dropout: f64,
    /// Whether the adapted weights are stored `[in, out]`; PEFT's file says it, and nothing else depends on it.
    pub fan_in_fan_out: bool,
    /// By the order of the modules' names.
    pub updates: Vec<LoraUpdate>,
    /// The head of a classifier.
    pub head: Vec<WholeTensor>,
}

impl LoraUpdate {
    /// Columns of A.
    pub fn inputs(&self) -> usize {
        self.a.len() / self.rank.max(1)
    }

    /// Rows of B.
    pub fn outputs(&self) -> usize {
        self.b.len() / self.rank.max(1)
    }

    /// The same update with `scaling` for its factor: the quotient goes into B.
    ///
    /// # Errors
    /// [`PeftError::NonFinite`] if B cannot hold it.
    pub fn with_scaling(mut self, scaling: f64) -> Result<Self, PeftError> {
        if self.scaling != scaling {
            let factor = self.scaling / scaling;
            self.b.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
            self.scaling = scaling;
            finite::check_values(&format!("B of {}", self.module), &self.b)?;
        }
        Ok(self)
    }

    /// The same update with zeros up to rank `rank`, which is not below its own.
    #[must_use]
    pub fn with_rank(mut self, rank: usize) -> Self {
        let (own, inputs) = (self.rank, self.inputs());
        self.a.resize(rank * inputs, 0.0);
        let padded = |row: &[f32]| row.iter().copied().chain(std::iter::repeat_n(0.0, rank - own)).collect::<Vec<_>>();
        self.b = self.b.chunks_exact(own.max(1)).flat_map(padded).collect();
        self.rank = rank;
        self
    }
}

impl LoraUpdates {
    /// The rank and the factor that most modules have; the first of equally many.
    pub fn usual(&self) -> Option<(usize, f64)> {
        let mut counts: Vec<((usize, f64), usize)> = Vec::new();
        for update in &self.updates {
            let key = (update.rank, update.scaling);
            match counts.iter_mut().find(|(known, _)| *known == key) {
                Some((_, count)) => *count += 1,
                None => counts.push((key, 1)),
            }
        }
        // Of equal counts `max_by_key` takes the last.
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(key, _)| key)
    }

    /// The largest rank.
    pub fn largest_rank(&self) -> usize {
        self.updates.iter().map(|update| update.rank).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(rank: usize, scaling: f64) -> LoraUpdate {
        LoraUpdate {
            module: "m".to_owned(),
            kind: UpdateKind::Linear,
            rank,
            a: (0..3 * rank).map(|i| i as f32 - 1.0).collect(),
            b: (0..2 * rank).map(|i| 2.0 - i as f32).collect(),
            scaling,
            magnitude: None,
        }
    }

    /// `scaling B A`
    fn product(update: &LoraUpdate) -> Vec<f64> {
        let element = |i: usize, j: usize| {
            let terms = (0..update.rank)
                .map(|k| f64::from(update.b[i * update.rank + k]) * f64::from(update.a[k * update.inputs() + j]));
            update.scaling * terms.sum::<f64>()
        };
        (0..update.outputs()).flat_map(|i| (0..update.inputs()).map(move |j| element(i, j))).collect()
    }

    #[test]
    fn other_ranks_and_factors_make_the_same_product() {
        let original = update(2, 0.5);
        assert_eq!((original.inputs(), original.outputs()), (3, 2));
        let changed = original.clone().with_rank(5).with_scaling(4.0).unwrap();
        assert_eq!((changed.rank, changed.inputs(), changed.outputs(), changed.scaling), (5, 3, 2, 4.0));
        // Powers of two: nothing is rounded.
        assert_eq!(product(&changed), product(&original));
        let error = original.with_scaling(1e-39).unwrap_err();
        assert!(matches!(error, PeftError::NonFinite { element: 0, .. }), "{error}");
    }

    #[test]
    fn what_most_have_is_usual() {
        let of = |updates: &[(usize, f64)]| {
            let updates = updates.iter().map(|&(rank, scaling)| update(rank, scaling)).collect();
            LoraUpdates { updates, ..LoraUpdates::default() }
        };
        assert_eq!(of(&[(2, 1.0), (4, 1.0), (4, 1.0)]).usual(), Some((4, 1.0)));
        assert_eq!(of(&[(2, 1.0), (4, 1.0)]).usual(), Some((2, 1.0)));
        assert_eq!((of(&[]).usual(), of(&[(2, 1.0), (4, 1.0)]).largest_rank()), (None, 4));
    }
}
