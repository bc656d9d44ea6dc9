//! Long lists of module names, shortened as PEFT shortens them.

use std::collections::BTreeSet;

use super::Candidate;
use super::pattern::is_suffix;
use crate::modules::ModuleNames;

/// From this many names on PEFT looks for shorter ones that mean the same.
const MANY_NAMES: usize = 20;

/// Long lists of full names, as `all-linear` gives, become the fewest ends of names that mean the same modules.
pub(super) fn shorten(targets: ModuleNames, candidates: &[Candidate<'_>]) -> ModuleNames {
    let ModuleNames::List(names) = &targets else { return targets };
    if names.len() < MANY_NAMES {
        return targets;
    }
    let meant = |name: &str| names.iter().any(|n| n == name || is_suffix(name, n));
    let others: BTreeSet<&str> = candidates.iter().filter(|c| !meant(c.name)).flat_map(|c| suffixes(c.name)).collect();
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_by_key(|name| suffixes(name).collect::<Vec<_>>());
    let mut needed: Vec<String> = Vec::new();
    for name in sorted {
        if needed.iter().any(|end| is_suffix(name, end)) {
            continue;
        }
        needed.extend(suffixes(name).find(|end| !others.contains(end)).map(str::to_owned));
    }
    if needed.len() < names.len() { ModuleNames::List(needed) } else { targets }
}

/// The ends of `name` after each dot, the shortest first, and `name` itself.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('.').map(|(dot, _)| &name[dot + 1..]).chain(std::iter::once(name))
}
