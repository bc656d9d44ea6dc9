//! A tokenizer small enough to read, for tests.

use std::path::Path;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::Tokenizer;

/// Ids of the special tokens; the 256 bytes follow from 3 on.
pub(crate) const BOS: u32 = 0;
pub(crate) const EOS: u32 = 1;
pub(crate) const FIRST_BYTE: u32 = 3;
/// `<s>`, `</s>`, `<|x|>` and the bytes, in the order of their code points as byte-level vocabularies spell them, and `he`.
pub(crate) const VOCAB_SIZE: usize = 260;

/// A byte-level tokenizer with one merge, `h` and `e`, that puts `<s>` before a raw text.
pub(crate) fn tokenizer_json() -> Value {
    let mut vocab = Map::new();
    for (id, token) in ["<s>", "</s>", "<|x|>"].into_iter().enumerate() {
        vocab.insert(token.to_owned(), json!(id));
    }
    let mut alphabet: Vec<char> = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    for character in alphabet {
        let id = vocab.len();
        vocab.insert(character.to_string(), json!(id));
    }
    vocab.insert("he".to_owned(), json!(VOCAB_SIZE - 1));
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(0, "<s>"), special(1, "</s>"), special(2, "<|x|>")],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        },
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "vocab": vocab, "merges": ["h e"]},
    })
}

pub(crate) fn write_tokenizer(dir: &Path, tokenizer: &Value, config: &Value) {
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.join("tokenizer_config.json"), config.to_string()).unwrap();
}

/// The tokenizer in a directory of its own.
pub(crate) fn byte_tokenizer() -> (TempDir, Tokenizer) {
    let dir = tempfile::tempdir().unwrap();
    write_tokenizer(dir.path(), &tokenizer_json(), &json!({"bos_token": "<s>", "eos_token": "</s>"}));
    let tokenizer = Tokenizer::load(dir.path(), VOCAB_SIZE).unwrap();
    (dir, tokenizer)
}
