//! Which tokens begin, end and pad a text, by the rules of Hugging Face's files.

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::read_json;
use serde_json::{Map, Value};

use crate::DataError;

/// Configurations beside a tokenizer are at most a few MB of added tokens.
const CONFIG_LIMIT: u64 = 16 << 20;

/// The standard names, as `tokenizer_config.json` spells them and chat templates read them.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The special tokens of a model.
///
/// The texts come from `tokenizer_config.json`. A file of the older layout, without `added_tokens_decoder`, is overruled by
/// `special_tokens_map.json`, as in transformers. An id is looked up in the vocabulary by its text; where no text is given,
/// `generation_config.json` and then `config.json` say the id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Texts by name (`bos_token`, `eos_token`, ...): the variables of a chat template.
    pub names: BTreeMap<String, String>,
    /// Begins a text.
    pub bos_token_id: Option<u32>,
    /// Ends a text. Appended to what is trained on.
    pub eos_token_id: Option<u32>,
    /// Fills up a batch. Sequences are packed here, so nothing is ever padded with it.
    pub pad_token_id: Option<u32>,
    /// Generation stops at any of these: `eos_token_id` of `generation_config.json`, or else of `config.json`, and always
    /// the tokenizer's own, since that is the one that training appends.
    pub stop_token_ids: Vec<u32>,
}

impl SpecialTokens {
    /// Reads the configurations of `dir`, any of which may be missing. `token_to_id` looks a token up in the vocabulary.
    ///
    /// # Errors
    /// [`DataError::File`] for a file that cannot be read, [`DataError::Config`] for a value of the wrong type and
    /// [`DataError::UnknownSpecialToken`] for a `bos_token` or `eos_token` that the vocabulary lacks.
    pub fn load(dir: &Path, token_to_id: impl Fn(&str) -> Option<u32>) -> Result<Self, DataError> {
        let names = texts(dir)?;
        let generation = Ids::read(dir, "generation_config.json")?;
        let config = Ids::read(dir, "config.json")?;
        let id = |name: &str, required: bool| match names.get(name) {
            None => Ok(None),
            Some(token) => match token_to_id(token) {
                None if required => Err(DataError::UnknownSpecialToken {
                    dir: dir.to_owned(),
                    name: name.to_owned(),
                    token: token.clone(),
                }),
                id => Ok(id),
            },
        };
        let or_configured =
            |id: Option<u32>, key: &str| id.or_else(|| generation.first(key)).or_else(|| config.first(key));
        let eos_token_id = or_configured(id("eos_token", true)?, "eos_token_id");
        let mut stop_token_ids = match generation.all("eos_token_id") {
            [] => config.all("eos_token_id").to_vec(),
            ids => ids.to_vec(),
        };
        if let Some(eos) = eos_token_id.filter(|eos| !stop_token_ids.contains(eos)) {
            stop_token_ids.push(eos);
        }
        Ok(Self {
            bos_token_id: or_configured(id("bos_token", true)?, "bos_token_id"),
            eos_token_id,
            pad_token_id: or_configured(id("pad_token", false)?, "pad_token_id"),
            stop_token_ids,
            names,
        })
    }
}

/// The texts of the named tokens.
fn texts(dir: &Path) -> Result<BTreeMap<String, String>, DataError> {
    let config = read_object(dir, "tokenizer_config.json")?;
    let mut names = BTreeMap::new();
    let mut insert_all = |file: &str, object: &Map<String, Value>| {
        for name in NAMES {
            match object.get(name) {
                None => {}
                Some(Value::Null) => drop(names.remove(name)),
                Some(Value::String(text)) => drop(names.insert(name.to_owned(), text.clone())),
                // An added token with its options.
                Some(other) => match other.get("content").and_then(Value::as_str) {
                    Some(text) => drop(names.insert(name.to_owned(), text.to_owned())),
                    None => return Err(wrong_type(dir, file, name, "a string or an object with `content`", other)),
                },
            }
        }
        Ok(())
    };
    insert_all("tokenizer_config.json", &config)?;
    if !config.contains_key("added_tokens_decoder") {
        insert_all("special_tokens_map.json", &read_object(dir, "special_tokens_map.json")?)?;
    }
    Ok(names)
}

/// The token ids that a model's configuration names.
struct Ids(BTreeMap<&'static str, Vec<u32>>);

impl Ids {
    fn read(dir: &Path, file: &'static str) -> Result<Self, DataError> {
        let object = read_object(dir, file)?;
        let mut ids = BTreeMap::new();
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            let Some(value) = object.get(key).filter(|value| !value.is_null()) else { continue };
            let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            let list = match value {
                Value::Array(values) => values.iter().map(one).collect(),
                // Some configurations write -1 for "none".
                Value::Number(number) if number.as_i64() == Some(-1) => Some(Vec::new()),
                single => one(single).map(|id| vec![id]),
            };
            let expected = "a token id or a list of them";
            ids.insert(key, list.ok_or_else(|| wrong_type(dir, file, key, expected, value))?);
        }
        Ok(Self(ids))
    }

    fn all(&self, key: &str) -> &[u32] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    fn first(&self, key: &str) -> Option<u32> {
        self.all(key).first().copied()
    }
}

/// A JSON object, empty where there is no such file.
pub(crate) fn read_object(dir: &Path, file: &str) -> Result<Map<String, Value>, DataError> {
    let path = dir.join(file);
    if path.exists() { Ok(read_json(&path, CONFIG_LIMIT)?) } else { Ok(Map::new()) }
}

fn wrong_type(dir: &Path, file: &str, key: &str, expected: &'static str, got: &Value) -> DataError {
    DataError::Config { path: dir.join(file), key: key.to_owned(), expected, got: crate::row::kind(got) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<SpecialTokens, DataError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let vocabulary = ["<s>", "</s>", "<pad>", "<|im_end|>"];
        SpecialTokens::load(dir.path(), |token| vocabulary.iter().position(|t| *t == token).map(|i| i as u32))
    }

    #[test]
    fn texts_are_strings_or_added_tokens() {
        let tokens = load(&[(
            "tokenizer_config.json",
            r#"{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null}"#,
        )])
        .unwrap();
        assert_eq!((tokens.bos_token_id, tokens.eos_token_id, tokens.pad_token_id), (Some(0), Some(1), None));
        assert_eq!(tokens.names.keys().collect::<Vec<_>>(), ["bos_token", "eos_token"]);
        assert_eq!(tokens.stop_token_ids, [1]);
    }

    #[test]
    fn the_special_tokens_map_overrules_the_older_layout_only() {
        let map = ("special_tokens_map.json", r#"{"eos_token": "<|im_end|>"}"#);
        let old = load(&[("tokenizer_config.json", r#"{"eos_token": "</s>"}"#), map]).unwrap();
        assert_eq!(old.eos_token_id, Some(3));
        let new = r#"{"eos_token": "</s>", "added_tokens_decoder": {}}"#;
        assert_eq!(load(&[("tokenizer_config.json", new), map]).unwrap().eos_token_id, Some(1));
    }

    #[test]
    fn configured_ids_fill_in_and_the_trained_end_always_stops() {
        let generation = ("generation_config.json", r#"{"eos_token_id": [7, 8], "bos_token_id": -1}"#);
        let tokens = load(&[generation, ("config.json", r#"{"eos_token_id": 9, "bos_token_id": 5}"#)]).unwrap();
        assert_eq!((tokens.bos_token_id, tokens.eos_token_id), (Some(5), Some(7)));
        assert_eq!(tokens.stop_token_ids, [7, 8]);
        let tokens = load(&[generation, ("tokenizer_config.json", r#"{"eos_token": "</s>"}"#)]).unwrap();
        assert_eq!((tokens.eos_token_id, tokens.stop_token_ids), (Some(1), vec![7, 8, 1]));
        assert_eq!(load(&[]).unwrap(), SpecialTokens::default());
    }

    #[test]
    fn faults_name_file_and_key() {
        let message = |name, content| load(&[(name, content)]).unwrap_err().to_string();
        let text = message("tokenizer_config.json", r#"{"eos_token": "<|none|>"}"#);
        assert!(text.contains("eos_token is `<|none|>`"), "{text}");
        let text = message("tokenizer_config.json", r#"{"eos_token": 3}"#);
        assert!(text.contains("tokenizer_config.json") && text.contains("`eos_token` is a number"), "{text}");
        let text = message("generation_config.json", r#"{"eos_token_id": "two"}"#);
        assert!(text.contains("generation_config.json") && text.contains("`eos_token_id` is a string"), "{text}");
        let text = message("config.json", "[1]");
        assert!(text.contains("config.json"), "{text}");
    }
}
