//! Typed reading of one JSON object of a configuration. Every refusal names the file and the key.

use std::path::Path;
use std::sync::LazyLock;

use checkpoint::Quoted;
use serde_json::{Map, Value};

use crate::{ModelError, Result};

/// The largest size that a key may give: tokens of a vocabulary, positions of a text. No model comes near it.
const MAX_SIZE: u64 = 1 << 24;

/// One object of the file: the whole of it, or a nested one such as `rope_parameters`.
#[derive(Clone)]
pub(crate) struct Keys<'a> {
    path: &'a Path,
    object: &'a Map<String, Value>,
    /// What is put before a key in messages: `rope_parameters.` in a nested object.
    prefix: String,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(path: &'a Path, object: &'a Map<String, Value>) -> Self {
        Self { path, object, prefix: String::new() }
    }

    /// Whether the key is there with a value other than null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.object.is_empty()
    }

    /// A whole number of at least 1, or `default` if the key is absent or null.
    pub(crate) fn size(&self, key: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(key)?.unwrap_or(default))
    }

    /// Height and width, given as two whole numbers of at least 1 or as one for both, or `default` for both if the key is
    /// absent or null.
    pub(crate) fn sides(&self, key: &str, default: usize, limit: usize) -> Result<[usize; 2]> {
        let Some(value) = self.value(key) else { return Ok([default; 2]) };
        let side = |value: &Value| value.as_u64().map(|side| side as usize).filter(|side| (1..=limit).contains(side));
        let sides = match value.as_array().map(Vec::as_slice) {
            None => side(value).map(|side| [side; 2]),
            Some([height, width]) => side(height).zip(side(width)).map(<[usize; 2]>::from),
            Some(_) => None,
        };
        sides.ok_or_else(|| self.refuse(key, format!("a whole number from 1 to {limit}, or height and width as two")))
    }

    /// As [`Keys::size`], with a bound of its own.
    pub(crate) fn bounded_size(&self, key: &str, default: usize, limit: usize) -> Result<usize> {
        let size = self.size(key, default)?;
        if size > limit { Err(self.refuse(key, format!("at most {limit}"))) } else { Ok(size) }
    }

    /// A whole number of at least 1; `None` if the key is absent or null.
    pub(crate) fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        self.value(key)
            .map(|value| match value.as_u64() {
                Some(n @ 1..=MAX_SIZE) => Ok(n as usize),
                _ => Err(self.refuse(key, format!("a whole number from 1 to {MAX_SIZE}"))),
            })
            .transpose()
    }

    /// As [`Keys::optional_size`], but an absent key means `absent` and only null means `None`.
    pub(crate) fn nullable_size(&self, key: &str, absent: usize) -> Result<Option<usize>> {
        if self.object.contains_key(key) { self.optional_size(key) } else { Ok(Some(absent)) }
    }

    /// A whole number that may be 0, or `default` if the key is absent or null.
    pub(crate) fn count(&self, key: &str, default: usize) -> Result<usize> {
        match self.value(key) {
            Some(value) if value.as_u64() == Some(0) => Ok(0),
            _ => self.size(key, default),
        }
    }

    /// A whole number, negative ones too; an absent key means `absent` and only null means `None`.
    pub(crate) fn nullable_integer(&self, key: &str, absent: Option<i64>) -> Result<Option<i64>> {
        match self.object.get(key) {
            None => Ok(absent),
            Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.refuse(key, "a whole number or null")),
        }
    }

    /// A number that is finite in f32 as well; `None` if the key is absent or null.
    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.value(key)
            .map(|value| match value.as_f64() {
                Some(x) if (x as f32).is_finite() => Ok(x),
                _ => Err(self.refuse(key, "a number")),
            })
            .transpose()
    }

    /// A number above 0, or `default` if the key is absent or null.
    pub(crate) fn positive(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.optional_positive(key)?.unwrap_or(default))
    }

    /// A number above 0; `None` if the key is absent or null.
    pub(crate) fn optional_positive(&self, key: &str) -> Result<Option<f64>> {
        match self.optional_number(key)? {
            // In f32 a number above 0 may be 0.
            Some(x) if x as f32 <= 0.0 => Err(self.refuse(key, "a number above 0")),
            other => Ok(other),
        }
    }

    /// As [`Keys::optional_positive`], but an absent key means `absent` and only null means `None`.
    pub(crate) fn nullable_positive(&self, key: &str, absent: f64) -> Result<Option<f64>> {
        if self.object.contains_key(key) { self.optional_positive(key) } else { Ok(Some(absent)) }
    }

    /// A number above 0 that has to be there.
    pub(crate) fn required_positive(&self, key: &str, remedy: &str) -> Result<f64> {
        self.optional_positive(key)?.ok_or_else(|| self.missing(key, remedy))
    }

    /// A truth value, or `default` if the key is absent or null.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.refuse(key, "true or false")),
        }
    }

    /// A string; `None` if the key is absent or null.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.value(key).map(|value| value.as_str().ok_or_else(|| self.refuse(key, "a string"))).transpose()
    }

    /// A list of strings; `None` if the key is absent or null.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.list(key, "a list of strings", Value::as_str)
    }

    /// The name of the family; `supported` lists those that are, for a message.
    pub(crate) fn model_type(&self, supported: &dyn Fn() -> String) -> Result<&'a str> {
        let remedy = || format!("it names the family, one of {}", supported());
        self.text("model_type")?.ok_or_else(|| self.missing("model_type", &remedy()))
    }

    /// The strings of an object whose keys are `"0"`, `"1"`, ..., by number; `None` if the key is absent or null.
    pub(crate) fn numbered_texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        const EXPECTED: &str = "an object of strings under \"0\", \"1\", ... with none left out";
        let Some(object) = self.object(key)?.map(|keys| keys.object) else { return Ok(None) };
        let text = |number: usize| object.get(&number.to_string())?.as_str();
        let texts = (0..object.len()).map(text).collect::<Option<Vec<_>>>();
        texts.filter(|texts| !texts.is_empty()).map(Some).ok_or_else(|| self.refuse(key, EXPECTED))
    }

    /// A list of numbers; `None` if the key is absent or null.
    pub(crate) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.list(key, "a list of numbers", Value::as_f64)
    }

    /// One token id or a list of them; empty if the key is absent or null.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match self.value(key) {
            Some(value) if !value.is_array() => match id(value) {
                Some(id) => Ok(vec![id]),
                None => Err(self.refuse(key, "a token id or a list of them")),
            },
            _ => Ok(self.list(key, "a token id or a list of them", id)?.unwrap_or_default()),
        }
    }

    /// A nested object; `None` if the key is absent or null.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Keys<'a>>> {
        self.value(key)
            .map(|value| match value.as_object() {
                Some(object) => Ok(Keys { path: self.path, object, prefix: format!("{}{key}.", self.prefix) }),
                None => Err(self.refuse(key, "an object")),
            })
            .transpose()
    }

    /// An object without keys, in the place of an absent `key`.
    pub(crate) fn nothing(&self, key: &str) -> Keys<'a> {
        static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        Keys { path: self.path, object: &NOTHING, prefix: format!("{}{key}.", self.prefix) }
    }

    /// The error that the value of `key` is not what was `expected`.
    pub(crate) fn refuse(&self, key: &str, expected: impl Into<String>) -> ModelError {
        ModelError::Key {
            path: self.path.to_owned(),
            key: format!("{}{key}", self.prefix),
            expected: expected.into(),
            got: self.shown(key),
        }
    }

    /// The error that the value of `key` asks for something that is not computed here.
    pub(crate) fn unsupported(&self, key: &str, reason: impl Into<String>) -> ModelError {
        ModelError::Unsupported {
            path: self.path.to_owned(),
            key: format!("{}{key}", self.prefix),
            got: self.shown(key),
            reason: reason.into(),
        }
    }

    /// The error that the values of this object cannot be used together.
    pub(crate) fn unsupported_together(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Unsupported {
            path: self.path.to_owned(),
            key: self.prefix.trim_end_matches('.').to_owned(),
            got: Quoted(&serde_json::to_string(self.object).unwrap_or_default()).to_string(),
            reason: reason.into(),
        }
    }

    /// The error that `key` is not there.
    pub(crate) fn missing(&self, key: &str, remedy: &str) -> ModelError {
        ModelError::MissingKey {
            path: self.path.to_owned(),
            key: format!("{}{key}", self.prefix),
            remedy: remedy.to_owned(),
        }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn list<T>(&self, key: &str, expected: &str, item: impl Fn(&'a Value) -> Option<T>) -> Result<Option<Vec<T>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let items = value.as_array().and_then(|items| items.iter().map(item).collect());
        items.map(Some).ok_or_else(|| self.refuse(key, expected))
    }

    /// The value as JSON, safe to print.
    fn shown(&self, key: &str) -> String {
        match self.object.get(key) {
            Some(value) => Quoted(&value.to_string()).to_string(),
            None => "absent".to_owned(),
        }
    }
}
