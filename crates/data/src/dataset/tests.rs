use std::path::Path;

use super::Dataset;
use crate::testing::{VOCAB_SIZE, byte_tokenizer};
use crate::{Batch, DataError, DataOptions, Statistics};

fn read_with(content: &[u8], options: &DataOptions) -> Result<Dataset, DataError> {
    let (_dir, tokenizer) = byte_tokenizer();
    Dataset::read(content, Path::new("train.jsonl"), Some(&tokenizer), None, options)
}

fn read(content: &str) -> Result<Dataset, DataError> {
    read_with(content.as_bytes(), &DataOptions::new(VOCAB_SIZE))
}

fn message(content: &[u8]) -> String {
    read_with(content, &DataOptions { max_line_bytes: 64, ..DataOptions::new(VOCAB_SIZE) }).unwrap_err().to_string()
}

#[test]
fn rows_of_several_kinds_keep_their_order() {
    let data = read(
        "\u{feff}{\"text\": \"ab\"}\r\n\n{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"input_ids\": [7, 8, 9]}\n",
    )
    .unwrap();
    assert_eq!((0..data.len()).map(|i| data.line(i)).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(data.lengths().collect::<Vec<_>>(), [4, 4, 3]);
    assert_eq!((data.input_ids(2), data.labels(2)), (&[7, 8, 9][..], &[7, 8, 9][..]));
    assert_eq!(data.example(1).labels[..2], [-100, -100]);
    let batch = Batch::gather(&data, &[2, 1]).unwrap();
    assert_eq!((batch.cu_seqlens, batch.num_targets), (vec![0, 3, 7], 4));
}

#[test]
fn everything_left_out_or_cut_is_counted() {
    let options = DataOptions { max_length: 4, ..DataOptions::new(VOCAB_SIZE) };
    let rows = concat!(
        "{\"text\": \"ab\"}\n",                                // 4 tokens, 3 targets, ends
        "{\"prompt\": \"abcd\", \"completion\": \"e\"}\n",     // cut, no target left
        "{\"prompt\": \"h\", \"completion\": \"ex\"}\n",       // `he` is one token; 3 targets, ends
        "{\"input_ids\": []}\n",                               // empty
        "{\"input_ids\": [5, 6], \"labels\": [-100, -100]}\n"  // no target
    );
    let data = read_with(rows.as_bytes(), &options).unwrap();
    let expected = Statistics {
        rows: 5,
        examples: 4,
        tokens: 14,
        targets: 6,
        longest: 4,
        truncated: 1,
        without_targets: 2,
        empty: 1,
        split: 0,
        merged: 1,
        stopping: 2,
    };
    assert_eq!(data.statistics(), &expected);
    assert!((data.statistics().target_share() - 6.0 / 14.0).abs() <= 1e-15); // one rounding
}

#[test]
fn faults_name_file_and_line() {
    assert_eq!(message(b"{}\n").split(" the row").next(), Some("train.jsonl:1:"));
    assert!(message(b"{\"text\": \"a\"}\n\n{\"text\": 1}\n").starts_with("train.jsonl:3: `text` is a number"));
    assert!(message(b"{\"text\": \"a\"}\n{\"text\": \n").starts_with("train.jsonl:2: not JSON at byte"));
    assert!(message(b"{\"text\": \"\xff\"}").starts_with("train.jsonl:1: byte 11 of the line is not UTF-8"));
    assert!(message(b"{\"text\": \"a\"}\0\n").starts_with("train.jsonl:1: byte 14 of the line is zero"));
    assert!(
        message(&[b"{}\n".as_slice(), &[b' '; 65]].concat()).starts_with("train.jsonl:2: the line is longer than 64")
    );
    assert!(message(b"{\"input_ids\": [260]}").starts_with("train.jsonl:1: token id 260"));
    assert!(message(b"{\"messages\": [{\"role\": \"user\"}]}").contains("set data.chat_template"));
    assert_eq!(message(b""), "train.jsonl has no rows");
    assert_eq!(message(b"\n \n"), "train.jsonl has no rows");
    assert_eq!(message(b"{\"input_ids\": []}"), "train.jsonl has no rows");
}

#[test]
fn the_first_bad_line_is_reported_whatever_thread_found_it() {
    let mut rows = "{\"text\": \"a\"}\n".repeat(900);
    rows += &"{\"text\": 1}\n".repeat(200);
    for threads in [1, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let error = pool.install(|| read(&rows)).unwrap_err().to_string();
        assert!(error.starts_with("train.jsonl:901:"), "{error}");
    }
}

#[test]
fn rows_that_train_nothing_are_an_error_before_any_step() {
    let options = DataOptions { max_length: 2, ..DataOptions::new(VOCAB_SIZE) };
    let row = b"{\"prompt\": \"abc\", \"completion\": \"d\"}\n";
    let error = read_with(&row.repeat(3), &options).unwrap_err().to_string();
    assert!(error.contains("none of the 3 rows") && error.contains("(3 were cut to max_length 2)"), "{error}");
    for zero in [DataOptions { max_length: 0, ..options.clone() }, DataOptions { vocab_size: 0, ..options }] {
        assert!(matches!(read_with(row, &zero), Err(DataError::Setting { .. })));
    }
}

#[test]
fn the_digest_tells_datasets_apart() {
    let digest = |rows: &str| read(rows).unwrap().sha256();
    let one = digest("{\"input_ids\": [5, 6, 7, 8]}");
    assert_eq!(one.len(), 64);
    assert_eq!(one, digest("{\"labels\": [5, 6, 7, 8], \"input_ids\": [5, 6, 7, 8]}"));
    assert_ne!(one, digest("{\"input_ids\": [5, 6]}\n{\"input_ids\": [7, 8]}"));
    assert_ne!(one, digest("{\"input_ids\": [5, 6, 7, 8], \"labels\": [5, 6, 7, -100]}"));
    assert_ne!(one, digest("{\"input_ids\": [5, 6, 7, 9]}"));
}

#[test]
fn examples_do_not_depend_on_the_number_of_threads() {
    let rows: String = (0..3000).map(|i| format!("{{\"text\": \"row {i} {}\"}}\n", "x".repeat(i % 50))).collect();
    let digests = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| read(&rows)).unwrap().sha256()
    });
    assert_eq!(digests[0], digests[1]);
}
