use serde_json::{Value, json};

use super::{Encoded, Encoder};
use crate::testing::{BOS, EOS, FIRST_BYTE, VOCAB_SIZE, byte_tokenizer};
use crate::{ChatTemplate, DataError, DataOptions, Row, SpecialTokens, Task, Tokenizer};

const CHAT: &str = "{{ bos_token }}{% for m in messages %}\
    <|x|>{{ m.role[0] }}:{{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}\
    {% endfor %}{% if add_generation_prompt %}<|x|>a:{% endif %}";

fn options(task: Task) -> DataOptions {
    DataOptions { task, num_labels: 3, ..DataOptions::new(VOCAB_SIZE) }
}

fn rows(row: Value, options: &DataOptions) -> Result<Vec<Encoded>, DataError> {
    let (_dir, tokenizer) = byte_tokenizer();
    let template = ChatTemplate::parse(CHAT, tokenizer.special_tokens()).unwrap();
    let encoder = Encoder { tokenizer: Some(&tokenizer), template: Some(&template), options };
    let Value::Object(object) = row else { unreachable!() };
    encoder.encode(Row::from_object(object, options.task)?)
}

fn one(row: Value, options: &DataOptions) -> Encoded {
    let [encoded] = rows(row, options).unwrap().try_into().unwrap();
    encoded
}

/// The example as text, trained tokens in upper case: the vocabulary's letters are bytes.
fn shown(encoded: &Encoded, tokenizer: &Tokenizer) -> String {
    let example = &encoded.example;
    assert_eq!(example.input_ids.len(), example.labels.len());
    let token = |(&id, &label): (&u32, &i64)| {
        let text = tokenizer.decode(&[id], false).unwrap();
        assert!(label == -100 || label == i64::from(id));
        if label == -100 { text } else { text.to_uppercase() }
    };
    example.input_ids.iter().zip(&example.labels).map(token).collect()
}

fn causal(row: Value) -> String {
    causal_with(row, &options(Task::CausalLm))
}

fn causal_with(row: Value, options: &DataOptions) -> String {
    shown(&one(row, options), &byte_tokenizer().1)
}

fn error(row: Value, task: Task) -> String {
    rows(row, &options(task)).unwrap_err().to_string()
}

#[test]
fn text_is_trained_on_and_ends_once() {
    assert_eq!(causal(json!({"text": "abc"})), "<S>ABC</S>");
    assert_eq!(causal(json!({"text": "abc</s>"})), "<S>ABC</S>");
    assert_eq!(causal(json!({"text": ""})), "<S></S>");
}

#[test]
fn only_the_completion_is_trained_on() {
    let row = json!({"prompt": "ab", "completion": " cd"});
    assert_eq!(causal(row.clone()), "<s>ab CD</S>");
    assert_eq!(causal(json!({"prompt": "ab", "completion": "cd</s>"})), "<s>abCD</S>");
    assert_eq!(causal(json!({"prompt": "", "completion": "cd"})), "<s>CD</S>");
    assert_eq!(causal(json!({"prompt": "ab", "completion": ""})), "<s>ab</S>");
    let everything = DataOptions { completion_only_loss: false, ..options(Task::CausalLm) };
    assert_eq!(causal_with(row, &everything), "<S>AB CD</S>");
    let alpaca = causal(json!({"instruction": "i", "input": "j", "output": "k"}));
    assert_eq!(alpaca, "<s>### Instruction:\ni\n\n### Input:\nj\n\n### Response:\nK</S>");
}

#[test]
fn a_token_across_the_boundary_is_trained_on_and_counted() {
    // `h` and `e` merge into one token.
    let encoded = one(json!({"prompt": "ah", "completion": "eb"}), &options(Task::CausalLm));
    assert_eq!(shown(&encoded, &byte_tokenizer().1), "<s>aHEB</S>");
    assert!(encoded.merged);
    assert!(!one(json!({"prompt": "a", "completion": "heb"}), &options(Task::CausalLm)).merged);
    assert!(!one(json!({"prompt": "", "completion": "heb"}), &options(Task::CausalLm)).merged);
    assert!(!one(json!({"prompt": "a", "completion": ""}), &options(Task::CausalLm)).merged);
}

#[test]
fn only_the_assistant_is_trained_on_and_nothing_begins_or_ends_twice() {
    let messages = json!([
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"}, {"role": "assistant", "content": "\u{e9}f"},
    ]);
    let row = json!({"messages": messages});
    // Two bytes make one letter here: they are shown apart, as what they are not.
    assert_eq!(causal(row.clone()), "<s><|x|>u:b<|x|>a:C</S><|x|>u:d<|x|>a:\u{fffd}\u{fffd}F</S>");
    let everything = DataOptions { completion_only_loss: false, ..options(Task::CausalLm) };
    assert_eq!(causal_with(row, &everything), "<S><|X|>U:B<|X|>A:C</S><|X|>U:D<|X|>A:\u{fffd}\u{fffd}F</S>");
    let turns = json!({"prompt": [messages[0], messages[1], messages[2]], "completion": [messages[1], messages[0]]});
    assert_eq!(causal(turns), "<s><|x|>u:b<|x|>a:c</s><|x|>u:d<|x|>a:C</S><|X|>U:B");
}

#[test]
fn a_long_example_is_cut_at_its_end() {
    let short = DataOptions { max_length: 4, ..options(Task::CausalLm) };
    let cut = one(json!({"prompt": "ab", "completion": "cd"}), &short);
    assert_eq!((shown(&cut, &byte_tokenizer().1).as_str(), cut.truncated), ("<s>abC", true));
    assert!(!one(json!({"text": "ab"}), &short).truncated);
    assert!(one(json!({"text": "abc"}), &short).truncated);
    let row = json!({"input_ids": [5, 6, 7, 8, 9]});
    let tokens = one(row, &short);
    assert_eq!((tokens.example.labels, tokens.truncated), (vec![5, 6, 7, 8], true));
}

#[test]
fn tokens_are_taken_as_they_are() {
    let causal = options(Task::CausalLm);
    let row = json!({"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 9], "attention_mask": [0, 1, 1, 1]});
    let example = one(row, &causal).example;
    assert_eq!((example.input_ids, example.labels), (vec![6, 7, 8], vec![6, 7, 9]));
    assert_eq!(one(json!({"input_ids": [5, 6]}), &causal).example.labels, [5, 6]);
    let tokens = options(Task::TokenClassification);
    let example = one(json!({"input_ids": [5, 6], "labels": [2, -100]}), &tokens).example;
    assert_eq!((example.input_ids, example.labels), (vec![5, 6], vec![2, -100]));
    let pairs = options(Task::Seq2SeqLm);
    let row = json!({"input_ids": [5, 6, 7], "labels": [8, 1], "attention_mask": [1, 1, 0]});
    let example = one(row, &pairs).example;
    assert_eq!((example.input_ids, example.labels), (vec![5, 6], vec![8, 1]));
}

#[test]
fn classes_have_numbers_or_names() {
    let mut classes = options(Task::SequenceClassification);
    classes.label_names = ["no", "yes", "maybe"].map(str::to_owned).to_vec();
    let a = FIRST_BYTE + u32::from(b'a' - b'!');
    let example = one(json!({"text": "a", "label": "yes"}), &classes).example;
    assert_eq!((example.input_ids, example.labels), (vec![BOS, a], vec![1]));
    classes.max_length = 2;
    let encoded = one(json!({"text": "aaa", "label": 2}), &classes);
    assert_eq!((encoded.example.input_ids, encoded.example.labels, encoded.truncated), (vec![BOS, a], vec![2], true));
    let encoded = one(json!({"input_ids": [5, 6, 7], "label": 0}), &classes);
    assert_eq!((encoded.example.input_ids, encoded.example.labels, encoded.truncated), (vec![5, 6], vec![0], true));
}

#[test]
fn a_single_label_is_a_number() {
    let mut one_label = options(Task::SequenceClassification);
    one_label.num_labels = 1;
    let example = |row| one(row, &one_label).example;
    let text = example(json!({"text": "a", "label": -1.5}));
    assert_eq!((text.labels, text.values), (vec![0], vec![-1.5]));
    let tokens = example(json!({"input_ids": [5, 6], "label": 3}));
    assert_eq!((tokens.labels, tokens.values), (vec![0], vec![3.0]));
    let refused = |label: Value| {
        let row =
            Row::from_object(json!({"input_ids": [5], "label": label}).as_object().unwrap().clone(), one_label.task);
        let encoder = Encoder { tokenizer: None, template: None, options: &one_label };
        encoder.encode(row.unwrap()).unwrap_err().to_string()
    };
    assert!(refused(json!(1e39)).contains("`label` is a larger number"));
    assert!(refused(json!("yes")).contains("`label` is a string, expected a number"));
    assert!(
        error(json!({"text": "a", "label": 0.5}), Task::SequenceClassification).contains("a number with a fraction")
    );
}

#[test]
fn what_is_embedded_has_no_target() {
    let embedded = options(Task::FeatureExtraction);
    let a = FIRST_BYTE + u32::from(b'a' - b'!');
    let text = one(json!({"text": "a"}), &embedded).example;
    assert_eq!((text.input_ids, text.labels), (vec![BOS, a], vec![]));
    let tokens = one(json!({"input_ids": [5, 6], "label": 7}), &embedded).example;
    assert_eq!((tokens.input_ids, tokens.labels), (vec![5, 6], vec![]));
}

#[test]
fn a_pair_of_texts_is_encoded_apart() {
    let example = one(json!({"prompt": "a", "completion": "b"}), &options(Task::Seq2SeqLm)).example;
    let byte = |c: u8| u32::from(c - b'!') + FIRST_BYTE;
    assert_eq!(example.input_ids, [BOS, byte(b'a')]);
    assert_eq!(example.labels, [BOS, byte(b'b'), EOS].map(i64::from));
}

#[test]
fn faults_name_key_and_value() {
    use Task::{CausalLm, Seq2SeqLm, SequenceClassification, TokenClassification};
    let out_of_range = error(json!({"input_ids": [5, 260]}), CausalLm);
    assert!(out_of_range.contains("token id 260 is not below the model's vocab_size 260"), "{out_of_range}");
    assert!(error(json!({"input_ids": [-1]}), CausalLm).contains("token id -1"));
    let labels = json!({"input_ids": [5, 6], "labels": [5, 260]});
    assert!(error(labels, CausalLm).contains("element 1 of `labels` is 260, expected -100, or 0 to 259"));
    assert!(error(json!({"input_ids": [5], "labels": [-1]}), CausalLm).contains("element 0 of `labels` is -1"));
    assert!(error(json!({"input_ids": [5], "labels": [5, 6]}), CausalLm).contains("`labels` has 2 elements"));
    assert!(error(json!({"input_ids": [5], "attention_mask": []}), CausalLm).contains("`attention_mask` has 0"));
    let mask = json!({"input_ids": [5], "attention_mask": [2]});
    assert!(error(mask, CausalLm).contains("element 0 of `attention_mask` is 2, expected 0 or 1"));
    assert!(error(json!({"input_ids": [5]}), TokenClassification).contains("has `input_ids` and no `labels`"));
    assert!(error(json!({"input_ids": [5], "labels": [3]}), TokenClassification).contains("expected -100, or 0 to 2"));
    assert!(error(json!({"input_ids": [5]}), Seq2SeqLm).contains("no `labels`"));
    assert!(error(json!({"input_ids": [5]}), SequenceClassification).contains("no `label`"));
    assert!(error(json!({"text": "a"}), SequenceClassification).contains("has `text` and no `label`"));
    assert!(
        error(json!({"text": "a", "label": 3}), SequenceClassification).contains("label 3 is not below num_labels 3")
    );
    assert!(error(json!({"text": "a", "label": -1}), SequenceClassification).contains("label -1"));
    assert!(error(json!({"text": "a", "label": "x"}), SequenceClassification).contains("label `x` is none of (none)"));
    let user = json!([{"role": "user", "content": "a"}]);
    assert!(error(json!({"messages": user}), Seq2SeqLm).contains("SEQ_2_SEQ_LM"));
    let turns = json!({"prompt": user, "completion": user});
    assert!(error(turns, Seq2SeqLm).contains("SEQ_2_SEQ_LM"));
}

#[test]
fn what_the_model_lacks_is_named() {
    let (_dir, tokenizer) = byte_tokenizer();
    let options = options(Task::CausalLm);
    let row = |value: Value| Row::from_object(value.as_object().unwrap().clone(), Task::CausalLm).unwrap();
    let bare = Encoder { tokenizer: None, template: None, options: &options };
    assert!(matches!(bare.encode(row(json!({"text": "a"}))), Err(DataError::NeedsTokenizer)));
    assert!(bare.encode(row(json!({"input_ids": [1, 2]}))).is_ok());
    let untemplated = Encoder { tokenizer: Some(&tokenizer), ..bare };
    let messages = row(json!({"messages": [{"role": "user", "content": "a"}]}));
    let error = untemplated.encode(messages).unwrap_err().to_string();
    assert!(error.contains("set data.chat_template"), "{error}");
    assert!(ChatTemplate::load(_dir.path(), &SpecialTokens::default()).unwrap().is_none());
}

#[test]
fn pairs_are_told_apart_and_the_longer_is_cut_first() {
    let parts = DataOptions { token_types: 2, max_length: 6, ..options(Task::SequenceClassification) };
    let row = json!({"text": "abcdef", "text_pair": "xy", "label": 1});
    let encoded = one(row.clone(), &parts);
    let example = &encoded.example;
    let bytes =
        |text: &str| text.bytes().map(|byte| u32::from(byte) - u32::from(b'!') + FIRST_BYTE).collect::<Vec<_>>();
    // The template of pairs adds nothing.
    assert_eq!(example.input_ids, bytes("abcdxy"));
    assert_eq!((&example.token_type_ids[..], encoded.truncated), (&[0, 0, 0, 0, 1, 1][..], true));
    // A model without a table of parts is given none.
    let none = one(row, &DataOptions { token_types: 0, ..parts.clone() }).example;
    assert_eq!((none.input_ids.len(), none.token_type_ids.len()), (6, 0));
    // One text alone is in the first part.
    assert!(one(json!({"text": "ab", "label": 1}), &parts).example.token_type_ids.is_empty());
    let tokenized =
        json!({"input_ids": [1, 2, 3], "token_type_ids": [0, 1, 1], "attention_mask": [1, 0, 1], "label": 0});
    assert_eq!(one(tokenized.clone(), &parts).example.token_type_ids, [0, 1]);
    let message = |row: Value, options: &DataOptions| rows(row, options).unwrap_err().to_string();
    assert!(message(tokenized.clone(), &DataOptions { token_types: 0, ..parts.clone() }).contains("`type_vocab_size`"));
    assert!(message(tokenized, &DataOptions { token_types: 1, ..parts.clone() }).contains("expected 0 to 0"));
    let short = json!({"input_ids": [1, 2], "token_type_ids": [0], "label": 0});
    assert!(message(short, &parts).contains("`token_type_ids`"));
}

#[test]
fn the_first_token_of_a_word_has_its_class() {
    let mut of_words = options(Task::TokenClassification);
    of_words.label_names = ["O", "B", "I"].map(str::to_owned).to_vec();
    let row = json!({"tokens": ["ab", "c", "de"], "tags": ["B", -100, 0]});
    let example = one(row.clone(), &of_words).example;
    // `<s>`, then two, one and two tokens, each word behind a space.
    assert_eq!(example.input_ids.len(), 9);
    assert_eq!(example.labels, [-100, 1, -100, -100, -100, -100, 0, -100, -100]);
    let short = DataOptions { max_length: 4, ..of_words.clone() };
    let encoded = one(row, &short);
    assert_eq!((&encoded.example.labels[..], encoded.truncated), (&[-100, 1, -100, -100][..], true));
    let message = |row: Value| rows(row, &of_words).unwrap_err().to_string();
    assert!(message(json!({"tokens": ["a"], "tags": []})).contains("1 `tokens` and 0 `tags`"));
    assert!(message(json!({"tokens": ["a"], "tags": ["X"]})).contains("`X`"));
    assert!(message(json!({"tokens": ["a"], "tags": [7]})).contains('7'));
}

#[test]
fn rows_choose_adapters_by_name() {
    let (_dir, tokenizer) = byte_tokenizer();
    let chosen = |adapters: &[&str], row: Value| {
        let adapters = adapters.iter().map(|&name| name.to_owned()).collect();
        let options = DataOptions { adapters, ..options(Task::CausalLm) };
        let encoder = Encoder { tokenizer: Some(&tokenizer), template: None, options: &options };
        let Value::Object(mut object) = row else { unreachable!() };
        encoder.adapter(&mut object).map_err(|error| error.to_string())
    };
    assert_eq!([json!({}), json!({"adapter": null})].map(|row| chosen(&[], row)), [Ok(None), Ok(None)]);
    for row in [json!({"adapter": "x"}), json!({"adapter": 3})] {
        assert!(chosen(&[], row).unwrap_err().contains("none is given by name"));
    }
    assert!(chosen(&["x"], json!({"adapter": null})).unwrap_err().contains("names no `adapter`"));
    assert_eq!(chosen(&["x", "y"], json!({"adapter": "y"})), Ok(Some(1)));
    assert_eq!(chosen(&["x", "y"], json!({})), Err("the row names no `adapter`; there are x, y".to_owned()));
    assert_eq!(chosen(&["x"], json!({"adapter": "z"})), Err("there is no adapter `z`; there are x".to_owned()));
    assert!(chosen(&["x"], json!({"adapter": 3})).unwrap_err().contains("`adapter` is a number"));
}
