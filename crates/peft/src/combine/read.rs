//! The matrices of the adapters to combine, module by module.

use std::collections::{BTreeMap, BTreeSet};

use gemm::{Matrix, MatrixMut, Update, gemm};

use super::Weighted;
use super::arithmetic::Sum;
use crate::lora::LoraConfig;
use crate::low_rank;
use crate::updates::{LoraUpdate, LoraUpdates, UpdateKind};
use crate::{ModuleNames, PeftError};

/// Two matrices whose product is an update.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    /// `[rank, in]`
    pub(super) a: Vec<f32>,
    /// `[out, rank]`
    pub(super) b: Vec<f32>,
    pub(super) rank: usize,
    pub(super) kind: UpdateKind,
}

/// One adapter's part in a module.
struct Part {
    weight: f32,
    scaling: f32,
    factors: Factors,
}

/// All adapters' parts in a module.
pub(super) struct Parts(Vec<Part>);

/// The modules that any adapter has, by name.
pub(super) struct Modules {
    parts: BTreeMap<String, Parts>,
    /// Whether the adapted weights are stored `[in, out]`.
    pub(super) fan_in_fan_out: bool,
}

impl Modules {
    pub(super) fn read(adapters: &[Weighted<'_>]) -> Result<Self, PeftError> {
        let mut modules = Self { parts: BTreeMap::new(), fan_in_fan_out: false };
        let mut read: Vec<(&Weighted<'_>, BTreeSet<String>)> = Vec::new();
        for adapter in adapters {
            let names = read_adapter(adapter, &mut modules.parts, &mut modules.fan_in_fan_out)?;
            read.iter().try_for_each(|(other, others)| check_same_modules([other, adapter], [others, &names]))?;
            read.push((adapter, names));
        }
        Ok(modules)
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Parts)> {
        self.parts.iter().map(|(name, parts)| (name.as_str(), parts))
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Parts> {
        self.parts.values()
    }

    /// Fails if adapters that are added matrix by matrix have matrices of different sizes.
    pub(super) fn check_equal_ranks(&self) -> Result<(), PeftError> {
        for (module, parts) in &self.parts {
            let ranks: Vec<String> = parts.ranks().map(|rank| rank.to_string()).collect();
            if parts.ranks().any(|rank| rank != parts.largest_rank()) {
                let reason = format!("its ranks are {}; use `cat` or `svd`, which take any", ranks.join(" and "));
                return Err(PeftError::Combination { module: module.clone(), reason });
            }
        }
        Ok(())
    }

    /// The configuration of a combination of rank `rank` of these modules.
    pub(super) fn config(&self, adapters: &[Weighted<'_>], rank: usize) -> LoraConfig {
        let common = adapters.first().map(|first| first.config.common.clone()).unwrap_or_default();
        // Names that mean the same modules wherever they are read; ends of names could mean more than one adapter had.
        let names = self.parts.keys().cloned().collect();
        LoraConfig {
            common,
            r: rank,
            lora_alpha: rank as f64,
            target_modules: Some(ModuleNames::List(names)),
            ..LoraConfig::default()
        }
    }
}

impl Parts {
    pub(super) fn ranks(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|part| part.factors.rank)
    }

    pub(super) fn largest_rank(&self) -> usize {
        self.ranks().max().unwrap_or(0)
    }

    /// Factors of the weighted sum of the updates: `[w_i s_i A_i]` below each other, `[B_i]` side by side.
    pub(super) fn side_by_side(&self) -> Factors {
        let rank = self.ranks().sum();
        let scaled =
            |part: &Part| part.factors.a.iter().map(|value| value * part.weight * part.scaling).collect::<Vec<_>>();
        let rows = self.0.first().map_or(0, |part| part.factors.out());
        let row = |row: usize| self.0.iter().flat_map(move |part| part.factors.b_row(row).iter().copied());
        Factors {
            a: self.0.iter().flat_map(scaled).collect(),
            b: (0..rows).flat_map(row).collect(),
            rank,
            kind: self.kind(),
        }
    }

    /// A and B summed by themselves, the root of each weight at either; its sign at A.
    pub(super) fn summed(&self, sum: &Sum, site: u32) -> Factors {
        let root = |part: &Part| f64::from(part.weight * part.scaling).abs().sqrt() as f32;
        let sign = |part: &Part| if part.weight * part.scaling >= 0.0 { 1.0 } else { -1.0 };
        let a: Vec<_> = self.0.iter().map(|part| (root(part) * sign(part), part.factors.a.clone())).collect();
        let b: Vec<_> = self.0.iter().map(|part| (root(part), part.factors.b.clone())).collect();
        // Two sums of a module have random numbers of their own.
        let (a, b) = (sum.of(&a, 2 * site), sum.of(&b, 2 * site + 1));
        Factors { a, b, rank: self.largest_rank(), kind: self.kind() }
    }

    /// The sum of the updates, formed: their weights as given.
    pub(super) fn update(&self, sum: &Sum, site: u32) -> Result<Delta, PeftError> {
        let updates = self.0.iter().map(|part| Ok((part.weight, part.factors.product(part.scaling)?)));
        let updates = updates.collect::<Result<Vec<_>, PeftError>>()?;
        let out = self.0.first().map_or(0, |part| part.factors.out());
        Ok(Delta { values: sum.of(&updates, 2 * site), out, kind: self.kind() })
    }

    fn kind(&self) -> UpdateKind {
        self.0.first().map_or(UpdateKind::Linear, |part| part.factors.kind)
    }
}

/// An update `[out, in]`.
pub(super) struct Delta {
    values: Vec<f32>,
    out: usize,
    kind: UpdateKind,
}

impl Delta {
    /// Its best factors of rank `rank`, and the relative error.
    pub(super) fn truncated(&self, module: &str, rank: usize) -> Result<(Factors, f64), PeftError> {
        let cut = low_rank::of_matrix(module, &self.values, self.out, rank)?;
        Ok((Factors { a: cut.a, b: cut.b, rank, kind: self.kind }, cut.error))
    }
}

impl Factors {
    fn out(&self) -> usize {
        self.b.len() / self.rank.max(1)
    }

    fn b_row(&self, row: usize) -> &[f32] {
        &self.b[row * self.rank..(row + 1) * self.rank]
    }

    /// `scaling B A`
    fn product(&self, scaling: f32) -> Result<Vec<f32>, PeftError> {
        let (out, input) = (self.out(), self.a.len() / self.rank.max(1));
        let mut values = vec![0.0; out * input];
        let (b, a) = (Matrix::new(&*self.b, out, self.rank), Matrix::new(&*self.a, self.rank, input));
        gemm(scaling, b, a, Update::Overwrite, MatrixMut::new(&mut values, out, input))?;
        Ok(values)
    }

    /// The best factors of rank `rank` for the same product, and the relative error.
    pub(super) fn truncated(&self, module: &str, rank: usize) -> Result<(Self, f64), PeftError> {
        let cut = low_rank::of_product(module, &self.b, &self.a, self.rank, rank)?;
        Ok((Self { a: cut.a, b: cut.b, rank, kind: self.kind }, cut.error))
    }

    /// Itself, if all its values are numbers: large weights overflow.
    pub(super) fn finite(self, module: &str) -> Result<Self, PeftError> {
        match self.a.iter().chain(&self.b).all(|value| value.is_finite()) {
            true => Ok(self),
            false => Err(combination(module, "overflows; lower the weights".to_owned())),
        }
    }

    /// The same product with zeros up to rank `rank`.
    pub(super) fn padded(mut self, rank: usize) -> Self {
        let (out, input) = (self.out(), self.a.len() / self.rank.max(1));
        self.a.resize(rank * input, 0.0);
        let row = |row: usize| {
            let zeros = std::iter::repeat_n(0.0, rank - self.rank);
            self.b_row(row).iter().copied().chain(zeros).collect::<Vec<_>>()
        };
        self.b = (0..out).flat_map(row).collect();
        Self { rank, ..self }
    }
}

/// Adapters whose configurations select alike have the same modules in one base; if one lacks some, its file is not whole.
fn check_same_modules(adapters: [&Weighted<'_>; 2], names: [&BTreeSet<String>; 2]) -> Result<(), PeftError> {
    let selection = |adapter: &Weighted<'_>| {
        let LoraConfig {
            target_modules, exclude_modules, layers_to_transform, layers_pattern, modules_to_save, ..
        } = adapter.config.clone();
        let target_modules = target_modules.map(|names| names.sorted());
        (
            target_modules,
            exclude_modules.map(|names| names.sorted()),
            layers_to_transform,
            layers_pattern,
            modules_to_save,
        )
    };
    let [one, other] = adapters;
    let Some(module) = names[0].symmetric_difference(names[1]).next() else { return Ok(()) };
    if selection(one) != selection(other) {
        return Ok(());
    }
    let (has, lacks) = if names[0].contains(module) { (one, other) } else { (other, one) };
    let [has, lacks] = [has, lacks].map(|adapter| adapter.adapter.dir().display());
    let reason = format!(
        "is in {has} and not in {lacks}, and their `target_modules` mean the same; a file is not whole, or they belong to \
         different models"
    );
    Err(combination(module, reason))
}

/// Adds an adapter's part in each module; returns the names of its modules.
fn read_adapter(
    adapter: &Weighted<'_>,
    modules: &mut BTreeMap<String, Parts>,
    fan_in_fan_out: &mut bool,
) -> Result<BTreeSet<String>, PeftError> {
    let Weighted { adapter: directory, config, weight } = adapter;
    let read = LoraUpdates::read(directory, config)?;
    if let Some(tensor) = read.head.first() {
        let reason = format!("is saved whole in {}; merge it instead", directory.dir().display());
        return Err(combination(&tensor.name, reason));
    }
    *fan_in_fan_out |= read.fan_in_fan_out;
    let names = read.updates.iter().map(|update| update.module.clone()).collect();
    for LoraUpdate { module, kind, rank, a, b, scaling, magnitude } in read.updates {
        if magnitude.is_some() {
            let reason =
                format!("has DoRA's norms in {}, which cannot be added; merge it instead", directory.dir().display());
            return Err(combination(&module, reason));
        }
        let factors = Factors { a, b, rank, kind };
        let part = Part { weight: *weight, scaling: scaling as f32, factors };
        let parts = modules.entry(module.clone()).or_insert_with(|| Parts(Vec::new()));
        if let Some(other) = parts.0.first() {
            let sizes = |factors: &Factors| (factors.out(), factors.a.len() / factors.rank);
            let ((out, input), (expected_out, expected_in)) = (sizes(&part.factors), sizes(&other.factors));
            if (out, input, part.factors.kind) != (expected_out, expected_in, other.factors.kind) {
                let shapes = format!("[{out}, {input}] in one adapter and [{expected_out}, {expected_in}] in another");
                return Err(combination(&module, format!("is {shapes}; they belong to different models")));
            }
        }
        parts.0.push(part);
    }
    Ok(names)
}

fn combination(module: &str, reason: String) -> PeftError {
    PeftError::Combination { module: module.to_owned(), reason }
}
