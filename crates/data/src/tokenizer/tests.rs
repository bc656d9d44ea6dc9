use serde_json::json;

use crate::testing::{BOS, EOS, FIRST_BYTE, VOCAB_SIZE, byte_tokenizer, tokenizer_json, write_tokenizer};
use crate::{DataError, Tokenizer};

/// `!` is the first of the byte tokens.
fn byte(c: char) -> u32 {
    FIRST_BYTE + c as u32 - '!' as u32
}

#[test]
fn raw_text_has_the_special_tokens_of_the_post_processor_and_rendered_text_its_own() {
    let (_dir, tokenizer) = byte_tokenizer();
    let he = VOCAB_SIZE as u32 - 1;
    assert_eq!(tokenizer.encode("hex", true).unwrap(), [BOS, he, byte('x')]);
    assert_eq!(tokenizer.encode("hex", false).unwrap(), [he, byte('x')]);
    // No doubled beginning: a template spelled it out.
    assert_eq!(tokenizer.encode("<s>hex</s>", false).unwrap(), [BOS, he, byte('x'), EOS]);
}

#[test]
fn text_survives_and_special_tokens_are_shown_if_asked() {
    let (_dir, tokenizer) = byte_tokenizer();
    let ids = tokenizer.encode("h\u{e9} \u{1f600}\n</s>", true).unwrap();
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "h\u{e9} \u{1f600}\n");
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "<s>h\u{e9} \u{1f600}\n</s>");
}

#[test]
fn truncation_keeps_the_special_tokens() {
    let (_dir, tokenizer) = byte_tokenizer();
    let bytes = ['a', 'b', 'c'].map(byte);
    assert_eq!(tokenizer.encode_truncated("abc", 3).unwrap(), (vec![BOS, bytes[0], bytes[1]], true));
    assert_eq!(tokenizer.encode_truncated("abc", 4).unwrap(), ([&[BOS][..], &bytes].concat(), false));
    assert_eq!(tokenizer.encode_truncated("abc", 1).unwrap(), (vec![BOS], true));
}

#[test]
fn truncation_and_padding_of_the_file_have_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = tokenizer_json();
    file["truncation"] = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                             "pad_type_id": 0, "pad_token": "<s>"});
    write_tokenizer(dir.path(), &file, &json!({}));
    let tokenizer = Tokenizer::load(dir.path(), VOCAB_SIZE).unwrap();
    assert_eq!(tokenizer.encode("abcd", true).unwrap().len(), 5);
}

#[test]
fn a_token_beyond_the_embedding_is_refused_where_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = tokenizer_json();
    let mut beyond = file["added_tokens"][2].clone();
    beyond["id"] = json!(VOCAB_SIZE);
    beyond["content"] = json!("<image>");
    file["added_tokens"].as_array_mut().unwrap().push(beyond);
    write_tokenizer(dir.path(), &file, &json!({}));
    let tokenizer = Tokenizer::load(dir.path(), VOCAB_SIZE).unwrap();
    assert!(tokenizer.encode("text", true).is_ok());
    let error = tokenizer.encode("an <image>", true).unwrap_err();
    assert!(matches!(error, DataError::TokenOutOfRange { id: 260, vocab_size: VOCAB_SIZE }), "{error}");
    assert!(matches!(Tokenizer::load(dir.path(), 100), Err(DataError::Vocabulary { vocab_size: 100, .. })));
}
