//! One line of a file: which kind of row it is, and its values.

use serde_json::{Map, Value};

use crate::{Conversation, DataError, Task};

/// A class, by number or by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// From 0.
    Id(i64),
    /// As `id2label` names it.
    Name(String),
    /// A number with a fraction, which a regression predicts.
    Value(f64),
}

/// A row, before it is encoded.
#[derive(Clone, Debug)]
pub enum Row {
    /// `{"text"}`, `{"text", "label"}`, `{"text", "text_pair", "label"}`.
    Text {
        /// The text.
        text: String,
        /// A second text, of which the first is told apart.
        pair: Option<String>,
        /// Its class, where there is one.
        label: Option<Label>,
    },
    /// `{"prompt", "completion"}` as texts, `{"instruction", "input", "output"}`.
    Completion {
        /// What is given.
        prompt: String,
        /// What is to follow.
        completion: String,
    },
    /// `{"messages"}`, with or without `tools`.
    Messages(Conversation),
    /// `{"prompt", "completion"}` as lists of messages.
    Turns {
        /// Both, one after the other.
        conversation: Conversation,
        /// How many of the messages are the prompt.
        prompt: usize,
    },
    /// `{"image", "label"}`.
    Image {
        /// The image's file.
        path: String,
        /// Its class, where there is one.
        label: Option<Label>,
    },
    /// `{"tokens", "tags"}`, `{"tokens", "labels"}`.
    Words {
        /// The words of a text.
        words: Vec<String>,
        /// The class of each; -100 is not trained on.
        labels: Vec<Label>,
    },
    /// `{"input_ids", "labels"}`, `{"input_ids", "label"}`.
    Tokenized(TokenizedRow),
}

/// A row of tokens.
#[derive(Clone, Debug, Default)]
pub struct TokenizedRow {
    /// Token ids.
    pub input_ids: Vec<i64>,
    /// One for each token, or the decoder's.
    pub labels: Option<Vec<i64>>,
    /// The class of the sequence.
    pub label: Option<Label>,
    /// 0 where a token is padding.
    pub attention_mask: Option<Vec<i64>>,
    /// The part of the text that each token is in.
    pub token_type_ids: Option<Vec<i64>>,
}

impl Row {
    /// Recognises the row by its keys. A row of several kinds is the first of: tokenized, messages, prompt and completion,
    /// instruction, text; for `SEQ_CLS` of tokenized, text. A key with a null value counts as missing, and keys that no
    /// kind has are ignored.
    ///
    /// # Errors
    /// [`DataError::UnknownRow`], [`DataError::MissingKey`], [`DataError::WrongType`] and those of [`Conversation::new`].
    pub fn from_object(mut object: Map<String, Value>, task: Task) -> Result<Self, DataError> {
        object.retain(|_, value| !value.is_null());
        let has = |key: &str| object.contains_key(key);
        let generates = matches!(task, Task::CausalLm | Task::Seq2SeqLm);
        if task == Task::ImageClassification {
            match has("image") {
                true => {
                    Ok(Self::Image { path: text(&mut object, "image", "label")?, label: label(&mut object, "label")? })
                }
                false => Err(DataError::UnknownRow { keys: object.keys().cloned().collect(), task }),
            }
        } else if has("input_ids") {
            Self::tokenized(object)
        } else if generates && has("messages") {
            let tools = object.remove("tools");
            Ok(Self::Messages(Conversation::new("messages", list(&mut object, "messages")?, tools)?))
        } else if generates && (has("prompt") || has("completion")) {
            Self::completion(object)
        } else if generates && has("instruction") {
            let instruction = text(&mut object, "instruction", "instruction")?;
            let input =
                if object.contains_key("input") { text(&mut object, "input", "instruction")? } else { String::new() };
            let completion = text(&mut object, "output", "instruction")?;
            Ok(Self::Completion { prompt: alpaca_prompt(&instruction, &input), completion })
        } else if has("text") && matches!(task, Task::CausalLm | Task::SequenceClassification | Task::FeatureExtraction)
        {
            let label = if task == Task::SequenceClassification { label(&mut object, "label")? } else { None };
            let has_pair = task != Task::CausalLm && object.contains_key("text_pair");
            let pair = has_pair.then(|| text(&mut object, "text_pair", "text")).transpose()?;
            Ok(Self::Text { text: text(&mut object, "text", "text")?, pair, label })
        } else if has("tokens") && task == Task::TokenClassification {
            Self::words(object)
        } else {
            Err(DataError::UnknownRow { keys: object.keys().cloned().collect(), task })
        }
    }

    /// The key that it was recognised by.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Completion { .. } | Self::Turns { .. } => "prompt",
            Self::Messages(_) => "messages",
            Self::Words { .. } => "tokens",
            Self::Tokenized(_) => "input_ids",
            Self::Image { .. } => "image",
        }
    }

    fn tokenized(mut object: Map<String, Value>) -> Result<Self, DataError> {
        let input_ids = integers(&mut object, "input_ids")?.unwrap_or_default();
        let attention_mask = integers(&mut object, "attention_mask")?;
        // Hugging Face's collators rename `label` to `labels`, also where it is one class.
        let (labels, label) = match object.get("labels") {
            Some(Value::Array(_)) => (integers(&mut object, "labels")?, label(&mut object, "label")?),
            Some(_) => (None, label(&mut object, "labels")?),
            None => (None, label(&mut object, "label")?),
        };
        let token_type_ids = integers(&mut object, "token_type_ids")?;
        Ok(Self::Tokenized(TokenizedRow { input_ids, labels, label, attention_mask, token_type_ids }))
    }

    fn words(mut object: Map<String, Value>) -> Result<Self, DataError> {
        let word = |(index, value)| match value {
            Value::String(word) => Ok(word),
            other => Err(element("tokens", index, "a string", &other)),
        };
        let words = values(&mut object, "tokens", "a list of words")?.into_iter().enumerate().map(word);
        let words = words.collect::<Result<_, _>>()?;
        let key = if object.contains_key("tags") { "tags" } else { "labels" };
        if !object.contains_key(key) {
            return Err(DataError::MissingKey { key: "tags", beside: "tokens" });
        }
        let class = |(index, value): (usize, Value)| match (value.as_i64(), value) {
            (Some(id), _) => Ok(Label::Id(id)),
            (None, Value::String(name)) => Ok(Label::Name(name)),
            (None, other) => Err(element(key, index, EXPECTED_LABEL, &other)),
        };
        let labels = values(&mut object, key, "a list of classes")?.into_iter().enumerate().map(class);
        Ok(Self::Words { words, labels: labels.collect::<Result<_, _>>()? })
    }

    fn completion(mut object: Map<String, Value>) -> Result<Self, DataError> {
        for (key, beside) in [("completion", "prompt"), ("prompt", "completion")] {
            if !object.contains_key(key) {
                return Err(DataError::MissingKey { key, beside });
            }
        }
        match (&object["prompt"], &object["completion"]) {
            (Value::Array(_), Value::Array(_)) => {
                let tools = object.remove("tools");
                let prompt = Conversation::new("prompt", list(&mut object, "prompt")?, tools)?;
                let completion = Conversation::new("completion", list(&mut object, "completion")?, None)?;
                let length = prompt.len();
                Ok(Self::Turns { conversation: prompt.followed_by(completion), prompt: length })
            }
            (Value::Array(_), other) => {
                let expected = "a list of messages, as `prompt` is";
                Err(DataError::WrongType { key: "completion", expected, got: kind(other) })
            }
            _ => Ok(Self::Completion {
                prompt: text(&mut object, "prompt", "completion")?,
                completion: text(&mut object, "completion", "prompt")?,
            }),
        }
    }
}

/// The prompt of an `{"instruction", "input", "output"}` row: Alpaca's headings, without its introductory sentence. The
/// part about the input is left out where the input is empty.
///
/// ```text
/// ### Instruction:
/// {instruction}
///
/// ### Input:
/// {input}
///
/// ### Response:
/// ```
pub fn alpaca_prompt(instruction: &str, input: &str) -> String {
    let input = if input.trim().is_empty() { String::new() } else { format!("### Input:\n{input}\n\n") };
    format!("### Instruction:\n{instruction}\n\n{input}### Response:\n")
}

pub(crate) fn text(
    object: &mut Map<String, Value>,
    key: &'static str,
    beside: &'static str,
) -> Result<String, DataError> {
    match object.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(DataError::WrongType { key, expected: "a string", got: kind(&other) }),
        None => Err(DataError::MissingKey { key, beside }),
    }
}

fn list(object: &mut Map<String, Value>, key: &'static str) -> Result<Vec<Value>, DataError> {
    values(object, key, "a list of messages")
}

fn values(object: &mut Map<String, Value>, key: &'static str, expected: &'static str) -> Result<Vec<Value>, DataError> {
    match object.remove(key) {
        Some(Value::Array(values)) => Ok(values),
        Some(other) => Err(DataError::WrongType { key, expected, got: kind(&other) }),
        None => Ok(Vec::new()),
    }
}

/// What a `label` may be.
pub(crate) const EXPECTED_LABEL: &str = "a class number or a class name";

fn label(object: &mut Map<String, Value>, key: &'static str) -> Result<Option<Label>, DataError> {
    let expected = EXPECTED_LABEL;
    match object.remove(key) {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(Label::Name(name))),
        Some(value) => match (value.as_i64(), value.as_f64()) {
            (Some(id), _) => Ok(Some(Label::Id(id))),
            (None, Some(number)) => Ok(Some(Label::Value(number))),
            (None, None) => Err(DataError::WrongType { key, expected, got: kind(&value) }),
        },
    }
}

fn integers(object: &mut Map<String, Value>, key: &'static str) -> Result<Option<Vec<i64>>, DataError> {
    if !object.contains_key(key) {
        return Ok(None);
    }
    let integer =
        |(index, value): (usize, &Value)| value.as_i64().ok_or_else(|| element(key, index, "an integer", value));
    values(object, key, "a list of integers")?.iter().enumerate().map(integer).collect::<Result<_, _>>().map(Some)
}

fn element(key: &'static str, index: usize, expected: &str, got: &Value) -> DataError {
    let got = if got.is_number() { got.to_string() } else { kind(got).to_owned() };
    DataError::Element { key, index, expected: expected.to_owned(), got }
}

/// What a JSON value is, in words.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value, task: Task) -> Result<Row, DataError> {
        let Value::Object(object) = value else { unreachable!() };
        Row::from_object(object, task)
    }

    fn causal(value: Value) -> Row {
        row(value, Task::CausalLm).unwrap()
    }

    #[test]
    fn kinds_are_told_by_their_keys() {
        assert!(matches!(causal(json!({"text": "a", "id": 3})), Row::Text { label: None, .. }));
        assert!(matches!(causal(json!({"prompt": "a", "completion": "b"})), Row::Completion { .. }));
        let message = json!([{"role": "user", "content": "hi"}]);
        assert!(matches!(causal(json!({"messages": message, "prompt": "hi"})), Row::Messages(_)));
        let turns = causal(json!({"prompt": message, "completion": [{"role": "assistant", "content": "x"}]}));
        assert!(matches!(turns, Row::Turns { prompt: 1, .. }));
        let Row::Completion { prompt, completion } =
            causal(json!({"instruction": "do", "output": "done", "text": "all"}))
        else {
            panic!("an instruction is a completion")
        };
        assert_eq!((prompt.as_str(), completion.as_str()), ("### Instruction:\ndo\n\n### Response:\n", "done"));
        assert!(alpaca_prompt("do", "this").contains("\n\n### Input:\nthis\n\n### Response:\n"));
        let tokens = causal(json!({"input_ids": [1, 2], "labels": [1, -100], "attention_mask": null}));
        let Row::Tokenized(TokenizedRow { input_ids, labels, attention_mask, .. }) = tokens else {
            panic!("tokenized")
        };
        assert_eq!((input_ids, labels, attention_mask), (vec![1, 2], Some(vec![1, -100]), None));
    }

    #[test]
    fn words_have_classes() {
        let of = |value| match row(value, Task::TokenClassification).unwrap() {
            Row::Words { words, labels } => (words.len(), labels),
            _ => panic!("words"),
        };
        let names = vec![Label::Name("O".to_owned()), Label::Id(-100)];
        assert_eq!(of(json!({"tokens": ["a", "b"], "tags": ["O", -100], "text": "ab"})), (2, names));
        assert_eq!(of(json!({"tokens": ["a"], "labels": [1]})), (1, vec![Label::Id(1)]));
        let pair = row(json!({"text": "a", "text_pair": "b", "label": 0}), Task::SequenceClassification).unwrap();
        assert!(matches!(pair, Row::Text { pair: Some(pair), .. } if pair == "b"));
    }

    #[test]
    fn a_class_is_a_number_or_a_name() {
        let of = |value| match row(value, Task::SequenceClassification).unwrap() {
            Row::Text { label, .. } | Row::Tokenized(TokenizedRow { label, .. }) => label,
            _ => None,
        };
        assert_eq!(of(json!({"text": "a", "label": 1})), Some(Label::Id(1)));
        assert_eq!(of(json!({"text": "a", "label": "spam", "prompt": "b"})), Some(Label::Name("spam".to_owned())));
        assert_eq!(of(json!({"input_ids": [1], "labels": 0})), Some(Label::Id(0)));
    }

    #[test]
    fn faults_name_the_key() {
        let message = |value| row(value, Task::CausalLm).unwrap_err().to_string();
        assert!(message(json!({"texts": "a"})).contains("`texts`"));
        assert!(message(json!({})).contains("(none)"));
        assert_eq!(message(json!({"prompt": "a"})), "the row has `prompt` and no `completion`");
        assert_eq!(message(json!({"completion": "a", "prompt": null})), "the row has `completion` and no `prompt`");
        assert_eq!(message(json!({"instruction": "a"})), "the row has `instruction` and no `output`");
        assert_eq!(message(json!({"text": 3})), "`text` is a number, expected a string");
        assert!(message(json!({"prompt": [], "completion": "x"})).contains("`completion` is a string"));
        assert!(message(json!({"prompt": "x", "completion": []})).contains("`completion` is a list"));
        assert!(message(json!({"messages": "hi"})).contains("`messages` is a string"));
        assert!(message(json!({"input_ids": [1, 2.5]})).contains("element 1 of `input_ids` is 2.5"));
        assert!(message(json!({"input_ids": ["1"]})).contains("element 0 of `input_ids` is a string"));
        let text = row(json!({"text": "a", "label": [0]}), Task::SequenceClassification).unwrap_err().to_string();
        assert!(text.contains("`label` is a list"), "{text}");
        let text = row(json!({"text": "a"}), Task::TokenClassification).unwrap_err().to_string();
        assert!(text.contains("TOKEN_CLS") && text.contains("{input_ids, labels}"), "{text}");
        let words = |value| row(value, Task::TokenClassification).unwrap_err().to_string();
        assert_eq!(words(json!({"tokens": ["a"]})), "the row has `tokens` and no `tags`");
        assert!(words(json!({"tokens": ["a", 3], "tags": [0]})).contains("element 1 of `tokens` is 3"));
        assert!(words(json!({"tokens": ["a"], "labels": [[]]})).contains("element 0 of `labels` is a list"));
    }
}
