//! Tokenizer files made to break the program: an error that names the file, and no panic text.

use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tunesmith_data::{DataError, Tokenizer};

/// Panics that reached the process's hook.
static SHOWN: AtomicUsize = AtomicUsize::new(0);

/// Counts panics that are shown, from before the first guarded call on.
fn count_panics() {
    static COUNT: Once = Once::new();
    COUNT.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            SHOWN.fetch_add(1, Ordering::SeqCst);
            eprintln!("{info}");
        }));
    });
}

/// A whole tokenizer of three tokens.
fn sound() -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "vocab": {"h": 0, "e": 1, "he": 2}, "merges": ["h e"]},
    })
}

/// The sound tokenizer with `value` in place of what is at `pointer`.
fn with(pointer: &str, value: Value) -> String {
    let mut tokenizer = sound();
    *tokenizer.pointer_mut(pointer).unwrap() = value;
    tokenizer.to_string()
}

fn load(content: &str) -> Result<Tokenizer, DataError> {
    count_panics();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), content).unwrap();
    Tokenizer::load(dir.path(), 100)
}

#[test]
fn crafted_files_are_errors_or_harmless() {
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let template = |special: Value| {
        json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}],
               "pair": [], "special_tokens": special})
    };
    let unigram = json!({"type": "Unigram", "unk_id": 7, "vocab": [["a", -1.0]], "byte_fallback": false});
    let word_piece = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                            "max_input_chars_per_word": 100, "vocab": {}});
    let files = [
        ("not JSON", "{".to_owned()),
        ("an empty object", "{}".to_owned()),
        ("a list", "[]".to_owned()),
        ("a merge of unknown tokens", with("/model/merges", json!(["x y"]))),
        ("a merge to an unknown token", with("/model/merges", json!(["e h"]))),
        ("a merge of one token", with("/model/merges", json!(["h"]))),
        ("merges without end", with("/model/merges", json!(vec!["h e"; 100_000]))),
        ("a prefix longer than its tokens", with("/model/continuing_subword_prefix", json!("####"))),
        ("an id beyond 32 bits", with("/model/vocab", json!({"h": 4_294_967_296u64}))),
        ("dropout of everything", with("/model/dropout", json!(7.5))),
        ("an unknown token that is none", with("/model/unk_token", json!("[UNK]"))),
        ("a unigram without its unknown", with("/model", unigram)),
        ("word pieces without any", with("/model", word_piece)),
        ("pieces of length 0", with("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}))),
        (
            "a broken character map",
            with("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA/w=="})),
        ),
        ("a character map of nothing", with("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""}))),
        ("a stripping decoder", with("/decoder", json!({"type": "Strip", "content": "h", "start": 9, "stop": 9}))),
        ("a template of an unknown token", with("/post_processor", template(json!({})))),
        (
            "a template of no ids",
            with("/post_processor", template(json!({"[CLS]": {"id": "[CLS]", "ids": [], "tokens": ["[CLS]"]}}))),
        ),
        (
            "a template of another model's id",
            with("/post_processor", template(json!({"[CLS]": {"id": "[CLS]", "ids": [500], "tokens": ["[CLS]"]}}))),
        ),
        (
            "a stride beyond the length",
            with(
                "/truncation",
                json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5}),
            ),
        ),
        (
            "padding to an astronomic length",
            with(
                "/padding",
                json!({"strategy": {"Fixed": 1u64 << 40}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0,
                       "pad_type_id": 0, "pad_token": "h"}),
            ),
        ),
        ("a regular expression that is none", with("/pre_tokenizer", split("("))),
        ("a regular expression that blows up", with("/pre_tokenizer", split("(?=((h|e|l|o|he|el|ll|lo)+)+x)h"))),
        ("a regular expression of a huge repeat", with("/pre_tokenizer", split("(((h{1000}){1000}){1000}){1000}"))),
        (
            "nesting without end",
            with(
                "/normalizer",
                (0..100).fold(json!({"type": "NFC"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]})),
            ),
        ),
        (
            "an added token without text",
            with(
                "/added_tokens",
                json!([{"id": 3, "content": "", "special": true, "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false}]),
            ),
        ),
        ("an unknown kind", with("/normalizer", json!({"type": "Shell", "command": "true"}))),
    ];
    for (name, content) in &files {
        let begun = Instant::now();
        // Some are harmless once truncation and padding are ignored; none may take the process down.
        let outcome = load(content);
        if let Ok(tokenizer) = &outcome {
            let text = "he".repeat(10_000);
            let _ = tokenizer.encode(&text, true);
            let _ = tokenizer.decode(&[0, 1, 2, 99, u32::MAX], false);
        }
        if let Err(error) = &outcome {
            assert!(error.to_string().contains("tokenizer"), "{name}: {error}");
        }
        println!("{name}: {}", outcome.map_or_else(|error| error.to_string(), |_| "loads".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(20), "{name} took {:?}", begun.elapsed());
    }
    assert_eq!(SHOWN.load(Ordering::SeqCst), 0, "panics of the library were shown");
    // The hook is silent for guarded calls only.
    assert!(std::panic::catch_unwind(|| panic!("this one is to be seen")).is_err());
    assert_eq!(SHOWN.load(Ordering::SeqCst), 1);
}

#[test]
fn what_must_be_refused_is_refused() {
    assert!(load(&sound().to_string()).is_ok());
    let message = |content: &str| load(content).unwrap_err().to_string();
    assert!(message("{").contains("tokenizer.json: the tokenizer does not work"), "{}", message("{"));
    let zero = with("/pre_tokenizer", json!({"type": "FixedLength", "length": 0}));
    assert!(message(&zero).contains("does not work"));
    let many: serde_json::Map<String, Value> = (0..101).map(|i| (format!("t{i}"), json!(i))).collect();
    let mut large = sound();
    large["model"]["vocab"] = Value::Object(many);
    large["model"]["merges"] = json!([]);
    assert!(message(&large.to_string()).contains("has 101 tokens and the model's vocab_size is 100"));
    let missing = Tokenizer::load(Path::new("/nowhere"), 100).unwrap_err().to_string();
    assert!(missing.contains("/nowhere holds no tokenizer.json"), "{missing}");
}

#[test]
fn a_file_of_65_mb_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("tokenizer.json")).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    let error = Tokenizer::load(dir.path(), 100).unwrap_err().to_string();
    assert!(error.contains("67108865 bytes"), "{error}");
}
