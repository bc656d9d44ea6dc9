//! Messages, as a chat template reads them.

use minijinja::value::Serde;
use serde_json::{Map, Value};

use crate::DataError;
use crate::chat::MARKS;
use crate::row::kind;

/// The names under which a message's reasoning is given. Templates read the first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A list of messages, at least one, each an object with a `role`.
///
/// As in transformers, keys with a null value are dropped, and reasoning given as `thinking` or `reasoning` is also
/// readable as `reasoning_content`. Everything else of a message reaches the template as it is.
#[derive(Clone, Debug)]
pub struct Conversation {
    roles: Vec<String>,
    messages: Vec<minijinja::Value>,
    tools: Option<minijinja::Value>,
    /// A character in a message that marks generation blocks.
    reserved: Option<char>,
}

impl Conversation {
    /// Checks `messages`; `key` names them in errors. `tools` are the JSON schemas of functions that the assistant may call.
    ///
    /// # Errors
    /// [`DataError::NoMessages`], [`DataError::Message`].
    pub fn new(key: &'static str, messages: Vec<Value>, tools: Option<Value>) -> Result<Self, DataError> {
        if messages.is_empty() {
            return Err(DataError::NoMessages { key });
        }
        let mut roles = Vec::with_capacity(messages.len());
        let mut values = Vec::with_capacity(messages.len());
        let mut reserved = None;
        for (index, message) in messages.into_iter().enumerate() {
            let Value::Object(message) = message else {
                return Err(DataError::Message { key, index, reason: format!("is {}, not an object", kind(&message)) });
            };
            match message.get("role") {
                Some(Value::String(role)) => roles.push(role.clone()),
                Some(other) => {
                    return Err(DataError::Message {
                        key,
                        index,
                        reason: format!("has a `role` that is {}", kind(other)),
                    });
                }
                None => return Err(DataError::Message { key, index, reason: "has no `role`".to_owned() }),
            }
            let message = Value::Object(tidied(message));
            reserved = reserved.or_else(|| find(&message, &MARKS));
            values.push(minijinja::Value::from(Serde(message)));
        }
        let tools = tools.filter(|tools| !tools.is_null()).map(|tools| minijinja::Value::from(Serde(tools)));
        Ok(Self { roles, messages: values, tools, reserved })
    }

    /// This conversation with `more` after it.
    pub(crate) fn followed_by(mut self, more: Self) -> Self {
        self.roles.extend(more.roles);
        self.messages.extend(more.messages);
        self.reserved = self.reserved.or(more.reserved);
        self
    }

    /// How many messages there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a conversation has at least one message")]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn messages(&self) -> &[minijinja::Value] {
        &self.messages
    }

    pub(crate) fn tools(&self) -> Option<&minijinja::Value> {
        self.tools.as_ref()
    }

    pub(crate) fn has_tools(&self) -> bool {
        self.tools.is_some()
    }

    /// The indices of the messages that the assistant wrote.
    pub(crate) fn assistant_turns(&self) -> impl Iterator<Item = usize> {
        self.roles.iter().enumerate().filter(|(_, role)| *role == "assistant").map(|(i, _)| i)
    }

    /// A character in a message that marks generation blocks.
    pub(crate) fn reserved_character(&self) -> Option<char> {
        self.reserved
    }
}

/// The first of `characters` in a text within `value`.
fn find(value: &Value, characters: &[char]) -> Option<char> {
    match value {
        Value::String(text) => text.chars().find(|c| characters.contains(c)),
        Value::Array(values) => values.iter().find_map(|value| find(value, characters)),
        Value::Object(object) => object.values().find_map(|value| find(value, characters)),
        _ => None,
    }
}

/// A message as transformers hands it to a template.
fn tidied(mut message: Map<String, Value>) -> Map<String, Value> {
    message.retain(|_, value| !value.is_null());
    if let Some(reasoning) = REASONING.iter().find_map(|name| message.get(*name)).cloned() {
        message.entry("thinking").or_insert_with(|| reasoning.clone());
        message.insert(REASONING[0].to_owned(), reasoning);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(messages: Value) -> String {
        let Value::Array(messages) = messages else { unreachable!() };
        Conversation::new("messages", messages, None).unwrap_err().to_string()
    }

    #[test]
    fn faults_name_the_message() {
        assert!(message(json!([])).contains("`messages`"));
        assert!(message(json!(["hello"])).contains("message 0 of `messages` is a string"));
        assert!(message(json!([{"role": "user"}, {"content": "x"}])).contains("message 1 of `messages` has no `role`"));
        assert!(message(json!([{"role": 3}])).contains("`role` that is a number"));
    }

    #[test]
    fn null_is_dropped_and_reasoning_has_its_standard_name() {
        let Value::Object(given) = json!({"role": "assistant", "content": null, "thinking": "hm"}) else {
            unreachable!()
        };
        let expected = json!({"role": "assistant", "thinking": "hm", "reasoning_content": "hm"});
        assert_eq!(Value::Object(tidied(given)), expected);
    }
}
