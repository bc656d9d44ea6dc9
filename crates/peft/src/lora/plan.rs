//! What a configuration means in a model: which modules are adapted with which rank, and which parameters are trained.

use std::collections::BTreeSet;

use model::{Module, ModuleId, ModuleKind, Modules, ParameterId};
use tensor::Layout;

use super::LoraConfig;
use crate::targets::{Candidate, Selection, ValuePatterns, kind_of};
use crate::trainable_tokens::PlannedRows;
use crate::{ModuleNames, PeftError, Warnings, lora_target_modules, modules_to_save};

/// What can be a target.
const ADAPTABLE: &str = "linear modules and embeddings";

/// A configuration applied to a model's modules.
pub(super) struct Plan {
    /// With `target_modules` as they are saved.
    pub(super) config: LoraConfig,
    /// The adapted modules in model order.
    pub(super) sites: Vec<PlannedSite>,
    /// Parameters of the base that are trained as they are: biases and `modules_to_save`, in model order.
    pub(super) trained: Vec<ParameterId>,
    /// Rows of embeddings that are trained.
    pub(super) rows: Vec<PlannedRows>,
    /// Whether adapted weights are stored `[in, out]`.
    pub(super) fan_in_fan_out: bool,
    /// What was configured and means nothing.
    pub(super) warnings: Warnings,
}

/// One module to adapt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlannedSite {
    pub(super) module: ModuleId,
    pub(super) rank: usize,
    pub(super) scaling: f32,
}

impl Plan {
    pub(super) fn new(mut config: LoraConfig, model_type: &str, modules: &Modules) -> Result<Self, PeftError> {
        config.check().map_err(|(key, reason)| PeftError::Setting { key, reason })?;
        let target_modules = match config.target_modules.take() {
            Some(names) => names,
            None => default_targets(model_type)?,
        };
        let candidates: Vec<Candidate<'_>> = modules.iter().map(Candidate::of).collect();
        let selection = Selection {
            target_modules: &target_modules,
            exclude_modules: config.exclude_modules.as_ref(),
            modules_to_save: config.modules_to_save.as_deref().unwrap_or_default(),
            layers_to_transform: config.layers_to_transform.as_ref(),
            layers_pattern: config.layers_pattern.as_ref(),
        };
        let targets = selection.resolve(&candidates)?;
        let ranks = ValuePatterns::compile("rank_pattern", &config.rank_pattern)?;
        let alphas = ValuePatterns::compile("alpha_pattern", &config.alpha_pattern)?;
        let mut sites = Vec::new();
        for module in modules.iter().filter(|module| targets.matched.contains(&module.path)) {
            sites.push(site(&config, module, &ranks, &alphas)?);
        }
        let adapted = sites.iter().map(|site| site.module).collect();
        let trained = modules_to_save::with_biases(selection.modules_to_save, config.bias, modules, &adapted)?;
        let rows = rows(&config, modules, &adapted, &trained)?;
        let mut warnings = targets.warnings();
        let transposed = |site: &PlannedSite| {
            matches!(modules.get(site.module).kind, ModuleKind::Linear { layout: Layout::InOut, .. })
        };
        let fan_in_fan_out = sites.iter().any(transposed);
        config.target_modules = Some(targets.target_modules.sorted());
        let paths: Vec<&str> = sites.iter().map(|site| modules.get(site.module).path.as_str()).collect();
        warnings.extend([ranks.unused(&paths)?, alphas.unused(&paths)?].concat());
        config.rank_pattern = in_file_order(ranks, config.r, &paths)?;
        config.alpha_pattern = in_file_order(alphas, config.lora_alpha, &paths)?;
        Ok(Self { config, sites, trained, rows, fan_in_fan_out, warnings })
    }
}

/// The rows of listed tokens. PEFT computes nothing with them in a module that it changes in another way too.
fn rows(
    config: &LoraConfig,
    modules: &Modules,
    adapted: &BTreeSet<ModuleId>,
    trained: &[ParameterId],
) -> Result<Vec<PlannedRows>, PeftError> {
    const KEY: &str = "trainable_token_indices";
    let Some(tokens) = &config.trainable_token_indices else { return Ok(Vec::new()) };
    let planned = tokens.plan(KEY, modules)?;
    let mut changed = planned.iter().flat_map(|rows| [rows.module].into_iter().chain(rows.shared_by.iter().copied()));
    let twice = changed.find(|id| adapted.contains(id) || trained.contains(&modules.get(*id).weight));
    match twice {
        None => Ok(planned),
        Some(id) => {
            let path = checkpoint::Quoted(&modules.get(id).path);
            let reason = format!("means rows of {path}, which target_modules or modules_to_save means too");
            Err(PeftError::Setting { key: KEY, reason })
        }
    }
}

fn default_targets(model_type: &str) -> Result<ModuleNames, PeftError> {
    let names = lora_target_modules(model_type)
        .ok_or_else(|| PeftError::NoDefaultTargets { model_type: model_type.to_owned() })?;
    Ok(ModuleNames::of(names))
}

fn site(
    config: &LoraConfig,
    module: &Module,
    ranks: &ValuePatterns<usize>,
    alphas: &ValuePatterns<f64>,
) -> Result<PlannedSite, PeftError> {
    match module.kind {
        ModuleKind::Linear { .. } => {}
        ModuleKind::Embedding { .. } if config.lora_bias => {
            return Err(PeftError::UnsupportedTarget {
                module: module.path.clone(),
                kind: "an embedding: it has no lora_bias",
                adaptable: ADAPTABLE,
            });
        }
        ModuleKind::Embedding { .. } => {}
        ModuleKind::Norm { .. } | ModuleKind::Conv2d { .. } | ModuleKind::Parameter => {
            let (module, kind) = (module.path.clone(), kind_of(module));
            return Err(PeftError::UnsupportedTarget { module, kind, adaptable: ADAPTABLE });
        }
    }
    let rank = ranks.get(&module.path)?.unwrap_or(config.r);
    let alpha = alphas.get(&module.path)?.unwrap_or(config.lora_alpha);
    let scaling = alpha / if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
    Ok(PlannedSite { module: module.id, rank, scaling: scaling as f32 })
}

/// Patterns that mean the same after their file was read back. The first match counts, and a file lists them by name: where
/// that order gives another value to some module, every module gets a pattern of its own instead.
fn in_file_order<T: Copy + PartialEq>(
    patterns: ValuePatterns<T>,
    default: T,
    paths: &[&str],
) -> Result<Vec<(String, T)>, PeftError> {
    let values_of = |patterns: &ValuePatterns<T>| {
        let value = |path: &&str| Ok(patterns.get(path)?.unwrap_or(default));
        paths.iter().map(value).collect::<Result<Vec<T>, PeftError>>()
    };
    let values = values_of(&patterns)?;
    let sorted = patterns.sorted();
    if values == values_of(&sorted)? {
        return Ok(sorted.into_entries());
    }
    let own = paths.iter().zip(values).filter(|(_, value)| *value != default);
    let mut own: Vec<_> = own.map(|(path, value)| (path.replace('.', r"\."), value)).collect();
    own.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(own)
}
