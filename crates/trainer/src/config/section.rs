//! Reading typed values out of the tree, one line per key: its name, its default and its range.
//!
//! Reading never stops at the first mistake. A [`Reader`] notes every problem and goes on with the default, so that one
//! run of the program tells all of them.

use std::fmt::{Debug, Display};
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;

use super::document::{Node, Table, Value};
use super::problem::{ConfigError, Problem, nearest};
use super::source::Location;
use super::value::{FromNode, wrong_type};

/// Reads one tree of settings.
pub(super) struct Reader {
    root: Table,
    /// Every `(section, key)` that was asked for.
    known: Vec<(&'static str, &'static str)>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(root: Table) -> Self {
        Self { root, known: Vec::new(), problems: Vec::new() }
    }

    /// The table `[name]`.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'_> {
        Section { name, reader: self }
    }

    /// Every problem found, unknown keys included.
    pub(super) fn finish(mut self) -> Result<(), ConfigError> {
        let unknown = self.unknown_keys();
        self.problems.extend(unknown);
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(Problem::position);
        Err(ConfigError { problems: self.problems })
    }

    fn unknown_keys(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let sections = self.sections();
        for (name, (key_at, node)) in &self.root {
            match &node.value {
                _ if !sections.contains(&name.as_str()) => problems.push(self.unknown_section(name, key_at)),
                Value::Table(table) => {
                    let unknown = table.iter().filter(|(key, _)| !self.is_known(name, key));
                    problems.extend(unknown.map(|(key, (at, _))| self.unknown_key(name, key, at)));
                }
                _ => problems.push(wrong_type(name, node, "a table")),
            }
        }
        problems
    }

    fn sections(&self) -> Vec<&'static str> {
        let mut sections: Vec<&str> = self.known.iter().map(|(section, _)| *section).collect();
        sections.dedup();
        sections
    }

    fn unknown_section(&self, name: &str, at: &Location) -> Problem {
        let sections = self.sections();
        // A key written without its table is told which table is its own.
        let owner = self.known.iter().find(|(_, key)| *key == name).map(|(s, k)| format!("{s}.{k}"));
        let near = nearest(name, sections.iter().copied()).map(str::to_owned);
        let known = sections.iter().map(|s| format!("[{s}]")).collect();
        Problem::UnknownKey { key: name.to_owned(), nearest: owner.or(near), known, at: at.clone() }
    }

    fn is_known(&self, section: &str, key: &str) -> bool {
        self.known.iter().any(|(s, k)| *s == section && *k == key)
    }

    fn unknown_key(&self, section: &str, key: &str, at: &Location) -> Problem {
        let mut keys: Vec<&str> = self.known.iter().filter(|(s, _)| *s == section).map(|(_, k)| *k).collect();
        // The very key of another table is what was meant, before any that is only similar.
        let elsewhere = self.known.iter().find(|(_, k)| *k == key).map(|(s, k)| format!("{s}.{k}"));
        let near = nearest(key, keys.iter().copied()).map(|k| format!("{section}.{k}"));
        keys.sort_unstable();
        Problem::UnknownKey {
            key: format!("{section}.{key}"),
            nearest: elsewhere.or(near),
            known: keys.into_iter().map(str::to_owned).collect(),
            at: at.clone(),
        }
    }
}

/// One table of the settings.
pub(super) struct Section<'a> {
    name: &'static str,
    reader: &'a mut Reader,
}

impl Section<'_> {
    /// The value of `key`, if it is set.
    pub(super) fn get<T: FromNode>(&mut self, key: &'static str) -> Option<T> {
        self.reader.known.push((self.name, key));
        let node = self.node(key)?;
        T::from_node(&self.path(key), node).map_err(|problem| self.reader.problems.push(problem)).ok()
    }

    /// Whether `key` is set, to whatever.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// The path `key`, where an empty string is the same as none.
    pub(super) fn get_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.get::<String>(key).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The value of `key`, or `default`.
    pub(super) fn or<T: FromNode>(&mut self, key: &'static str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// The value of `key`, without which nothing can be done; `flag` sets it too.
    pub(super) fn required<T: FromNode + Default>(&mut self, key: &'static str, flag: &str) -> T {
        let value = self.get(key);
        if value.is_none() && self.node(key).is_none() {
            let key = self.path(key);
            self.reader.problems.push(Problem::Missing { key, flag: flag.to_owned() });
        }
        value.unwrap_or_default()
    }

    /// The number `key`, if it is set, which must lie in `range`. NaN lies in no range.
    pub(super) fn get_within<T>(&mut self, key: &'static str, range: impl RangeBounds<T>) -> Option<T>
    where
        T: FromNode + PartialOrd + Display + Debug,
    {
        let value: T = self.get(key)?;
        if range.contains(&value) {
            return Some(value);
        }
        let at = self.node(key)?.at.clone();
        let problem =
            Problem::OutOfRange { key: self.path(key), expected: describe(&range), got: value.to_string(), at };
        self.reader.problems.push(problem);
        None
    }

    /// The number `key`, or `default`.
    pub(super) fn within<T>(&mut self, key: &'static str, default: T, range: impl RangeBounds<T>) -> T
    where
        T: FromNode + PartialOrd + Display + Debug,
    {
        self.get_within(key, range).unwrap_or(default)
    }

    /// Notes that `key` and `other`, with its table, are both set.
    pub(super) fn both_set(&mut self, key: &'static str, other: &'static str) {
        if let Some(node) = self.node(key) {
            let problem = Problem::BothSet { key: self.path(key), other, at: node.at.clone() };
            self.reader.problems.push(problem);
        }
    }

    /// Notes that the value of `key` does not go with another setting; `reason` goes on from the key.
    pub(super) fn contradiction(&mut self, key: &'static str, reason: &'static str) {
        if let Some(node) = self.node(key) {
            let problem = Problem::Contradiction { key: self.path(key), reason, at: node.at.clone() };
            self.reader.problems.push(problem);
        }
    }

    /// Notes that the warm-up, `key`, does not end within the run.
    pub(super) fn warmup_too_long(&mut self, key: &'static str, warmup_steps: u64, max_steps: u64) {
        if let Some(node) = self.node(key) {
            let problem = Problem::WarmupTooLong { warmup_steps, max_steps, at: node.at.clone() };
            self.reader.problems.push(problem);
        }
    }

    fn node(&self, key: &str) -> Option<&Node> {
        match &self.reader.root.get(self.name)?.1.value {
            Value::Table(table) => table.get(key).map(|(_, node)| node),
            _ => None,
        }
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }
}

/// A range in words.
fn describe<T: Display>(range: &impl RangeBounds<T>) -> String {
    let low = match range.start_bound() {
        Bound::Included(x) => Some(format!("at least {x}")),
        Bound::Excluded(x) => Some(format!("above {x}")),
        Bound::Unbounded => None,
    };
    let high = match range.end_bound() {
        Bound::Included(x) => Some(format!("at most {x}")),
        Bound::Excluded(x) => Some(format!("below {x}")),
        Bound::Unbounded => None,
    };
    [low, high].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}
