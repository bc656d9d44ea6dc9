//! Chat templates against transformers: `tests/data/templates/generate.py` rendered the same messages with Jinja itself.

use std::path::PathBuf;

use serde_json::Value;
use tunesmith_data::{ChatTemplate, Conversation, SpecialTokens};

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/templates")
}

fn document() -> Value {
    serde_json::from_str(&std::fs::read_to_string(directory().join("cases.json")).unwrap()).unwrap()
}

fn template(document: &Value, file: &str) -> ChatTemplate {
    let names = document["special_tokens"].as_object().unwrap();
    let names = names.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned())).collect();
    ChatTemplate::read(&directory().join(file), &SpecialTokens { names, ..SpecialTokens::default() }).unwrap()
}

fn conversation(case: &Value) -> Conversation {
    let messages = case["messages"].as_array().unwrap().clone();
    Conversation::new("messages", messages, Some(case["tools"].clone())).unwrap()
}

#[test]
fn every_text_is_the_one_that_transformers_renders() {
    let document = document();
    let mut rendered = 0;
    for case in document["cases"].as_array().unwrap() {
        let file = case["template"].as_str().unwrap();
        let name = format!("{file}, {}, {}", case["conversation"], case["add_generation_prompt"]);
        let add_generation_prompt = case["add_generation_prompt"].as_bool().unwrap();
        let text = template(&document, file).render(&conversation(case), add_generation_prompt);
        match (case["rendered"].as_str(), text) {
            (Some(expected), Ok(text)) => {
                assert_eq!(text, expected, "{name}");
                rendered += 1;
            }
            (None, Err(error)) => {
                // Errors of Python itself have other words.
                let expected = case["error"].as_str().unwrap();
                if !expected.starts_with("'dict object'") {
                    assert!(error.to_string().contains(expected), "{name}: {error}");
                }
            }
            (expected, text) => panic!("{name}: expected {expected:?}, got {text:?}"),
        }
    }
    assert!(rendered > 100, "{rendered} texts were compared");
}

#[test]
fn generation_blocks_are_the_spans_that_transformers_finds() {
    let document = document();
    let mut spans_seen = 0;
    for case in document["cases"].as_array().unwrap() {
        let (Some(spans), Some(false)) = (case["spans"].as_array(), case["add_generation_prompt"].as_bool()) else {
            continue;
        };
        let template = template(&document, case["template"].as_str().unwrap());
        let [rendered] = template.render_turns(&conversation(case)).unwrap().try_into().unwrap();
        assert_eq!(rendered.text, case["rendered"].as_str().unwrap());
        // Python counts characters.
        let characters = |end: usize| rendered.text[..end].chars().count() as u64;
        let got: Vec<_> = rendered.spans.iter().map(|span| [characters(span.start), characters(span.end)]).collect();
        let expected: Vec<_> = spans.iter().map(|span| [0, 1].map(|i| span[i].as_u64().unwrap())).collect();
        assert_eq!(got, expected, "{}", case["conversation"]);
        spans_seen += got.len();
    }
    assert!(spans_seen >= 8, "{spans_seen} spans were compared");
}

/// The trained parts of a conversation, one list for each text.
fn trained(file: &str, name: &str) -> Vec<Vec<String>> {
    let document = document();
    let case = document["cases"].as_array().unwrap().iter().find(|case| case["conversation"] == name).unwrap();
    let texts = template(&document, file).render_turns(&conversation(case)).unwrap();
    texts.iter().map(|rendered| rendered.spans.iter().map(|s| rendered.text[s.clone()].to_owned()).collect()).collect()
}

#[test]
fn turns_are_found_where_the_template_does_not_mark_them() {
    let last = "Là-bas,\n\n  à droite & \"ici\"";
    let both = |first: &str, end: &str| [[first.to_owned() + end, last.to_owned() + end]];
    assert_eq!(trained("llama3.jinja", "multi"), both("Hello!", "<|eot_id|>"));
    assert_eq!(trained("qwen2.jinja", "multi"), both("Hello!", "<|im_end|>\n"));
    assert_eq!(trained("gemma.jinja", "multi"), both("Hello!", "<end_of_turn>\n"));
    assert_eq!(trained("mistral.jinja", "multi"), [[" Hello!</s>".to_owned(), format!(" {last}</s>")]]);
    assert_eq!(trained("llama3.jinja", "open"), [["Hello!<|eot_id|>"]]);
    // A turn that goes on otherwise than the generation prompt begins where they part.
    assert_eq!(trained("qwen2.jinja", "tool")[0][0].lines().next(), Some("<tool_call>"));
    // A question alone is one text with nothing to train on.
    assert_eq!(trained("llama3.jinja", "question"), [Vec::<String>::new()]);
}

#[test]
fn a_template_that_renders_the_past_differently_gives_one_text_a_turn() {
    // Phi-3 ends the whole with a token, Qwen3 drops earlier reasoning.
    let last = "Là-bas,\n\n  à droite & \"ici\"<|end|>\n</s>";
    assert_eq!(trained("phi3.jinja", "multi"), [["Hello!<|end|>\n</s>"], [last]]);
    assert_eq!(trained("phi3.jinja", "single"), [[" Four. <|end|>\n</s>"]]);
    let turns = ["<think>\nadd\n</think>\n\nFour<|im_end|>\n", "<think>\nadd again\n</think>\n\nSix<|im_end|>\n"];
    assert_eq!(trained("qwen3.jinja", "thinking"), turns.map(|turn| [turn]));
}
