//! Several LoRA adapters as one, as PEFT's `add_weighted_adapter` combines them.
//!
//! With weights `w_i`, updates `D_i = s_i B_i A_i` and `v_i = sqrt(|w_i s_i|)`:
//!
//! | `combination_type` | the new adapter, whose scaling is 1 | exact for `sum w_i D_i` |
//! |---|---|---|
//! | `cat` | `A = [w_i s_i A_i]` one below the other, `B = [B_i]` side by side; ranks add up | yes |
//! | `svd` | the nearest product of rank `rank` to `sum w_i D_i` | up to the error that is told |
//! | `linear` | `A = sum sign(w_i s_i) v_i A_i`, `B = sum v_i B_i`: products of different adapters come in too | no |
//! | `ties`, `dare_linear`, `dare_ties`, `magnitude_prune` | the same with that sum for A and for B | no |
//! | these with `_svd` | the nearest product to that sum of the `D_i` | |
//!
//! Random numbers of DARE are Philox's and not torch's.

mod arithmetic;
mod read;
mod write;

use std::str::FromStr;

use checkpoint::AdapterDirectory;

use crate::PeftError;
use crate::lora::LoraConfig;
use arithmetic::Sum;
use read::{Factors, Modules};

/// How tensors are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Weighted sum.
    Linear,
    /// Largest values, then the mean of those whose sign prevails.
    Ties,
    /// Random values scaled up, weighted sum.
    DareLinear,
    /// Random values scaled up, then the mean of those whose sign prevails.
    DareTies,
    /// Largest values, weighted sum.
    MagnitudePrune,
}

/// How adapters become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CombinationType {
    /// Side by side.
    Cat,
    /// A with A and B with B.
    Factors(Merge),
    /// The updates, then two factors for the result.
    Svd(Merge),
}

const NAMES: [(&str, CombinationType); 11] = [
    ("cat", CombinationType::Cat),
    ("linear", CombinationType::Factors(Merge::Linear)),
    ("svd", CombinationType::Svd(Merge::Linear)),
    ("ties", CombinationType::Factors(Merge::Ties)),
    ("ties_svd", CombinationType::Svd(Merge::Ties)),
    ("dare_linear", CombinationType::Factors(Merge::DareLinear)),
    ("dare_linear_svd", CombinationType::Svd(Merge::DareLinear)),
    ("dare_ties", CombinationType::Factors(Merge::DareTies)),
    ("dare_ties_svd", CombinationType::Svd(Merge::DareTies)),
    ("magnitude_prune", CombinationType::Factors(Merge::MagnitudePrune)),
    ("magnitude_prune_svd", CombinationType::Svd(Merge::MagnitudePrune)),
];

impl CombinationType {
    /// PEFT's names, as [`CombinationType::from_str`] reads them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().map(|(name, _)| name)
    }

    /// Whether it keeps a share of the values only: [`Combination::density`].
    pub fn thins_out(self) -> bool {
        match self {
            CombinationType::Cat => false,
            CombinationType::Factors(merge) | CombinationType::Svd(merge) => merge != Merge::Linear,
        }
    }

    /// Whether it cuts the sum off at a rank: [`Combination::svd_rank`].
    pub fn truncates(self) -> bool {
        matches!(self, CombinationType::Svd(_))
    }

    /// Whether it elects signs: [`Combination::majority_sign_method`].
    pub fn elects(self) -> bool {
        matches!(self, CombinationType::Factors(merge) | CombinationType::Svd(merge) if matches!(merge, Merge::Ties | Merge::DareTies))
    }
}

impl FromStr for CombinationType {
    type Err = PeftError;
    fn from_str(name: &str) -> Result<Self, PeftError> {
        let known = || format!("must be one of {}, got {name:?}", Self::names().collect::<Vec<_>>().join(", "));
        let found = NAMES.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, type_)| type_).ok_or_else(|| PeftError::Setting { key: "combination_type", reason: known() })
    }
}

/// Which sign prevails among values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MajoritySign {
    /// That of their sum.
    #[default]
    Total,
    /// The one that more of them have.
    Frequency,
}

/// How adapters are combined, under the names of PEFT's arguments.
#[derive(Clone, Copy, Debug)]
pub struct Combination {
    /// Which way.
    pub combination_type: CombinationType,
    /// Rank of the result of the ways with an SVD; the largest of the adapters' if not set.
    pub svd_rank: Option<usize>,
    /// Share of the values that is kept by the ways that thin out; they need it.
    pub density: Option<f64>,
    /// For the ways that elect a sign.
    pub majority_sign_method: MajoritySign,
    /// Of DARE's random numbers.
    pub seed: u64,
}

/// An adapter to combine.
#[derive(Debug)]
pub struct Weighted<'a> {
    /// Its files.
    pub adapter: &'a AdapterDirectory,
    /// Its configuration.
    pub config: &'a LoraConfig,
    /// Its weight, which may be negative.
    pub weight: f32,
}

/// The combined adapter.
#[derive(Debug)]
pub struct Combined {
    /// Its configuration.
    pub config: LoraConfig,
    /// Whether the adapted weights are stored `[in, out]`; the file says it, and nothing here depends on it.
    fan_in_fan_out: bool,
    /// Its modules in the order of their names.
    modules: Vec<(String, Factors)>,
    /// Largest relative error of a module's update, in the Frobenius norm, where an SVD cut it off.
    pub largest_error: Option<f64>,
}

impl Combination {
    /// Combines `adapters`.
    ///
    /// # Errors
    /// [`PeftError::Setting`] for a density outside 0 to 1, or none where it is needed; [`PeftError::Combination`] for modules
    /// that do not fit each other; [`PeftError::Setting`] for adapters with more than matrices A and B;
    /// [`PeftError::NonFinite`], [`PeftError::Checkpoint`].
    pub fn of(&self, adapters: &[Weighted<'_>]) -> Result<Combined, PeftError> {
        let density = self.checked_density()?;
        if let Some(Weighted { weight, .. }) = adapters.iter().find(|adapter| !adapter.weight.is_finite()) {
            return Err(PeftError::Setting { key: "weights", reason: format!("must be finite, got {weight}") });
        }
        let modules = Modules::read(adapters)?;
        let rank = self.rank(&modules)?;
        let mut combined = Vec::with_capacity(modules.len());
        let mut largest_error = matches!(self.combination_type, CombinationType::Svd(_)).then_some(0.0f64);
        for (site, (name, parts)) in modules.iter().enumerate() {
            let sum = |merge| Sum { merge, density, majority_sign: self.majority_sign_method, seed: self.seed };
            let (factors, error) = match self.combination_type {
                CombinationType::Cat => (parts.side_by_side(), 0.0),
                CombinationType::Factors(merge) => (parts.summed(&sum(merge), site as u32), 0.0),
                // The sum of products is a product: it need not be formed.
                CombinationType::Svd(Merge::Linear) => parts.side_by_side().truncated(name, rank)?,
                CombinationType::Svd(merge) => parts.update(&sum(merge), site as u32)?.truncated(name, rank)?,
            };
            largest_error = largest_error.map(|largest| largest.max(error));
            combined.push((name.to_owned(), factors.finite(name)?.padded(rank)));
        }
        let fan_in_fan_out = modules.fan_in_fan_out;
        Ok(Combined { config: modules.config(adapters, rank), fan_in_fan_out, modules: combined, largest_error })
    }

    fn checked_density(&self) -> Result<f64, PeftError> {
        let wrong = |reason: String| Err(PeftError::Setting { key: "density", reason });
        match self.density {
            Some(density) if !(0.0..=1.0).contains(&density) => wrong(format!("must be from 0 to 1, got {density}")),
            None if self.combination_type.thins_out() => {
                wrong("is missing; it is the share of values to keep".to_owned())
            }
            density => Ok(density.unwrap_or(1.0)),
        }
    }

    /// The rank of every module of the result.
    fn rank(&self, modules: &Modules) -> Result<usize, PeftError> {
        let rank = match (self.combination_type, self.svd_rank) {
            (CombinationType::Svd(_), Some(0)) => {
                let reason = "must be at least 1, got 0".to_owned();
                return Err(PeftError::Setting { key: "svd_rank", reason });
            }
            (CombinationType::Svd(_), Some(rank)) => {
                // More holds zeros.
                let most = modules.parts().map(|parts| parts.ranks().sum()).max().unwrap_or(1);
                if rank > most {
                    let reason = format!("must be at most {most}, the sum of the adapters' ranks, got {rank}");
                    return Err(PeftError::Setting { key: "svd_rank", reason });
                }
                rank
            }
            (CombinationType::Svd(_), None) => modules.parts().map(|parts| parts.largest_rank()).max().unwrap_or(1),
            (CombinationType::Cat, _) => modules.parts().map(|parts| parts.ranks().sum()).max().unwrap_or(1),
            (CombinationType::Factors(_), _) => {
                modules.check_equal_ranks()?;
                modules.parts().map(|parts| parts.largest_rank()).max().unwrap_or(1)
            }
        };
        Ok(rank)
    }
}
