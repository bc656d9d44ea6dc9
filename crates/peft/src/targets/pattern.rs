//! Regular expressions with Python's meaning, and ends of names.

use fancy_regex::{Captures, Regex};

use crate::PeftError;

/// A regular expression, and the key of the configuration that it comes from.
pub(super) struct Pattern {
    key: &'static str,
    regex: Regex,
}

impl Pattern {
    pub(super) fn new(key: &'static str, pattern: &str) -> Result<Self, PeftError> {
        match Regex::new(pattern) {
            Ok(regex) => Ok(Self { key, regex }),
            Err(e) => Err(PeftError::Pattern { key, pattern: pattern.to_owned(), reason: e.to_string() }),
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
        PeftError::Pattern { key: self.key, pattern: self.regex.as_str().to_owned(), reason: error.to_string() }
    }
}

/// The value of the first pattern that matches the end of `name` from a dot or from its start; `rank_pattern` and
/// `alpha_pattern` are read this way.
pub(crate) fn first_match<T: Copy>(
    key: &'static str,
    patterns: &[(String, T)],
    name: &str,
) -> Result<Option<T>, PeftError> {
    for (pattern, value) in patterns {
        if Pattern::new(key, &format!(r"\A(?:.*\.)?(?:{pattern})\z"))?.is_match(name)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
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
        let rank = |name| first_match("rank_pattern", &patterns, name).unwrap();
        assert_eq!(rank("model.layers.0.self_attn.q_proj"), Some(2));
        assert_eq!(rank("model.layers.1.self_attn.q_proj"), Some(3));
        assert_eq!(rank("q_proj"), Some(3));
        assert_eq!(rank("model.layers.0.self_attn.v_proj"), None);
        assert_eq!(rank("a.x"), Some(4));
    }
}
