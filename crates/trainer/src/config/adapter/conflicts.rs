//! Where settings and the adapter to go on from disagree.

use serde::Serialize;

/// A line for each key.
#[derive(Default)]
pub(super) struct Conflicts(Vec<String>);

impl Conflicts {
    /// Notes `key` if the value set is not the adapter's.
    pub(super) fn check<T: Serialize>(&mut self, key: &str, set: &T, adapter: &T) {
        let (set, adapter) = (shown(set), shown(adapter));
        if set != adapter {
            self.0.push(format!("adapter.{key} is {set}, and the adapter has {adapter}"));
        }
    }

    /// All lines, if there are any.
    pub(super) fn none(self) -> Result<(), Vec<String>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// As JSON, lists sorted: PEFT keeps names as sets and patterns by name.
fn shown(value: &impl Serialize) -> String {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    if let Some(items) = value.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
    value.to_string()
}
