//! Regular expressions with Python's meaning, and ends of names.

use fancy_regex::{Captures, Regex};

use crate::{PeftError, Warnings};

/// A regular expression, and the key of the configuration that it comes from.
pub(super) struct Pattern {
    key: &'static str,
    /// As it stands in the configuration.
    pattern: String,
    /// The same in its frame.
    regex: Regex,
}

impl Pattern {
    /// Compiles `pattern` between the two parts of `frame`, which say what of a name it has to match.
    pub(super) fn new(key: &'static str, pattern: &str, frame: [&str; 2]) -> Result<Self, PeftError> {
        let [before, after] = frame;
        match Regex::new(&format!("{before}{pattern}{after}")) {
            Ok(regex) => Ok(Self { key, pattern: pattern.to_owned(), regex }),
            // The error counts positions in what it was given: it is asked for again without the frame.
            Err(framed) => Err(unusable(key, pattern, &Regex::new(pattern).err().unwrap_or(framed))),
        }
    }

    pub(super) fn is_match(&self, name: &str) -> Result<bool, PeftError> {
        self.regex.is_match(name).map_err(|e| self.too_hard(&e))
    }

    pub(super) fn captures<'a>(&self, name: &'a str) -> Result<Option<Captures<'a>>, PeftError> {
        self.regex.captures(name).map_err(|e| self.too_hard(&e))
    }

    /// Backtracking has a limit, so that no file can keep the program busy for ever.
    fn too_hard(&self, error: &fancy_regex::Error) -> PeftError {
        unusable(self.key, &self.pattern, error)
    }
}

fn unusable(key: &'static str, pattern: &str, error: &fancy_regex::Error) -> PeftError {
    PeftError::Pattern { key, pattern: pattern.to_owned(), reason: error.to_string() }
}

/// `rank_pattern` or `alpha_pattern`: a value for every module the end of whose name, from a dot or from its start, matches
/// a pattern; the first that does counts.
pub(crate) struct ValuePatterns<T>(Vec<(Pattern, T)>);

impl<T: Copy> ValuePatterns<T> {
    /// Compiles each pattern once: files have one for every module of a large model.
    pub(crate) fn compile(key: &'static str, patterns: &[(String, T)]) -> Result<Self, PeftError> {
        let compile =
            |(pattern, value): &(String, T)| Ok((Pattern::new(key, pattern, [r"\A(?:.*\.)?(?:", r")\z"])?, *value));
        patterns.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// The value for the module called `name`, if there is one.
    pub(crate) fn get(&self, name: &str) -> Result<Option<T>, PeftError> {
        for (pattern, value) in &self.0 {
            if pattern.is_match(name)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }

    /// A line for the patterns that match none of `paths`.
    pub(crate) fn unused(&self, paths: &[&str]) -> Result<Warnings, PeftError> {
        let mut unused = Vec::new();
        for (pattern, _) in &self.0 {
            let mut is_used = false;
            for path in paths {
                is_used = is_used || pattern.is_match(path)?;
            }
            if !is_used {
                unused.push(pattern);
            }
        }
        let Some(first) = unused.first() else { return Ok(Warnings::new()) };
        let more = match unused.len() - 1 {
            0 => String::new(),
            more => format!(", and so {more} more"),
        };
        Ok(vec![format!("`{}` {} means no adapted module{more}", first.key, checkpoint::Quoted(&first.pattern))])
    }

    /// The patterns in the order of their names, in which a file lists them.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort_by(|(a, _), (b, _)| a.pattern.cmp(&b.pattern));
        self
    }

    /// The patterns as a configuration holds them.
    pub(crate) fn into_entries(self) -> Vec<(String, T)> {
        self.0.into_iter().map(|(pattern, value)| (pattern.pattern, value)).collect()
    }
}

/// Whether `name` ends in a dot and `end`.
pub(super) fn is_suffix(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|start| start.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_the_end_counts() {
        let patterns = [(r"layers\.0\..*q_proj".to_owned(), 2), ("q_proj".to_owned(), 3), ("proj|x".to_owned(), 4)];
        let patterns = ValuePatterns::compile("rank_pattern", &patterns).unwrap();
        let rank = |name| patterns.get(name).unwrap();
        assert_eq!(rank("model.layers.0.self_attn.q_proj"), Some(2));
        assert_eq!(rank("model.layers.1.self_attn.q_proj"), Some(3));
        assert_eq!(rank("q_proj"), Some(3));
        assert_eq!(rank("model.layers.0.self_attn.v_proj"), None);
        assert_eq!(rank("a.x"), Some(4));
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_shown_as_it_was_given() {
        let refusal = |pattern: &str| {
            let patterns = [(pattern.to_owned(), 1)];
            let found = ValuePatterns::compile("rank_pattern", &patterns).and_then(|p| p.get(&"a".repeat(40)));
            found.unwrap_err().to_string()
        };
        let message = refusal("q_(");
        assert!(message.contains("`rank_pattern`: the regular expression `q_(` cannot be used"), "{message}");
        assert!(message.contains("position 3"), "{message}");
        let message = refusal(r"(.*)*\1x");
        assert!(message.contains(r"`(.*)*\1x` cannot be used") && message.contains("backtracking"), "{message}");
    }
}
