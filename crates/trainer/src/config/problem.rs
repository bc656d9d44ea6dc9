//! What is wrong with the settings, told with the line and a caret.

use std::fmt;
use std::path::PathBuf;

use super::source::Location;

/// Everything wrong with one set of settings, in the order in which it was written.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n\n"))]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

/// One thing wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The config file cannot be read.
    #[error("cannot read the config {}: {source}; give a TOML file, or use --model, --data, --method and --output", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML. Duplicate keys are found here.
    #[error("not valid TOML: {message}\n{at}")]
    Syntax {
        /// The parser's words.
        message: String,
        /// Where it gave up.
        at: Location,
    },
    /// `--set` without a value.
    #[error("--set needs table.key=value, for example --set training.learning_rate=1e-4\n{at}")]
    NoValue {
        /// The argument.
        at: Location,
    },
    /// A number that fits no number type.
    #[error("`{text}` is too large a number\n{at}")]
    Number {
        /// As written.
        text: String,
        /// Where.
        at: Location,
    },
    /// A key that nothing reads.
    #[error("unknown key `{key}`{}\n{at}", Hint(.nearest, .known))]
    UnknownKey {
        /// With its table.
        key: String,
        /// The known key that is meant, if one is near.
        nearest: Option<String>,
        /// What the table may hold.
        known: Vec<String>,
        /// The key.
        at: Location,
    },
    /// A required key is not there.
    #[error("`{key}` is missing; set it in the config, or with {flag}")]
    Missing {
        /// With its table.
        key: String,
        /// The flag that sets it.
        flag: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, got {got}\n{at}")]
    WrongType {
        /// With its table.
        key: String,
        /// What is read there.
        expected: &'static str,
        /// What is there.
        got: &'static str,
        /// The value.
        at: Location,
    },
    /// A number outside its range.
    #[error("`{key}` must be {expected}, got {got}\n{at}")]
    OutOfRange {
        /// With its table.
        key: String,
        /// The range in words.
        expected: String,
        /// As given.
        got: String,
        /// The value.
        at: Location,
    },
    /// A word that is not one of those allowed.
    #[error("`{key}` = \"{got}\" is unknown{}\n{at}", Hint(.nearest, .choices))]
    UnknownChoice {
        /// With its table.
        key: String,
        /// As given.
        got: String,
        /// The word that is meant, if one is near.
        nearest: Option<String>,
        /// The words allowed.
        choices: Vec<String>,
        /// The value.
        at: Location,
    },
    /// A word that is understood, for something that this version lacks.
    #[error("`{key}` = {got} is not available in this version; available: {available}\n{at}")]
    Unavailable {
        /// With its table.
        key: String,
        /// As given.
        got: String,
        /// What can be used instead.
        available: String,
        /// The value.
        at: Location,
    },
    /// Two settings that exclude each other.
    #[error("`{key}` and `{other}` are both set; remove one\n{at}")]
    BothSet {
        /// One of them, with its table.
        key: String,
        /// The other one.
        other: &'static str,
        /// The value of the first.
        at: Location,
    },
    /// A value that does not go with another setting.
    #[error("`{key}` {reason}\n{at}")]
    Contradiction {
        /// With its table.
        key: String,
        /// What it must be, for which setting.
        reason: &'static str,
        /// The value.
        at: Location,
    },
    /// A warm-up that does not end within the run.
    #[error("{}\n{at}", super::warmup_reason(*.warmup_steps, *.max_steps))]
    WarmupTooLong {
        /// As set.
        warmup_steps: u64,
        /// As set.
        max_steps: u64,
        /// The former.
        at: Location,
    },
}

impl Problem {
    /// Where in its source it stands; what is missing comes last.
    pub(super) fn position(&self) -> usize {
        match self {
            Problem::Read { .. } | Problem::Missing { .. } => usize::MAX,
            Problem::Syntax { at, .. }
            | Problem::NoValue { at }
            | Problem::Number { at, .. }
            | Problem::UnknownKey { at, .. }
            | Problem::WrongType { at, .. }
            | Problem::OutOfRange { at, .. }
            | Problem::UnknownChoice { at, .. }
            | Problem::Unavailable { at, .. }
            | Problem::BothSet { at, .. }
            | Problem::Contradiction { at, .. }
            | Problem::WarmupTooLong { at, .. } => at.start(),
        }
    }
}

/// "; did you mean `x`?" or "; known are ...".
struct Hint<'a>(&'a Option<String>, &'a [String]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => write!(f, "; known are {}", self.1.join(", ")),
        }
    }
}

/// The candidate nearest to `word`, if it is near enough to be meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase()), c))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, c)| *distance <= c.chars().count().max(word.chars().count()).div_ceil(3))
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["learning_rate", "lr_scheduler_type", "max_steps", "r"];
        assert_eq!(nearest("lerning_rate", keys), Some("learning_rate"));
        assert_eq!(nearest("max_step", keys), Some("max_steps"));
        assert_eq!(nearest("Learning_Rate", keys), Some("learning_rate"));
        assert_eq!(nearest("quantum", keys), None);
    }
}
