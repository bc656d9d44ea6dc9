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

/// Ids and words recorded of transformers' `RobertaTokenizer` over the same file, as `run_ner.py` loads it
/// (`add_prefix_space=True`) and calls it (`is_split_into_words=True`).
#[test]
fn words_of_a_byte_level_vocabulary_begin_with_a_space() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = tokenizer_json();
    let space_he = VOCAB_SIZE as u32;
    file["model"]["vocab"]["\u{120}he"] = json!(space_he);
    file["model"]["merges"] = json!(["h e", "\u{120} he"]);
    file["post_processor"] = json!({"type": "RobertaProcessing", "sep": ["</s>", EOS], "cls": ["<s>", BOS],
                                    "trim_offsets": true, "add_prefix_space": false});
    write_tokenizer(dir.path(), &file, &json!({}));
    let tokenizer = Tokenizer::load(dir.path(), VOCAB_SIZE + 1).unwrap();
    let encoded = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let cut = tokenizer.encode_words(&words, 32).unwrap();
        (cut.ids, cut.words)
    };
    let (space, x) = (223, byte('x'));
    assert_eq!(
        encoded(&["he", "hex", " he", "x<s>he"]),
        (
            vec![BOS, space_he, space_he, x, space_he, space, x, BOS, space_he, EOS],
            vec![None, Some(0), Some(1), Some(1), Some(2), Some(3), Some(3), Some(3), Some(3), None]
        )
    );
    assert_eq!(
        encoded(&["a", "", "he"]),
        (vec![BOS, space, byte('a'), space_he, EOS], vec![None, Some(0), Some(0), Some(2), None])
    );
    // A text is encoded as it stands.
    assert_eq!(tokenizer.encode("he he", true).unwrap(), [BOS, VOCAB_SIZE as u32 - 1, space_he, EOS]);
}
