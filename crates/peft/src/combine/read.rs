//! The matrices of the adapters to combine, module by module.

use std::collections::BTreeMap;

use checkpoint::{AdapterDirectory, MappedTensor};
use gemm::{Matrix, MatrixMut, Update, gemm};
use serde_json::{Map, Value};

use super::Weighted;
use super::arithmetic::Sum;
use super::low_rank;
use crate::lora::{Bias, LoraConfig};
use crate::targets::ValuePatterns;
use crate::{ModuleNames, PeftError, names};

/// Ends of the keys of A and B: of a linear module and of an embedding.
const KEYS: [[&str; 2]; 2] = [[".lora_A.weight", ".lora_B.weight"], [".lora_embedding_A", ".lora_embedding_B"]];
/// What PEFT saves along with adapted embeddings: the base's own, of no use here.
const BASE: &str = ".base_layer.weight";

/// Two matrices whose product is an update.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    /// `[rank, in]`
    pub(super) a: Vec<f32>,
    /// `[out, rank]`
    pub(super) b: Vec<f32>,
    pub(super) rank: usize,
    /// Whether the module is an embedding, whose keys are others.
    pub(super) embedding: bool,
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
pub(super) struct Modules(BTreeMap<String, Parts>);

impl Modules {
    pub(super) fn read(adapters: &[Weighted<'_>]) -> Result<Self, PeftError> {
        let mut modules = BTreeMap::new();
        for adapter in adapters {
            read_adapter(adapter, &mut modules)?;
        }
        Ok(Self(modules))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Parts)> {
        self.0.iter().map(|(name, parts)| (name.as_str(), parts))
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Parts> {
        self.0.values()
    }

    /// Fails if adapters that are added matrix by matrix have matrices of different sizes.
    pub(super) fn check_equal_ranks(&self) -> Result<(), PeftError> {
        for (module, parts) in &self.0 {
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
        let names = self.0.keys().cloned().collect();
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
            embedding: self.is_embedding(),
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
        Factors { a, b, rank: self.largest_rank(), embedding: self.is_embedding() }
    }

    /// The sum of the updates, formed: their weights as given.
    pub(super) fn update(&self, sum: &Sum, site: u32) -> Result<Delta, PeftError> {
        let updates = self.0.iter().map(|part| Ok((part.weight, part.factors.product(part.scaling)?)));
        let updates = updates.collect::<Result<Vec<_>, PeftError>>()?;
        let out = self.0.first().map_or(0, |part| part.factors.out());
        Ok(Delta { values: sum.of(&updates, 2 * site), out, embedding: self.is_embedding() })
    }

    fn is_embedding(&self) -> bool {
        self.0.first().is_some_and(|part| part.factors.embedding)
    }
}

/// An update `[out, in]`.
pub(super) struct Delta {
    values: Vec<f32>,
    out: usize,
    embedding: bool,
}

impl Delta {
    /// Its best factors of rank `rank`, and the relative error.
    pub(super) fn truncated(&self, module: &str, rank: usize) -> Result<(Factors, f64), PeftError> {
        let cut = low_rank::of_matrix(module, &self.values, self.out, rank)?;
        Ok((Factors { a: cut.a, b: cut.b, rank, embedding: self.embedding }, cut.error))
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
        Ok((Self { a: cut.a, b: cut.b, rank, embedding: self.embedding }, cut.error))
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

fn read_adapter(adapter: &Weighted<'_>, modules: &mut BTreeMap<String, Parts>) -> Result<(), PeftError> {
    let Weighted { adapter: directory, config, weight } = adapter;
    check(directory.dir(), config)?;
    let ranks = ValuePatterns::compile("rank_pattern", &config.rank_pattern)?;
    let alphas = ValuePatterns::compile("alpha_pattern", &config.alpha_pattern)?;
    let tensors: BTreeMap<String, MappedTensor> =
        directory.weights.tensors().map(|tensor| (names::without_adapter_name(tensor.name()), tensor)).collect();
    for key in tensors.keys().filter(|key| !key.ends_with(BASE)) {
        let Some([end_a, end_b]) = KEYS.iter().find(|ends| ends.iter().any(|end| key.ends_with(end))) else {
            return Err(combination(key, format!("is in {} and no matrix of LoRA", directory.dir().display())));
        };
        let stem = key.strip_suffix(end_a).or_else(|| key.strip_suffix(end_b)).unwrap_or(key);
        let module = stem.strip_prefix(names::PREFIX).unwrap_or(stem);
        let (Some(a), Some(b)) = (tensors.get(&format!("{stem}{end_a}")), tensors.get(&format!("{stem}{end_b}")))
        else {
            return Err(combination(
                module,
                format!("has only one of its two matrices in {}", directory.dir().display()),
            ));
        };
        if key.ends_with(end_b) {
            continue;
        }
        let rank = ranks.get(module)?.unwrap_or(config.r);
        let alpha = alphas.get(module)?.unwrap_or(config.lora_alpha);
        let scaling = alpha / if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
        let factors = factors(module, [a, b], rank, *end_a == KEYS[1][0])?;
        let part = Part { weight: *weight, scaling: scaling as f32, factors };
        let parts = modules.entry(module.to_owned()).or_insert_with(|| Parts(Vec::new()));
        if let Some(other) = parts.0.first() {
            let sizes = |factors: &Factors| (factors.out(), factors.a.len() / factors.rank);
            let ((out, input), (expected_out, expected_in)) = (sizes(&part.factors), sizes(&other.factors));
            if (out, input, part.factors.embedding) != (expected_out, expected_in, other.factors.embedding) {
                let shapes = format!("[{out}, {input}] in one adapter and [{expected_out}, {expected_in}] in another");
                return Err(combination(module, format!("is {shapes}; they belong to different models")));
            }
        }
        parts.0.push(part);
    }
    Ok(())
}

fn factors(module: &str, [a, b]: [&MappedTensor; 2], rank: usize, embedding: bool) -> Result<Factors, PeftError> {
    match (a.shape(), b.shape()) {
        (&[rows, _], &[_, columns]) if rows == rank && columns == rank && rank > 0 => {}
        (a, b) => return Err(combination(module, format!("is of {a:?} and {b:?}, expected rank {rank}"))),
    }
    let values = |tensor: &MappedTensor| {
        let values = tensor.to_f32()?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(element) => {
                Err(PeftError::NonFinite { tensor: tensor.name().to_owned(), element }.in_file(tensor.file().path()))
            }
            None => Ok(values),
        }
    };
    Ok(Factors { a: values(a)?, b: values(b)?, rank, embedding })
}

/// Refuses what no sum of products can hold.
fn check(dir: &std::path::Path, config: &LoraConfig) -> Result<(), PeftError> {
    let more = [
        ("modules_to_save", config.modules_to_save.as_ref().is_some_and(|names| !names.is_empty())),
        ("bias", config.bias != Bias::None),
        ("lora_bias", config.lora_bias),
    ];
    match more.into_iter().find(|(_, is_set)| *is_set) {
        Some((key, _)) => {
            let reason = format!("of {} trains more than matrices that can be added; merge it instead", dir.display());
            Err(PeftError::Setting { key, reason })
        }
        None => Ok(()),
    }
}

/// What an adapter's file says about how the weights that it adapts are stored.
pub(super) fn fan_in_fan_out(adapter: &AdapterDirectory) -> bool {
    let config: Option<Map<String, Value>> = serde_json::from_str(&adapter.config).ok();
    config.and_then(|config| config.get("fan_in_fan_out")?.as_bool()).unwrap_or(false)
}

fn combination(module: &str, reason: String) -> PeftError {
    PeftError::Combination { module: module.to_owned(), reason }
}
