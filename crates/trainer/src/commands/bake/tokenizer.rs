//! New tokens in `tokenizer.json`, before every text.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value, json};

/// Adds a special token for each of `ids`, which begin where the embedding ends, and one without use for each id that the
/// tokenizer leaves free before them. Returns the spellings of the new ones.
///
/// # Errors
/// A reason, if the file has ids beyond the embedding.
pub(super) fn add_tokens(tokenizer: &mut Value, ids: &Range<u32>) -> Result<Vec<String>, String> {
    let (taken, next) = vocabulary(tokenizer);
    if next > ids.start {
        return Err(format!(
            "it has tokens up to id {}, and the model's embedding ends at {}; remove those that the model lacks",
            next - 1,
            ids.start - 1
        ));
    }
    let spelling = |family: usize, index: u32| match family {
        1 => format!("<|prompt_{index}|>"),
        family => format!("<|prompt{family}_{index}|>"),
    };
    // A model may be baked twice.
    let family = (1..).find(|&family| !taken.contains(&spelling(family, 0))).unwrap_or(1);
    let tokens: Vec<String> = (0..ids.end - ids.start).map(|index| spelling(family, index)).collect();
    let unused = (next..ids.start).map(|id| (id, format!("<|unused_{id}|>")));
    let added = unused.chain(ids.clone().zip(tokens.iter().cloned())).map(|(id, content)| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
    });
    let added: Vec<Value> = added.collect();
    match tokenizer.get_mut("added_tokens").and_then(Value::as_array_mut) {
        Some(list) => list.extend(added),
        None => tokenizer["added_tokens"] = added.into(),
    }
    Ok(tokens)
}

/// The spellings that are taken, and the first id after all.
fn vocabulary(tokenizer: &Value) -> (BTreeSet<String>, u32) {
    let mut taken = BTreeSet::new();
    let mut next = 0;
    let mut add = |token: &str, id: u64| {
        taken.insert(token.to_owned());
        next = next.max(u32::try_from(id).unwrap_or(u32::MAX - 1) + 1);
    };
    match &tokenizer["model"]["vocab"] {
        Value::Object(vocab) => vocab.iter().for_each(|(token, id)| add(token, id.as_u64().unwrap_or(0))),
        // Unigram: pairs of a token and its score, by id.
        Value::Array(vocab) => vocab.iter().zip(0..).for_each(|(pair, id)| add(pair[0].as_str().unwrap_or(""), id)),
        _ => {}
    }
    for token in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        add(token["content"].as_str().unwrap_or(""), token["id"].as_u64().unwrap_or(0));
    }
    (taken, next)
}

/// Makes the post-processor put `tokens` before every text.
pub(super) fn prepend(tokenizer: &mut Value, tokens: &[String], ids: &Range<u32>) {
    let Some(key) = tokens.first().cloned() else { return };
    let special = json!({ "id": key, "ids": ids.clone().collect::<Vec<u32>>(), "tokens": tokens });
    let piece = json!({ "SpecialToken": { "id": key, "type_id": 0 } });
    let processor = tokenizer["post_processor"].take();
    tokenizer["post_processor"] = before(processor, &piece, &key, &special);
}

/// `processor` with `piece` in front.
fn before(mut processor: Value, piece: &Value, key: &str, special: &Value) -> Value {
    let text = |id: &str, type_id: u32| json!({ "Sequence": { "id": id, "type_id": type_id } });
    let template = || {
        json!({
            "type": "TemplateProcessing",
            "single": [piece, text("A", 0)],
            "pair": [piece, text("A", 0), text("B", 1)],
            "special_tokens": { key: special },
        })
    };
    match processor.get("type").and_then(Value::as_str) {
        None => template(),
        Some("TemplateProcessing") => {
            for part in ["single", "pair"] {
                if let Some(pieces) = processor.get_mut(part).and_then(Value::as_array_mut) {
                    pieces.insert(0, piece.clone());
                }
            }
            processor["special_tokens"][key] = special.clone();
            processor
        }
        Some("Sequence") => {
            if let Some(processors) = processor.get_mut("processors").and_then(Value::as_array_mut) {
                let is_template = |processor: &Value| processor["type"] == "TemplateProcessing";
                match processors.iter().position(is_template) {
                    Some(index) => processors[index] = before(processors[index].take(), piece, key, special),
                    None => processors.push(template()),
                }
            }
            processor
        }
        Some(_) => json!({ "type": "Sequence", "processors": [processor, template()] }),
    }
}

/// Makes `tokenizer_config.json` know the tokens. A class of transformers with a post-processor of its own, as Llama's, would
/// drop that of the file.
pub(super) fn declare(config: &mut Map<String, Value>, tokens: &[String], ids: &Range<u32>) {
    if config.contains_key("tokenizer_class") {
        config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    }
    if let Some(known) = config.get_mut("added_tokens_decoder").and_then(Value::as_object_mut) {
        for (id, token) in ids.clone().zip(tokens) {
            let entry = json!({ "content": token, "lstrip": false, "normalized": false, "rstrip": false,
                                "single_word": false, "special": true });
            known.insert(id.to_string(), entry);
        }
    }
}

/// Puts the prompt before what every template of a configuration renders.
pub(super) fn prepend_to_templates(config: &mut Map<String, Value>, prompt: &str) {
    match config.get_mut("chat_template") {
        Some(Value::String(template)) => *template = with_prompt(template, prompt),
        Some(Value::Array(named)) => {
            for template in named.iter_mut().filter_map(|entry| entry.get_mut("template")) {
                if let Value::String(template) = template {
                    *template = with_prompt(template, prompt);
                }
            }
        }
        _ => {}
    }
}

/// A template that renders the prompt first.
pub(super) fn with_prompt(template: &str, prompt: &str) -> String {
    format!("{{{{ '{prompt}' }}}}{template}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(post_processor: Value) -> Value {
        json!({
            "added_tokens": [{ "id": 2, "content": "<s>" }],
            "model": { "vocab": { "a": 0, "b": 1 } },
            "post_processor": post_processor,
        })
    }

    #[test]
    fn tokens_come_after_the_embedding() {
        let mut json = tokenizer(Value::Null);
        assert_eq!(add_tokens(&mut json, &(5..7)).unwrap(), ["<|prompt_0|>", "<|prompt_1|>"]);
        let added: Vec<(u64, &str)> = json["added_tokens"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| (token["id"].as_u64().unwrap(), token["content"].as_str().unwrap()))
            .collect();
        let unused = [(3, "<|unused_3|>"), (4, "<|unused_4|>")];
        assert_eq!(added[1..], [unused[0], unused[1], (5, "<|prompt_0|>"), (6, "<|prompt_1|>")]);
        assert_eq!(add_tokens(&mut json, &(7..8)).unwrap(), ["<|prompt2_0|>"]);
        assert!(add_tokens(&mut json, &(4..5)).unwrap_err().contains("tokens up to id 7"));
        let unigram = json!({ "model": { "vocab": [["a", -1.0], ["b", -2.0]] } });
        assert_eq!(vocabulary(&unigram).1, 2);
    }

    #[test]
    fn every_post_processor_begins_with_the_prompt() {
        let tokens = ["<|prompt_0|>".to_owned(), "<|prompt_1|>".to_owned()];
        let of = |processor: Value| {
            let mut json = tokenizer(processor);
            prepend(&mut json, &tokens, &(5..7));
            json["post_processor"].clone()
        };
        let bos = json!({ "SpecialToken": { "id": "<s>", "type_id": 0 } });
        let template = json!({ "type": "TemplateProcessing", "single": [bos], "pair": [bos], "special_tokens": {} });
        let piece = json!({ "SpecialToken": { "id": "<|prompt_0|>", "type_id": 0 } });
        let made = of(Value::Null);
        assert_eq!((&made["type"], &made["single"][0]), (&json!("TemplateProcessing"), &piece));
        assert_eq!(made["special_tokens"]["<|prompt_0|>"]["ids"], json!([5, 6]));
        let grown = of(template.clone());
        assert_eq!(grown["single"], json!([piece, bos]));
        assert_eq!(grown["pair"], json!([piece, bos]));
        let bytes = json!({ "type": "ByteLevel" });
        let sequence = of(json!({ "type": "Sequence", "processors": [bytes, template] }));
        assert_eq!(sequence["processors"][1]["single"], json!([piece, bos]));
        assert_eq!(of(bytes.clone())["processors"][0], bytes);
        assert_eq!(of(json!({ "type": "Sequence", "processors": [bytes] }))["processors"][1]["single"][0], piece);
    }

    #[test]
    fn templates_render_the_prompt_first() {
        let mut config =
            json!({ "chat_template": [{ "name": "default", "template": "{{ x }}" }], "tokenizer_class": "L" });
        let config = config.as_object_mut().unwrap();
        prepend_to_templates(config, "<|p|>");
        assert_eq!(config["chat_template"][0]["template"], "{{ '<|p|>' }}{{ x }}");
        declare(config, &[], &(0..0));
        assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    }
}
