//! Adapters on one base that rows choose from.

use std::sync::Arc;

use data::Dataset;
use model::{Adapter, Base, Pass};
use peft::PerSequence;

/// What rows call the base without an adapter.
pub const BASE: &str = "base";

/// One adapter for all rows, or several by name.
pub struct Adapters {
    names: Vec<String>,
    passes: Vec<Pass>,
    /// Whether rows of all can go through the model together.
    can_share: bool,
}

impl Adapters {
    /// The adapter of `pass` for all rows, whatever they name.
    pub fn one(pass: Pass) -> Self {
        Self { names: Vec::new(), passes: vec![pass], can_share: true }
    }

    /// Adapters of `base`, each with the name that rows choose it by, and [`BASE`] for none.
    pub fn named(base: &Base, adapters: Vec<(String, Arc<dyn Adapter>)>) -> Self {
        let can_share = adapters.iter().all(|(_, adapter)| PerSequence::can_share(&**adapter, base.modules()));
        let (mut names, mut passes): (Vec<String>, Vec<Pass>) =
            adapters.into_iter().map(|(name, adapter)| (name, Pass::evaluation(adapter))).unzip();
        names.push(BASE.to_owned());
        passes.push(Pass::base());
        Self { names, passes, can_share }
    }

    /// The names to choose from; none where all rows have the same adapter.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The pass of the adapter at place `chosen` among the names; where nothing is chosen, that of the first.
    pub fn pass(&self, chosen: Option<u32>) -> &Pass {
        &self.passes[chosen.map_or(0, |chosen| chosen as usize)]
    }

    /// Virtual tokens of the adapter that has most.
    pub fn position_offset(&self) -> usize {
        self.passes.iter().map(|pass| pass.adapter.position_offset() as usize).max().unwrap_or(0)
    }

    /// The rows `rows` of `dataset` in groups that go through the model together, each with its pass: one group with an
    /// adapter for each sequence where all can share a pass, or a group for each adapter.
    pub fn groups(&self, dataset: &Dataset, rows: &[usize]) -> Vec<(Pass, Vec<usize>)> {
        if self.names.is_empty() {
            return vec![(self.passes[0].clone(), rows.to_vec())];
        }
        let chosen = |row: &usize| dataset.adapter(*row).map_or(0, |chosen| chosen as usize);
        let mut rows = rows.to_vec();
        rows.sort_by_key(chosen);
        if self.can_share {
            let choice: Vec<usize> = rows.iter().map(chosen).collect();
            let adapters = self.passes.iter().map(|pass| Arc::clone(&pass.adapter)).collect();
            return vec![(Pass::evaluation(Arc::new(PerSequence::new(adapters, &choice))), rows)];
        }
        let same = |a: &usize, b: &usize| chosen(a) == chosen(b);
        rows.chunk_by(same).map(|rows| (self.passes[chosen(&rows[0])].clone(), rows.to_vec())).collect()
    }
}
