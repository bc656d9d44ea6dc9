//! JSON whose objects have each key once. The format leaves open which of two values counts, and others take the first.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

/// What is wrong with a text.
pub(crate) enum Fault {
    /// An object has a key twice.
    Repeated {
        /// The key.
        key: String,
        /// Where it ends the second time, in bytes from 1.
        column: usize,
    },
    /// It is not JSON.
    Syntax(serde_json::Error),
}

/// The value that `text`, one line, is.
pub(crate) fn parse(text: &str) -> Result<Value, Fault> {
    let repeated = RefCell::new(None);
    let mut from = serde_json::Deserializer::from_str(text);
    let value = Distinct { repeated: &repeated }.deserialize(&mut from).and_then(|value| from.end().map(|()| value));
    value.map_err(|error| match repeated.take() {
        Some(key) => Fault::Repeated { key, column: error.column() },
        None => Fault::Syntax(error),
    })
}

/// Reads a value as [`Value`] does, but for keys that are there already: the first one is noted.
#[derive(Clone, Copy)]
struct Distinct<'a> {
    repeated: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Distinct<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            match object.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(entries.next_value_seed(self)?);
                }
                Entry::Occupied(entry) => {
                    self.repeated.replace(Some(entry.key().clone()));
                    return Err(A::Error::custom("a key is there twice"));
                }
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(text: &str) -> Option<(String, usize)> {
        match parse(text) {
            Err(Fault::Repeated { key, column }) => Some((key, column)),
            Ok(_) | Err(Fault::Syntax(_)) => None,
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_found_at_any_depth() {
        assert_eq!(repeated(r#"{"a":1,"a":1}"#), Some(("a".to_owned(), 10)));
        assert_eq!(repeated(r#"{"a":[{"b":{}},{"c":0,"\u0063":0}]}"#), Some(("c".to_owned(), 30)));
        assert_eq!(repeated(r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#), None);
        // What follows is not looked at.
        assert_eq!(repeated(r#"{"a":1,"a":"#).map(|(key, _)| key), Some("a".to_owned()));
    }

    #[test]
    fn all_else_is_read_as_serde_json_does() {
        for text in [
            r#"{"b": [null, true, false, 0, -0, -1, 18446744073709551615, -9223372036854775808, 1e400], "a": {}}"#,
            r#"[0.1, 1e-7, 123456789012345678901234567890, 5e-324, "", "\n\ud83d\ude00 x"]"#,
            "  7 ",
            "\"text\"",
            "",
            "{\"a\": }",
            "{} {}",
            "{\"a\"",
            "[1,]",
            "nul",
        ] {
            let expected = serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
            let got = parse(text).map_err(|fault| match fault {
                Fault::Syntax(error) => error.to_string(),
                Fault::Repeated { key, .. } => key,
            });
            assert_eq!(got.as_ref().map(Value::to_string), expected.as_ref().map(Value::to_string), "{text}");
        }
        let deep = "[".repeat(200);
        assert!(matches!(parse(&deep), Err(Fault::Syntax(error)) if error.to_string().contains("recursion limit")));
    }
}
