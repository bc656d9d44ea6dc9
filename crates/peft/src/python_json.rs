//! JSON as Python's `json.dumps(value, indent=2, sort_keys=True)` writes it, byte for byte.

use std::fmt::Write;

use serde_json::Value;

/// The text, without a newline at its end, as PEFT leaves it.
pub fn dumps(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, 0);
    text
}

fn write_value(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => text.push_str(&float_repr(float)),
            None => text.push_str(&number.to_string()),
        },
        Value::String(value) => write_string(text, value),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| (None, item)).collect();
            write_items(text, ['[', ']'], &items, depth);
        }
        Value::Object(map) => {
            let mut items: Vec<_> = map.iter().map(|(key, item)| (Some(key.as_str()), item)).collect();
            // Python compares code points, Rust bytes of UTF-8: the order is the same.
            items.sort_by_key(|(key, _)| *key);
            write_items(text, ['{', '}'], &items, depth);
        }
    }
}

fn write_items(text: &mut String, [open, close]: [char; 2], items: &[(Option<&str>, &Value)], depth: usize) {
    text.push(open);
    for (i, (key, item)) in items.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        indent(text, depth + 1);
        if let Some(key) = key {
            write_string(text, key);
            text.push_str(": ");
        }
        write_value(text, item, depth + 1);
    }
    if !items.is_empty() {
        text.push('\n');
        indent(text, depth);
    }
    text.push(close);
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// With `ensure_ascii`: everything beyond ASCII as UTF-16 escapes.
fn write_string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='\u{7f}' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}

/// Python's `repr` of a float: the shortest digits that read back the same, with an exponent of at least two digits
/// below 1e-4 and from 1e16 on.
fn float_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (8.0, "8.0"),
            (0.05, "0.05"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.2345e100, "1.2345e+100"),
            (0.1 + 0.2, "0.30000000000000004"),
        ];
        for (value, text) in cases {
            assert_eq!(float_repr(value), text);
        }
    }

    #[test]
    fn objects_are_sorted_and_text_is_ascii() {
        let value = json!({"b": [], "a": {"y": [1, "ä\n\u{1F600}\u{7f}\u{1}"], "x": {}}, "c": null, "d": true});
        let text = r#"{
  "a": {
    "x": {},
    "y": [
      1,
      "\u00e4\n\ud83d\ude00DEL\u0001"
    ]
  },
  "b": [],
  "c": null,
  "d": true
}"#;
        assert_eq!(dumps(&value), text.replace("DEL", "\u{7f}"));
    }
}
