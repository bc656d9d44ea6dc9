//! Whether an adapter's file holds what its configuration means, as far as that can be told without a base.

use std::collections::{BTreeMap, BTreeSet};

use checkpoint::AdapterDirectory;

use crate::lora::LoraConfig;
use crate::targets::{Candidate, Selection};
use crate::{PeftError, Problems, names};

/// The matrices of a linear module.
const MATRICES: [&str; 2] = ["lora_A.weight", "lora_B.weight"];
/// More modules than any model has in one stack of blocks: what a file claims beyond is not looked for.
const MAX_MODULES: usize = 1 << 20;

/// Refuses the LoRA adapter in `directory` if it has only one matrix of a linear module, has a module that `config` does not
/// mean, or lacks one that `config` means in a block of a stack whose other blocks have it. How many blocks there are only
/// the base tells.
///
/// # Errors
/// [`PeftError::Keys`]; [`PeftError::Pattern`].
pub fn check_complete(directory: &AdapterDirectory, config: &LoraConfig) -> Result<(), PeftError> {
    let mut modules: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in directory.weights.names() {
        let key = names::without_adapter_name(name);
        let module = MATRICES.iter().find_map(|end| key.strip_suffix(end)?.strip_suffix('.'));
        if let Some(module) = module {
            modules.entry(module.strip_prefix(names::PREFIX).unwrap_or(module).to_owned()).or_default().push(name);
        }
    }
    let meant = meant(config, &in_all_blocks(&modules))?;
    let missing_of = |module: &String| {
        let found = modules.get(module).map(Vec::as_slice).unwrap_or_default();
        let has = |end: &str| found.iter().any(|name| names::without_adapter_name(name).ends_with(end));
        let ends = MATRICES.into_iter().filter(|end| !has(end));
        ends.map(|end| names::key(module, end)).collect::<Vec<_>>()
    };
    let missing = meant.iter().flat_map(missing_of).collect();
    let foreign = modules.iter().filter(|(module, _)| !meant.contains(*module));
    let unexpected = foreign.flat_map(|(_, found)| found.iter().map(|&name| name.to_owned())).collect();
    let problems = Problems { missing, unexpected, ..Problems::default() };
    if problems.is_empty() {
        return Ok(());
    }
    Err(PeftError::Keys { path: directory.weights.path().to_owned(), problems })
}

/// The modules, and those of the same names in the other blocks that their stack has.
fn in_all_blocks(modules: &BTreeMap<String, Vec<&str>>) -> BTreeSet<String> {
    // By what stands before a block's number: what stands behind it, and how many blocks there are at least.
    let mut stacks: BTreeMap<&str, (BTreeSet<&str>, usize)> = BTreeMap::new();
    for (start, number, end) in modules.keys().filter_map(|module| split_at_block(module)) {
        let (ends, blocks) = stacks.entry(start).or_default();
        ends.insert(end);
        *blocks = (*blocks).max(number.saturating_add(1));
    }
    stacks.retain(|_, (ends, blocks)| ends.len().saturating_mul(*blocks) <= MAX_MODULES);
    let of_stack = |(start, (ends, blocks)): (&&str, &(BTreeSet<&str>, usize))| {
        let names = (0..*blocks).flat_map(|number| ends.iter().map(move |end| format!("{start}{number}{end}")));
        names.collect::<Vec<_>>()
    };
    modules.keys().cloned().chain(stacks.iter().flat_map(of_stack)).collect()
}

/// A name before, at and behind the number of its block.
fn split_at_block(module: &str) -> Option<(&str, usize, &str)> {
    module.match_indices('.').find_map(|(dot, _)| {
        let (number, _) = module[dot + 1..].split_once('.')?;
        let end = dot + 1 + number.len();
        Some((&module[..=dot], number.parse().ok()?, &module[end..]))
    })
}

/// Those of `modules` that `config` means; all of them where only the base tells.
fn meant(config: &LoraConfig, modules: &BTreeSet<String>) -> Result<BTreeSet<String>, PeftError> {
    let Some(target_modules) = &config.target_modules else { return Ok(modules.clone()) };
    let selection = Selection {
        target_modules,
        exclude_modules: config.exclude_modules.as_ref(),
        modules_to_save: config.modules_to_save.as_deref().unwrap_or_default(),
        layers_to_transform: config.layers_to_transform.as_ref(),
        layers_pattern: config.layers_pattern.as_ref(),
    };
    let candidate = |name| Candidate { name, older_name: None, linear: true };
    let candidates: Vec<Candidate<'_>> = modules.iter().map(|name| candidate(name.as_str())).collect();
    match selection.resolve(&candidates) {
        Ok(targets) => Ok(targets.matched.into_iter().collect()),
        Err(PeftError::NoTargets { .. }) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(modules: &[&str]) -> BTreeSet<String> {
        in_all_blocks(&modules.iter().map(|module| ((*module).to_owned(), Vec::new())).collect())
    }

    #[test]
    fn a_stack_has_its_modules_in_every_block() {
        let t5 = "decoder.block.1.layer.0.SelfAttention.q";
        let found = names(&["m.h.2.attn", "m.h.0.mlp", "lm_head", t5]);
        let h = ["m.h.0.attn", "m.h.1.attn", "m.h.2.attn", "m.h.0.mlp", "m.h.1.mlp", "m.h.2.mlp"];
        let expected = [&h[..], &["lm_head", t5, "decoder.block.0.layer.0.SelfAttention.q"]].concat();
        assert_eq!(found, expected.into_iter().map(str::to_owned).collect());
        // A number that no model has makes no names.
        assert_eq!(names(&["m.h.18446744073709551615.attn"]).len(), 1);
    }

    #[test]
    fn what_the_configuration_leaves_out_is_not_meant() {
        let list = |names: &[&str]| Some(crate::ModuleNames::of(names));
        let count = |config: LoraConfig| meant(&config, &names(&["m.h.0.attn", "m.h.3.mlp"])).unwrap().len();
        assert_eq!(count(LoraConfig::default()), 8);
        assert_eq!(count(LoraConfig { target_modules: list(&["attn"]), ..LoraConfig::default() }), 4);
        assert_eq!(
            count(LoraConfig { target_modules: list(&["m.h.0.attn", "m.h.3.mlp"]), ..LoraConfig::default() }),
            2
        );
        assert_eq!(count(LoraConfig { target_modules: list(&["zzz"]), ..LoraConfig::default() }), 0);
        let layers_to_transform = Some(crate::OneOrMany::Many(vec![0, 2]));
        let config = LoraConfig { target_modules: list(&["attn"]), layers_to_transform, ..LoraConfig::default() };
        assert_eq!(count(config), 2);
    }
}
