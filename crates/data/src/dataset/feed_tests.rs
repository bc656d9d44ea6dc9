//! What rows on their way promise: the batches of the encoded dataset at any time, and the first bad row told.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Dataset, Feed, FeedOptions, TokenCache};
use crate::testing::{FIRST_BYTE, VOCAB_SIZE, tokenizer_json, write_tokenizer};
use crate::{Batch, ChatTemplate, DataError, DataOptions, SpecialTokens, Task, Tokenizer};

/// Rows of a file, and how they are encoded.
struct Rows {
    dir: TempDir,
    how: FeedOptions,
}

impl Rows {
    fn new(content: &str) -> Self {
        Self::with_tokenizer(content, &tokenizer_json(), &json!({"bos_token": "<s>", "eos_token": "</s>"}))
    }

    fn with_tokenizer(content: &str, tokenizer: &Value, config: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_tokenizer(dir.path(), tokenizer, config);
        let tokenizer = Some(Arc::new(Tokenizer::load(dir.path(), VOCAB_SIZE).unwrap()));
        fs::write(dir.path().join("train.jsonl"), content).unwrap();
        Self { dir, how: FeedOptions { tokenizer, template: None, options: DataOptions::new(VOCAB_SIZE) } }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("train.jsonl")
    }

    fn cache(&self) -> TokenCache {
        TokenCache::new(self.dir.path().join("tokens"))
    }

    fn start(&self) -> Result<Feed, DataError> {
        Feed::start(&self.path(), self.how.clone(), &self.cache())
    }

    /// Rows on their way, which do not arrive before the file that is returned is closed: as if another process made the entry.
    fn held_up(&self) -> (File, Feed) {
        fs::create_dir_all(self.cache().dir()).unwrap();
        let content = checkpoint::sha256_file(&self.path()).unwrap();
        let entry = self.cache().entry(&content, &self.how.encoder());
        let lock = File::create(entry.with_extension("lock")).unwrap();
        lock.lock().unwrap();
        (lock, self.start().unwrap())
    }

    fn dataset(&self) -> Dataset {
        let FeedOptions { tokenizer, template, options } = &self.how;
        Dataset::load(&self.path(), tokenizer.as_deref(), template.as_deref(), options).unwrap()
    }
}

fn texts(count: usize) -> String {
    (0..count)
        .map(|i| format!("{}{}\n", json!({ "text": "he ".repeat(i % 7 + 1) + &i.to_string() }), "\n".repeat(i % 2)))
        .collect()
}

#[test]
fn batches_are_those_of_the_encoded_dataset_at_any_time() {
    let mixed = "\u{feff}{\"text\": \"ab\"}\r\n\n{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"input_ids\": [7, 8, 9]}\n{\"text\": \"\"}";
    for content in [mixed, &texts(3000)] {
        let rows = Rows::new(content);
        let dataset = rows.dataset();
        let (lock, feed) = rows.held_up();
        let choices = [vec![dataset.len() - 1, 0], vec![2, 1, 2], (0..dataset.len()).collect()];
        let hold = |feed: &Feed| {
            assert_eq!(feed.len(), dataset.len());
            for choice in &choices {
                assert_eq!(feed.gather(choice).unwrap(), Batch::gather(&dataset, choice).unwrap());
            }
        };
        assert!(feed.dataset().unwrap().is_none());
        hold(&feed);
        let fingerprint = feed.fingerprint().to_owned();
        drop(lock);
        let whole = feed.finish().unwrap();
        assert_eq!((whole.sha256(), whole.statistics()), (dataset.sha256(), dataset.statistics()));
        assert!(feed.dataset().unwrap().is_some());
        hold(&feed);
        // The next one finds them ready, and knows them as the same; so does one without a cache.
        let ready = rows.start().unwrap();
        assert!(ready.dataset().unwrap().is_some());
        hold(&ready);
        let in_memory = Feed::load(&rows.path(), &rows.how, None).unwrap();
        assert_eq!([ready.fingerprint(), in_memory.fingerprint()], [&fingerprint; 2]);
    }
}

#[test]
fn the_longest_are_those_with_the_longest_lines_until_lengths_are_known() {
    // Bytes that one token holds, against as many tokens as bytes.
    let rows = Rows::new("{\"text\": \"hehehehehe\"}\n{\"text\": \"abcdefgh\"}\n{\"text\": \"a\"}\n");
    let (lock, feed) = rows.held_up();
    assert_eq!(feed.longest(2).unwrap(), [0, 1]);
    drop(lock);
    feed.finish().unwrap();
    assert_eq!(feed.longest(5).unwrap(), [1, 0, 2]);
}

#[test]
fn what_shows_without_tokens_is_told_before_the_first_batch() {
    let told = |content: &str, task: Task| {
        let mut rows = Rows::new(content);
        rows.how.options.task = task;
        rows.start().unwrap_err().to_string()
    };
    let late = texts(2000);
    for (bad, reason) in [("{\"text\": 3}", "text"), ("[]", "list"), ("{\"input_ids\": [999]}", "999")] {
        let error = told(&format!("{late}{bad}\n{{\n"), Task::CausalLm);
        assert!(error.contains("train.jsonl:3001: ") && error.contains(reason), "{error}");
    }
    let classes = "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": 7}\n";
    assert!(told(classes, Task::SequenceClassification).contains("train.jsonl:2: "));
    let words = "{\"tokens\": [\"a\"], \"tags\": [0]}\n{\"tokens\": [\"a\"], \"tags\": [0, 1]}\n";
    assert!(told(words, Task::TokenClassification).contains("train.jsonl:2: "));
    assert!(told("\n\n", Task::CausalLm).contains("no rows"), "{}", told("\n\n", Task::CausalLm));
}

#[test]
fn what_only_tokens_show_is_told_with_the_first_line_that_shows_it() {
    // A token of the tokenizer that the model has no embedding for.
    let mut tokenizer = tokenizer_json();
    let beyond = json!({"id": VOCAB_SIZE + 40, "content": "<far>", "special": true, "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false});
    tokenizer["added_tokens"].as_array_mut().unwrap().push(beyond);
    let content = format!("{}{{\"text\": \"a<far>\"}}\n{{\"text\": \"b<far>\"}}\n", texts(10));
    let rows = Rows::with_tokenizer(&content, &tokenizer, &json!({"eos_token": "</s>"}));
    let (lock, feed) = rows.held_up();
    assert_eq!(feed.gather(&[9]).unwrap().cu_seqlens.len(), 2);
    drop(lock);
    // Whichever is asked for, the first of the file can be told; and again.
    let first = feed.first_error(feed.gather(&[11]).unwrap_err());
    for error in [first, feed.gather(&[0]).unwrap_err(), feed.dataset().unwrap_err(), feed.finish().unwrap_err()] {
        assert!(matches!(error, DataError::Row { line: 16, .. }), "{error}");
    }
}

#[test]
fn a_bad_row_is_told_without_waiting_for_others() {
    let rows = Rows::new("{\"text\": \"ab\"}\n{\"text\": \"abc\"}\n");
    let (_lock, feed) = rows.held_up();
    // Of as many bytes, so that the other row is where it was.
    fs::write(rows.path(), "{\"text\": \"ab\"}\n{\"text\": 3.141}\n").unwrap();
    assert!(feed.gather(&[0]).is_ok());
    assert!(matches!(feed.gather(&[1]), Err(DataError::Row { line: 2, .. })));
    assert!(feed.is_growing().unwrap());
}

#[test]
fn rows_that_cannot_be_kept_are_encoded_when_they_are_asked_for() {
    let rows = Rows::new(&texts(50));
    let (lock, feed) = rows.held_up();
    // There is no folder to make an entry in any more.
    fs::remove_dir_all(rows.cache().dir()).unwrap();
    fs::write(rows.cache().dir(), "").unwrap();
    drop(lock);
    let dataset = rows.dataset();
    for _ in 0..20 {
        assert_eq!(feed.gather(&[49, 3]).unwrap(), Batch::gather(&dataset, &[49, 3]).unwrap());
        assert!(feed.is_growing().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(feed.finish().unwrap().sha256(), dataset.sha256());
    assert!(!feed.is_growing().unwrap());
    assert!(matches!(feed.unkept(), Some(DataError::Cache { .. })));
}

#[test]
fn a_file_that_changes_meanwhile_is_told() {
    let rows = Rows::new(&texts(10));
    let (lock, feed) = rows.held_up();
    fs::write(rows.path(), texts(9)).unwrap();
    drop(lock);
    assert!(matches!(feed.finish(), Err(DataError::Changed { .. })));
}

#[test]
fn rows_that_are_no_single_example_are_encoded_first() {
    let is_whole = |rows: &Rows| rows.start().unwrap().dataset().unwrap().is_some();
    // Nothing is added to an empty text where there are no special tokens.
    let mut bare = tokenizer_json();
    bare["post_processor"] = Value::Null;
    assert!(is_whole(&Rows::with_tokenizer("{\"text\": \"ab\"}\n{\"text\": \"\"}\n", &bare, &json!({}))));
    // Of padding alone nothing is left.
    assert!(is_whole(&Rows::new("{\"text\": \"ab\"}\n{\"input_ids\": [7], \"attention_mask\": [0]}\n")));
    // A conversation whose earlier turns are rendered differently becomes several examples.
    let message = |role: &str| json!({"role": role, "content": role});
    let messages: Vec<Value> = ["user", "assistant", "user", "assistant"].map(message).to_vec();
    let mut rows = Rows::new(&format!("{}\n", json!({ "messages": messages })));
    let last_turn_only = "{% for m in messages %}{{ m.role }}:{% if loop.last or m.role == 'user' %}{{ m.content }}{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    let template = ChatTemplate::parse(last_turn_only, &SpecialTokens::default()).unwrap();
    rows.how.template = Some(Arc::new(template));
    assert!(is_whole(&rows));
    assert_eq!(rows.dataset().len(), 2);
    // One that renders them alike does not.
    let alike = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    rows.how.template = Some(Arc::new(ChatTemplate::parse(alike, &SpecialTokens::default()).unwrap()));
    let (lock, feed) = rows.held_up();
    assert_eq!(feed.gather(&[0]).unwrap(), Batch::gather(&rows.dataset(), &[0]).unwrap());
    drop(lock);
}

#[test]
fn a_tokenizer_that_makes_nothing_of_a_long_text_is_told() {
    // It forgets texts of more than a hundred bytes, whose beginning has tokens.
    let mut tokenizer = tokenizer_json();
    tokenizer["normalizer"] = json!({"type": "Replace", "pattern": {"Regex": "^.{100,}$"}, "content": ""});
    let message = json!({"role": "assistant", "content": "a".repeat(200)});
    let content = format!("{}\n{}\n", json!({"input_ids": [FIRST_BYTE, FIRST_BYTE]}), json!({ "messages": [message] }));
    let mut rows = Rows::with_tokenizer(&content, &tokenizer, &json!({}));
    let template = ChatTemplate::parse("{% for m in messages %}{{ m.content }}{% endfor %}", &SpecialTokens::default());
    rows.how.template = Some(Arc::new(template.unwrap()));
    rows.how.options.completion_only_loss = false;
    let error = rows.start().unwrap().finish().unwrap_err();
    assert!(matches!(error, DataError::Miscounted { .. }), "{error}");
}

#[test]
fn whoever_goes_leaves_nothing_unfinished() {
    let rows = Rows::new(&texts(20_000));
    drop(rows.start().unwrap());
    let left = |dir: &Path| {
        fs::read_dir(dir)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"))
            .count()
    };
    assert_eq!(left(rows.cache().dir()), 0);
    // Nor waits for another process that makes the same entry.
    let (lock, held_up) = rows.held_up();
    drop(held_up);
    drop(lock);
    assert_eq!(rows.start().unwrap().finish().unwrap().len(), 20_000);
}
