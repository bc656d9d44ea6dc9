//! Settings as Rust types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::document::{Node, Value};
use super::problem::{Problem, nearest};

/// A type that a setting can have.
pub(super) trait FromNode: Sized {
    /// Reads the value of `key`.
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem>;
}

/// A list that may be written as its only item.
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

/// An enum written as one of a few words.
pub(super) trait Choice: Copy + 'static {
    /// The words, and what they mean.
    const CHOICES: &'static [(&'static str, Self)];
    /// Words that are understood and name what this version does not have.
    const ABSENT: &'static [&'static str] = &[];
}

impl<T: Choice> FromNode for T {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        let word = String::from_node(key, node)?;
        if let Some((_, value)) = T::CHOICES.iter().find(|(choice, _)| *choice == word) {
            return Ok(*value);
        }
        let (key, at) = (key.to_owned(), node.at.clone());
        let choices: Vec<String> = T::CHOICES.iter().map(|(choice, _)| (*choice).to_owned()).collect();
        if T::ABSENT.contains(&word.as_str()) {
            return Err(Problem::Unavailable { key, got: format!("\"{word}\""), available: choices.join(", "), at });
        }
        let nearest = nearest(&word, choices.iter().map(String::as_str)).map(str::to_owned);
        Err(Problem::UnknownChoice { key, nearest, choices, got: word, at })
    }
}

impl FromNode for String {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::String(s) => Ok(s.clone()),
            _ => Err(wrong_type(key, node, "a string")),
        }
    }
}

impl FromNode for PathBuf {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::String(s) if s.is_empty() => Err(out_of_range(key, node, "a path", "an empty string")),
            Value::String(s) => Ok(PathBuf::from(s)),
            _ => Err(wrong_type(key, node, "a path (a string)")),
        }
    }
}

impl FromNode for bool {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match node.value {
            Value::Boolean(b) => Ok(b),
            _ => Err(wrong_type(key, node, "true or false")),
        }
    }
}

impl FromNode for u64 {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match node.value {
            Value::Integer(i) => Self::try_from(i).map_err(|_| {
                let expected = if i < 0 { "at least 0".to_owned() } else { format!("at most {}", Self::MAX) };
                out_of_range(key, node, &expected, &i.to_string())
            }),
            _ => Err(wrong_type(key, node, "an integer")),
        }
    }
}

impl FromNode for usize {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        let wide = u64::from_node(key, node)?;
        Self::try_from(wide).map_err(|_| out_of_range(key, node, &format!("at most {}", Self::MAX), &wide.to_string()))
    }
}

impl FromNode for f64 {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match node.value {
            Value::Float(x) => Ok(x),
            Value::Integer(i) => Ok(i as f64),
            _ => Err(wrong_type(key, node, "a number")),
        }
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(i, item)| T::from_node(&format!("{key}[{i}]"), item)).collect()
            }
            _ => Err(wrong_type(key, node, "an array")),
        }
    }
}

impl<T: FromNode> FromNode for BTreeMap<String, T> {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Table(table) => table
                .iter()
                .map(|(name, (_, item))| Ok((name.clone(), T::from_node(&format!("{key}.{name}"), item)?)))
                .collect(),
            _ => Err(wrong_type(key, node, "a table, as in { pattern = 8 }")),
        }
    }
}

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Array(_) => Vec::from_node(key, node).map(Self),
            _ => T::from_node(key, node).map(|one| Self(vec![one])),
        }
    }
}

/// `key` holds a value of another type.
pub(super) fn wrong_type(key: &str, node: &Node, expected: &'static str) -> Problem {
    Problem::WrongType { key: key.to_owned(), expected, got: node.value.kind(), at: node.at.clone() }
}

fn out_of_range(key: &str, node: &Node, expected: &str, got: &str) -> Problem {
    Problem::OutOfRange { key: key.to_owned(), expected: expected.to_owned(), got: got.to_owned(), at: node.at.clone() }
}
