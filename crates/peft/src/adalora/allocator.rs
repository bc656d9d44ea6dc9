//! Which singular values are left at a step: a budget that falls over the training, and the importance of each.
//!
//! The importance of a trained number `p` with gradient `g` is `|p g|`, smoothed over the steps (`beta1`), times the mean of its
//! deviations from that (`beta2`). That of a singular value is the sum of its own and of the means over its row of A and its
//! column of B. Up to step `tinit` all stay. Then, up to `total_step - tfinal`, the budget falls from all to `target_r` for
//! each module with the third power of what is left of the way; every `deltaT` steps the values with the lowest importance
//! are set to zero, and may come back later. From `total_step - tfinal` on it is the same ones that are zero.
//!
//! Source: Zhang et al. 2023, sections 3.2 and 3.3; PEFT's `RankAllocator`, step by step, its steps counted from 1.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tensor::Parameters;

use super::{AdaLoraConfig, Leaf, Site};

/// Distributes the singular values of an adapter in training.
pub(super) struct Allocator {
    triplets: Vec<Triplet>,
    init_r: usize,
    target_r: usize,
    tinit: u64,
    /// The step of the last distribution.
    last: u64,
    delta_t: u64,
    beta1: f32,
    beta2: f32,
    state: Mutex<State>,
}

/// Where A, E and B of one module lie among all trainable values.
pub(super) struct Triplet {
    a: Range<usize>,
    e: Range<usize>,
    b: Range<usize>,
    /// Their positions among the parameters.
    leaves: [usize; 3],
}

/// What is known after a step.
struct State {
    /// Of each triplet's numbers, A before E before B.
    importances: Vec<Vec<Importance>>,
    /// Of each triplet's singular values, once they are distributed.
    kept: Option<Vec<Vec<bool>>>,
}

/// Estimated over the steps.
#[derive(Clone, Copy, Default)]
struct Importance {
    sensitivity: f32,
    uncertainty: f32,
}

impl Triplet {
    pub(super) fn of(site: &Site, parameters: &Parameters) -> Self {
        let range = |leaf: &Leaf| {
            let start = parameters.tensors().take(leaf.index).map(tensor::Tensor::count).sum();
            start..start + leaf.tensor.count()
        };
        Self {
            a: range(&site.lora_a),
            e: range(&site.lora_e),
            b: range(&site.lora_b),
            leaves: [site.lora_a.index, site.lora_e.index, site.lora_b.index],
        }
    }

    /// Positions of its numbers among all.
    fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        self.a.clone().chain(self.e.clone()).chain(self.b.clone())
    }

    fn count(&self) -> usize {
        self.a.len() + self.e.len() + self.b.len()
    }

    fn rank(&self) -> usize {
        self.e.len()
    }

    /// The importance of each singular value.
    fn scores(&self, importances: &[Importance]) -> Vec<f32> {
        let rank = self.rank();
        let score = |importance: &Importance| f64::from(importance.sensitivity * importance.uncertainty);
        let (a, rest) = importances.split_at(self.a.len());
        let (e, b) = rest.split_at(rank);
        let (width, height) = (self.a.len() / rank.max(1), self.b.len() / rank.max(1));
        let of_one = |index: usize| {
            let row: f64 = a[index * width..][..width].iter().map(score).sum();
            let column: f64 = b.iter().skip(index).step_by(rank).map(score).sum();
            (score(&e[index]) + row / width as f64 + column / height as f64) as f32
        };
        (0..rank).map(of_one).collect()
    }
}

impl Allocator {
    /// For a configuration that [`AdaLoraConfig::check`] has passed.
    pub(super) fn new(config: &AdaLoraConfig, triplets: Vec<Triplet>) -> Self {
        let importances = triplets.iter().map(|triplet| vec![Importance::default(); triplet.count()]).collect();
        Self {
            init_r: config.init_r,
            target_r: config.target_r,
            tinit: config.tinit,
            last: config.total_step - config.tfinal,
            delta_t: config.delta_t,
            beta1: config.beta1 as f32,
            beta2: config.beta2 as f32,
            state: Mutex::new(State { importances, kept: None }),
            triplets,
        }
    }

    /// The singular values of each module that are left; `None` before they are distributed.
    pub(super) fn kept(&self) -> Option<Vec<Vec<bool>>> {
        self.lock().kept.clone()
    }

    /// Takes step `step` into account, whose gradients were `grad_scale * gradients` and which led to `parameters`. Gives the
    /// singular values that change, with their position among the parameters: those out of the budget are zero.
    pub(super) fn after_step(
        &self,
        step: u64,
        parameters: &[f32],
        gradients: &[f32],
        grad_scale: f32,
    ) -> Vec<(usize, Vec<f32>)> {
        let mut state = self.lock();
        // PEFT has no estimate yet where the first step is the last to distribute.
        if step < self.last || step == 1 {
            self.estimate(&mut state, parameters, gradients, grad_scale);
        }
        if let Some(budget) = self.budget(step) {
            self.distribute(&mut state, budget);
        }
        let is_final = step >= self.last;
        match is_final || self.budget(step).is_some() {
            true => self.cleared(&state, parameters),
            false => Vec::new(),
        }
    }

    /// How many singular values may stay in all, at a step that distributes them.
    fn budget(&self, step: u64) -> Option<usize> {
        let distributes =
            step > self.tinit && (step == self.last || (step < self.last && step.is_multiple_of(self.delta_t)));
        distributes.then(|| {
            let (all, target) = (self.init_r * self.triplets.len(), self.target_r * self.triplets.len());
            let left = 1.0 - (step - self.tinit) as f64 / (self.last - self.tinit) as f64;
            ((all - target) as f64 * left.powi(3) + target as f64) as usize
        })
    }

    fn estimate(&self, state: &mut State, parameters: &[f32], gradients: &[f32], grad_scale: f32) {
        for (triplet, importances) in self.triplets.iter().zip(&mut state.importances) {
            for (index, importance) in triplet.numbers().zip(importances) {
                let now = (parameters[index] * (gradients[index] * grad_scale)).abs();
                importance.sensitivity = self.beta1 * importance.sensitivity + (1.0 - self.beta1) * now;
                let deviation = (now - importance.sensitivity).abs();
                importance.uncertainty = self.beta2 * importance.uncertainty + (1.0 - self.beta2) * deviation;
            }
        }
    }

    /// Keeps what is more important than the most important value that is out of the budget.
    fn distribute(&self, state: &mut State, budget: usize) {
        let each = self.triplets.iter().zip(&state.importances);
        let scores: Vec<Vec<f32>> = each.map(|(triplet, importances)| triplet.scores(importances)).collect();
        let mut all: Vec<f32> = scores.iter().flatten().copied().collect();
        let out = all.len().saturating_sub(budget);
        all.sort_unstable_by(f32::total_cmp);
        let threshold = out.checked_sub(1).map_or(f32::NEG_INFINITY, |index| all[index]);
        let kept = |scores: &Vec<f32>| scores.iter().map(|score| *score > threshold).collect();
        state.kept = Some(scores.iter().map(kept).collect());
    }

    /// The singular values of each module, zero where they are not kept.
    fn cleared(&self, state: &State, parameters: &[f32]) -> Vec<(usize, Vec<f32>)> {
        let each = self.triplets.iter().zip(state.kept.iter().flatten());
        each.map(|(triplet, kept)| {
            let values = parameters[triplet.e.clone()].iter().zip(kept);
            (triplet.leaves[1], values.map(|(value, kept)| if *kept { *value } else { 0.0 }).collect())
        })
        .collect()
    }

    /// What the next step needs to know, under names.
    pub(super) fn state(&self, parameters: &Parameters) -> Vec<(String, Vec<f32>)> {
        let state = self.lock();
        let names: Vec<&str> = parameters.iter().map(|(name, _)| name).collect();
        let mut tensors = Vec::new();
        for (index, (triplet, importances)) in self.triplets.iter().zip(&state.importances).enumerate() {
            let mut rest = &importances[..];
            for (leaf, count) in triplet.leaves.into_iter().zip([triplet.a.len(), triplet.e.len(), triplet.b.len()]) {
                let of_leaf = rest.split_off(..count).unwrap_or_default();
                let sensitivity = of_leaf.iter().map(|importance| importance.sensitivity).collect();
                let uncertainty = of_leaf.iter().map(|importance| importance.uncertainty).collect();
                tensors.push((format!("exp_avg_ipt.{}", names[leaf]), sensitivity));
                tensors.push((format!("exp_avg_unc.{}", names[leaf]), uncertainty));
            }
            let kept = match &state.kept {
                Some(kept) => kept[index].iter().map(|kept| f32::from(u8::from(*kept))).collect(),
                None => vec![1.0; triplet.rank()],
            };
            tensors.push((format!("kept.{}", names[triplet.leaves[1]]), kept));
        }
        tensors
    }

    /// Goes on from what [`Allocator::state`] gave, in its order.
    pub(super) fn set_state(&self, tensors: &[Vec<f32>]) {
        let mut state = self.lock();
        let mut all_kept = Vec::new();
        for (importances, tensors) in state.importances.iter_mut().zip(tensors.chunks_exact(7)) {
            let [a, a_unc, e, e_unc, b, b_unc, kept] = tensors else { continue };
            let sensitivities = a.iter().chain(e).chain(b);
            let uncertainties = a_unc.iter().chain(e_unc).chain(b_unc);
            let each = importances.iter_mut().zip(sensitivities.zip(uncertainties));
            each.for_each(|(importance, (&sensitivity, &uncertainty))| {
                *importance = Importance { sensitivity, uncertainty };
            });
            all_kept.push(kept.iter().map(|kept| *kept != 0.0).collect::<Vec<bool>>());
        }
        // A distribution that leaves everything is none.
        let is_distributed = all_kept.iter().flatten().any(|kept| !kept);
        state.kept = is_distributed.then_some(all_kept);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked here left numbers of some step; the run ends.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
