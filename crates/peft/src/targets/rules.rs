//! A selection, compiled.

use super::Selection;
use super::pattern::{Pattern, is_suffix};
use crate::PeftError;
use crate::modules::{ModuleNames, OneOrMany};

/// A selection with its regular expressions compiled.
pub(super) struct Rules<'a> {
    targets: Names<'a>,
    excluded: Vec<Names<'a>>,
    layers: Option<Layers<'a>>,
}

enum Names<'a> {
    Pattern(Pattern),
    List(&'a [String]),
}

struct Layers<'a> {
    indices: &'a [usize],
    /// Each captures the number of a layer in a name.
    patterns: Vec<Pattern>,
}

impl<'a> Rules<'a> {
    pub(super) fn compile(selection: &Selection<'a>, targets: &'a ModuleNames) -> Result<Self, PeftError> {
        let mut excluded = Vec::new();
        if let Some(names) = selection.exclude_modules.filter(|names| !names.is_empty()) {
            excluded.push(Names::compile("exclude_modules", names)?);
        }
        for name in selection.modules_to_save {
            let frame = [r"\A(?:.*\.)?", r"(?:\..*)?\z"];
            excluded.push(Names::Pattern(Pattern::new("modules_to_save", name, frame)?));
        }
        let layers = selection.layers_to_transform.map(OneOrMany::as_slice).filter(|indices| !indices.is_empty());
        let layers = match layers {
            None => None,
            Some(indices) => {
                let names = selection.layers_pattern.map(OneOrMany::as_slice).unwrap_or_default();
                let pattern = |list: &str, start| Pattern::new("layers_pattern", list, [start, r"\.(?P<index>\d+)\."]);
                let patterns = if names.is_empty() {
                    vec![pattern("[^.]*", r"\A.*?\.")?]
                } else {
                    names.iter().map(|name| pattern(name, r"\A(?:|.*?\.)")).collect::<Result<_, _>>()?
                };
                Some(Layers { indices, patterns })
            }
        };
        Ok(Self { targets: Names::compile("target_modules", targets)?, excluded, layers })
    }

    pub(super) fn matches(&self, name: &str) -> Result<bool, PeftError> {
        for excluded in &self.excluded {
            if excluded.holds(name)? {
                return Ok(false);
            }
        }
        match &self.targets {
            Names::Pattern(_) => self.targets.holds(name),
            Names::List(names) if names.iter().any(|n| n == name) => Ok(true),
            Names::List(_) if !self.targets.holds(name)? => Ok(false),
            Names::List(_) => self.layers.as_ref().map_or(Ok(true), |layers| layers.hold(name)),
        }
    }
}

/// Whether the whole of `name` matches a pattern, or it ends as one of a list does, with or without a dot before that end.
/// `key` is where the names come from.
pub(crate) fn ends_with_any(key: &'static str, names: &ModuleNames, name: &str) -> Result<bool, PeftError> {
    match Names::compile(key, names)? {
        Names::Pattern(pattern) => pattern.is_match(name),
        Names::List(ends) => Ok(ends.iter().any(|end| name.ends_with(end.as_str()))),
    }
}

impl<'a> Names<'a> {
    fn compile(key: &'static str, names: &'a ModuleNames) -> Result<Self, PeftError> {
        Ok(match names {
            ModuleNames::Pattern(pattern) => Names::Pattern(Pattern::new(key, pattern, [r"\A(?:", r")\z"])?),
            ModuleNames::List(names) => Names::List(names),
        })
    }

    fn holds(&self, name: &str) -> Result<bool, PeftError> {
        match self {
            Names::Pattern(pattern) => pattern.is_match(name),
            Names::List(names) => Ok(names.iter().any(|n| n == name || is_suffix(name, n))),
        }
    }
}

impl Layers<'_> {
    fn hold(&self, name: &str) -> Result<bool, PeftError> {
        for pattern in &self.patterns {
            let captures = pattern.captures(name)?;
            if let Some(index) = captures.as_ref().and_then(|c| c.name("index")) {
                return Ok(index.as_str().parse().is_ok_and(|index: usize| self.indices.contains(&index)));
            }
        }
        Ok(false)
    }
}
