//! Where a model keeps its chat templates.

use std::path::Path;

use checkpoint::read_text;
use serde_json::Value;

use super::DEFAULT;
use crate::DataError;
use crate::row::kind;
use crate::special_tokens::read_object;

/// The longest known templates hold some 20 kB.
const TEMPLATE_LIMIT: u64 = 1 << 20;

/// A template's text.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) text: String,
    /// Where it was read, for messages.
    pub(super) origin: String,
}

/// The templates of a model directory; none if it has none.
pub(super) fn of_model(dir: &Path) -> Result<Vec<Named>, DataError> {
    let file = dir.join("chat_template.jinja");
    if file.exists() {
        return Ok(vec![in_file(&file)?]);
    }
    let path = dir.join("tokenizer_config.json");
    let expected = "a template or a list of {name, template}";
    let wrong = |got: &Value| DataError::Config {
        path: path.clone(),
        key: "chat_template".to_owned(),
        expected,
        got: kind(got),
    };
    let named = |name: &str, text: &str| Named {
        name: name.to_owned(),
        text: text.to_owned(),
        origin: format!("{}, chat_template", path.display()),
    };
    match read_object(dir, "tokenizer_config.json")?.get("chat_template") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![named(DEFAULT, text)]),
        Some(Value::Array(entries)) => entries
            .iter()
            .map(|entry| match (entry["name"].as_str(), entry["template"].as_str()) {
                (Some(name), Some(text)) => Ok(named(name, text)),
                _ => Err(wrong(entry)),
            })
            .collect(),
        Some(other) => Err(wrong(other)),
    }
}

/// The template that is a file of its own.
pub(super) fn in_file(path: &Path) -> Result<Named, DataError> {
    let text = read_text(path, TEMPLATE_LIMIT)?;
    Ok(Named { name: DEFAULT.to_owned(), text, origin: path.display().to_string() })
}
