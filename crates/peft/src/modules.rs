//! Values of `target_modules`, `layers_to_transform` and their like, kept in the form they were given in.

use serde::{Deserialize, Serialize};

/// A selection of modules by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum ModuleNames {
    /// A regular expression that the whole name must match, or `all-linear`.
    Pattern(String),
    /// Names, or ends of names after a dot.
    List(Vec<String>),
}

impl ModuleNames {
    /// A list of names.
    pub(crate) fn of(names: &[&str]) -> Self {
        ModuleNames::List(names.iter().map(|&name| name.to_owned()).collect())
    }

    /// Whether this is the word for every linear module but the output head.
    pub fn is_all_linear(&self) -> bool {
        matches!(self, ModuleNames::Pattern(word) if word.eq_ignore_ascii_case("all-linear"))
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        match self {
            ModuleNames::Pattern(pattern) => pattern.is_empty(),
            ModuleNames::List(names) => names.is_empty(),
        }
    }

    /// Names sorted and without repetitions: PEFT keeps them in a set, whose order in a file means nothing.
    pub fn sorted(&self) -> Self {
        match self {
            ModuleNames::Pattern(pattern) => ModuleNames::Pattern(pattern.clone()),
            ModuleNames::List(names) => {
                let mut names = names.clone();
                names.sort_unstable();
                names.dedup();
                ModuleNames::List(names)
            }
        }
    }
}

/// One value or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a value or a list of values of the right type")]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several, maybe none.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}
