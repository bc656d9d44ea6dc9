//! Settings as Rust types.

use std::path::PathBuf;

use peft::OneOrMany;

use super::document::{Node, Value};
use super::problem::{Problem, nearest};

/// A type that a setting can have.
pub(super) trait FromNode: Sized {
    /// Reads the value of `key`.
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem>;
}

/// A table in the order in which it is written: the first pattern that matches counts.
pub(super) struct Patterns<T>(pub(super) Vec<(String, T)>);

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
        node.value.text(&node.at).map(str::to_owned).ok_or_else(|| wrong_type(key, node, "a string"))
    }
}

impl FromNode for PathBuf {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match node.value.text(&node.at) {
            Some("") => Err(out_of_range(key, node, "a path", "an empty string")),
            Some(path) => Ok(PathBuf::from(path)),
            None => Err(wrong_type(key, node, "a path (a string)")),
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

impl<T: FromNode> FromNode for Patterns<T> {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        let Value::Table(table) = &node.value else {
            return Err(wrong_type(key, node, "a table, as in { pattern = 8 }"));
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(_, (at, _))| at.start());
        let read = |(name, (_, item)): (&String, &(_, Node))| {
            Ok((name.clone(), T::from_node(&format!("{key}.{name}"), item)?))
        };
        entries.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl<T: FromNode> FromNode for OneOrMany<T> {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Array(_) => Vec::from_node(key, node).map(Self::Many),
            _ => T::from_node(key, node).map(Self::One),
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
