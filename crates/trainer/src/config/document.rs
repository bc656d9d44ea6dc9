//! The settings as a tree in which every key and value knows where it was written.
//!
//! The file is the first layer; each `--set` and each flag is a further one that replaces what is below it.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::source::{Location, SET_FLAG, Source};

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Location,
    pub(super) value: Value,
}

/// A TOML value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime,
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in alphabetical order, each with the place of the key itself and its value.
pub(super) type Table = BTreeMap<String, (Location, Node)>;

impl Value {
    /// The text of a string, or of what stands on the command line at `at` without quotes and would be something else in a
    /// file: `nan`, `1`, `true`.
    pub(super) fn text<'a>(&'a self, at: &'a Location) -> Option<&'a str> {
        match self {
            Value::String(text) => Some(text),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime => at.bare_text(),
            Value::Array(_) | Value::Table(_) => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Parses `text`, the content of the file `name`.
pub(super) fn parse(name: &str, text: &str) -> Result<Table, Problem> {
    let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
    parse_toml(&source, text)
}

/// Parses one `--set key=value`. The value is TOML; what is not TOML is taken as a bare string.
pub(super) fn parse_override(assignment: &str) -> Result<Table, Problem> {
    let source = Arc::new(Source { name: SET_FLAG.to_owned(), text: assignment.to_owned() });
    let Some((key, value)) = assignment.split_once('=') else {
        return Err(Problem::NoValue { at: Location::new(&source, 0..assignment.len()) });
    };
    parse_toml(&source, assignment).or_else(|_| {
        let start = key.len() + 1;
        let table = parse_toml(&source, &format!("{key}=0"))?;
        let node =
            Node { at: Location::new(&source, start..assignment.len()), value: Value::String(value.trim().to_owned()) };
        Ok(with_leaf(table, &node))
    })
}

/// The setting `section.key = value` as the flag `flag` gives it.
pub(super) fn from_flag(flag: &str, section: &str, key: &str, value: &str) -> Table {
    let source = Arc::new(Source { name: flag.to_owned(), text: value.to_owned() });
    let at = Location::new(&source, 0..value.len());
    let leaf = Node { at: at.clone(), value: Value::String(value.to_owned()) };
    let inner = Table::from([(key.to_owned(), (at.clone(), leaf))]);
    Table::from([(section.to_owned(), (at.clone(), Node { at, value: Value::Table(inner) }))])
}

/// Puts `upper` over `base`: tables are merged, anything else is replaced.
pub(super) fn overlay(base: &mut Table, upper: Table) {
    for (key, (key_at, node)) in upper {
        match (base.get_mut(&key), node) {
            (Some((_, Node { value: Value::Table(below), .. })), Node { value: Value::Table(above), .. }) => {
                overlay(below, above);
            }
            (_, node) => {
                base.insert(key, (key_at, node));
            }
        }
    }
}

fn parse_toml(source: &Arc<Source>, text: &str) -> Result<Table, Problem> {
    match DeTable::parse(text) {
        Ok(table) => convert_table(source, table.into_inner()),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            Err(Problem::Syntax { message: error.message().to_owned(), at: Location::new(source, span) })
        }
    }
}

fn convert_table(source: &Arc<Source>, table: DeTable<'_>) -> Result<Table, Problem> {
    table
        .into_iter()
        .map(|(key, value)| {
            let key_at = Location::new(source, key.span());
            Ok((key.into_inner().into_owned(), (key_at, convert(source, value)?)))
        })
        .collect()
}

fn convert(source: &Arc<Source>, value: Spanned<DeValue<'_>>) -> Result<Node, Problem> {
    let at = Location::new(source, value.span());
    let unreadable = |text: &str| Problem::Number { text: text.to_owned(), at: at.clone() };
    let value = match value.into_inner() {
        DeValue::String(s) => Value::String(s.into_owned()),
        DeValue::Integer(i) => {
            Value::Integer(i128::from_str_radix(i.as_str(), i.radix()).map_err(|_| unreadable(i.as_str()))?)
        }
        DeValue::Float(x) => Value::Float(x.as_str().parse().map_err(|_| unreadable(x.as_str()))?),
        DeValue::Boolean(b) => Value::Boolean(b),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => {
            Value::Array(items.into_iter().map(|item| convert(source, item)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => Value::Table(convert_table(source, table)?),
    };
    Ok(Node { at, value })
}

/// `table`, a chain of tables with one key each, with its single leaf replaced.
fn with_leaf(table: Table, leaf: &Node) -> Table {
    table
        .into_iter()
        .map(|(key, (at, node))| match node.value {
            Value::Table(inner) => (key, (at, Node { at: node.at, value: Value::Table(with_leaf(inner, leaf)) })),
            _ => (key, (at, leaf.clone())),
        })
        .collect()
}
