//! What a cache of tokens promises: the same examples, made once, and made again when anything they depend on changes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::{Dataset, TokenCache};
use crate::testing::{VOCAB_SIZE, byte_tokenizer};
use crate::{ChatTemplate, DataError, DataOptions, SpecialTokens, Task, Tokenizer};

const ROWS: &str = "{\"text\": \"ab\"}\n\n{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"input_ids\": [7, 8, 9]}\n{\"text\": \"he\"}\n";

struct Rows {
    dir: TempDir,
    _tokenizer_dir: TempDir,
    tokenizer: Tokenizer,
}

impl Rows {
    fn new(content: &str) -> Self {
        let (tokenizer_dir, tokenizer) = byte_tokenizer();
        let rows = Self { dir: tempfile::tempdir().unwrap(), _tokenizer_dir: tokenizer_dir, tokenizer };
        fs::write(rows.path(), content).unwrap();
        rows
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("train.jsonl")
    }

    fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("tokens")
    }

    fn plain(&self, options: &DataOptions) -> Result<Dataset, DataError> {
        Dataset::load(&self.path(), Some(&self.tokenizer), None, options)
    }

    fn cached(&self, options: &DataOptions) -> Result<Dataset, DataError> {
        let cache = TokenCache::new(self.cache_dir());
        Dataset::load_cached(&self.path(), Some(&self.tokenizer), None, options, &cache)
    }

    fn entries(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cache_dir()) else { return Vec::new() };
        let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
        entries.sort();
        entries
    }
}

fn causal() -> DataOptions {
    DataOptions::new(VOCAB_SIZE)
}

fn same(a: &Dataset, b: &Dataset) {
    assert_eq!((a.len(), a.statistics(), a.sha256()), (b.len(), b.statistics(), b.sha256()));
    for index in 0..a.len() {
        assert_eq!((a.example(index), a.line(index)), (b.example(index), b.line(index)));
    }
}

#[test]
fn the_second_time_is_the_first() {
    let rows = Rows::new(ROWS);
    let plain = rows.plain(&causal()).unwrap();
    assert!(plain.bytes_in_memory() > 0);
    for _ in 0..2 {
        let cached = rows.cached(&causal()).unwrap();
        same(&plain, &cached);
        // Only the empty columns, of which there is no file to map.
        assert_eq!(cached.bytes_in_memory(), 0);
        assert_eq!(rows.entries().len(), 1);
    }
}

#[test]
fn an_entry_is_read_and_not_made_again() {
    let rows = Rows::new(ROWS);
    rows.cached(&causal()).unwrap();
    // What is made again is another file.
    let inode = || fs::metadata(rows.entries()[0].join("input_ids")).unwrap().ino();
    let before = inode();
    rows.cached(&causal()).unwrap();
    assert_eq!(inode(), before);
}

#[test]
fn whatever_examples_depend_on_has_an_entry_of_its_own() {
    let rows = Rows::new(ROWS);
    let all = [
        causal(),
        DataOptions { max_length: 3, ..causal() },
        DataOptions { completion_only_loss: false, ..causal() },
        DataOptions { task: Task::FeatureExtraction, ..causal() },
    ];
    fs::write(rows.path(), "{\"text\": \"ab\"}\n{\"text\": \"abcdef\"}\n").unwrap();
    for (index, options) in all.iter().enumerate() {
        same(&rows.plain(options).unwrap(), &rows.cached(options).unwrap());
        assert_eq!(rows.entries().len(), index + 1);
    }
    fs::write(rows.path(), "{\"text\": \"other\"}\n").unwrap();
    same(&rows.plain(&causal()).unwrap(), &rows.cached(&causal()).unwrap());
    assert_eq!(rows.entries().len(), all.len() + 1);
}

#[test]
fn a_template_and_the_time_it_reads_count() {
    let special_tokens = SpecialTokens::default();
    let fingerprint =
        |text: &str, time: i64| ChatTemplate::parse(text, &special_tokens).unwrap().with_time(time).fingerprint();
    assert_eq!(fingerprint("{{ messages }}", 1), fingerprint("{{ messages }}", 2));
    assert_ne!(fingerprint("{{ messages }}", 1), fingerprint("{{ messages }} ", 1));
    let timed = "{{ strftime_now('%S') }}";
    assert_ne!(fingerprint(timed, 1), fingerprint(timed, 2));
}

#[test]
fn what_is_damaged_is_made_again() {
    let rows = Rows::new(ROWS);
    let plain = rows.plain(&causal()).unwrap();
    rows.cached(&causal()).unwrap();
    let entry = rows.entries().remove(0);
    let shorten = |file: &Path| fs::write(file, &fs::read(file).unwrap()[1..]).unwrap();
    for name in ["input_ids", "starts", "labels", "label_starts", "lines", "dataset.json"] {
        shorten(&entry.join(name));
        same(&plain, &rows.cached(&causal()).unwrap());
        fs::remove_file(entry.join(name)).unwrap();
        same(&plain, &rows.cached(&causal()).unwrap());
    }
    // Another number of a plausible size, which nothing but the checksum tells from the right one.
    for name in ["input_ids", "labels", "lines"] {
        let mut bytes = fs::read(entry.join(name)).unwrap();
        bytes[0] ^= 1;
        fs::write(entry.join(name), bytes).unwrap();
        same(&plain, &rows.cached(&causal()).unwrap());
    }
    let description = fs::read_to_string(entry.join("dataset.json")).unwrap();
    let other = description.replacen("\"examples\": 4", "\"examples\": 5", 1);
    assert_ne!(description, other);
    fs::write(entry.join("dataset.json"), other).unwrap();
    same(&plain, &rows.cached(&causal()).unwrap());
    // A file in the place of the entry.
    fs::remove_dir_all(&entry).unwrap();
    fs::write(&entry, "").unwrap();
    same(&plain, &rows.cached(&causal()).unwrap());
    // An example that would begin behind the end.
    let starts = entry.join("starts");
    let mut bytes = fs::read(&starts).unwrap();
    bytes[8..16].copy_from_slice(&u64::MAX.to_ne_bytes());
    fs::write(&starts, bytes).unwrap();
    same(&plain, &rows.cached(&causal()).unwrap());
    // Lengths that no file has.
    let description = fs::read_to_string(entry.join("dataset.json")).unwrap();
    let length = "\"input_ids\": ";
    let huge = description.replacen(length, &format!("{length}18446744073709551"), 1);
    assert_ne!(description, huge);
    fs::write(entry.join("dataset.json"), huge).unwrap();
    same(&plain, &rows.cached(&causal()).unwrap());
    assert_eq!(rows.entries(), [entry]);
}

#[test]
fn what_cannot_be_encoded_leaves_no_entry() {
    for (content, expected) in [
        ("{\"text\": \"ab\"}\n{\"txt\": 1}\n", "train.jsonl:2: the row has the keys"),
        ("\n", "train.jsonl has no rows"),
        ("{\"input_ids\": [7, 8], \"labels\": [-100, -100]}\n", "train.jsonl"),
    ] {
        let rows = Rows::new(content);
        let errors = [rows.plain(&causal()), rows.cached(&causal())].map(|result| result.unwrap_err().to_string());
        assert!(errors[0].contains(expected), "{}", errors[0]);
        assert_eq!(errors[0], errors[1]);
        assert!(rows.entries().is_empty());
    }
}

#[test]
fn what_an_interrupted_process_left_is_replaced() {
    let rows = Rows::new(ROWS);
    rows.cached(&causal()).unwrap();
    let entry = rows.entries().remove(0);
    let left = entry.with_extension("1.tmp");
    fs::rename(&entry, &left).unwrap();
    same(&rows.plain(&causal()).unwrap(), &rows.cached(&causal()).unwrap());
    assert_eq!(rows.entries(), [entry]);
}

#[test]
fn a_template_with_the_date_counts_days() {
    const DAY: i64 = 86400;
    let fingerprint = |text: &str, time: i64| {
        ChatTemplate::parse(text, &SpecialTokens::default()).unwrap().with_time(time).fingerprint()
    };
    let dated = "{%- set date = strftime_now('%d %b %Y, %-d') %}{{ date }}";
    assert_eq!(fingerprint(dated, 0), fingerprint(dated, DAY - 1));
    assert_ne!(fingerprint(dated, 0), fingerprint(dated, DAY));
    for timed in ["{{ strftime_now('%d %H') }}", "{{ strftime_now('%-I') }}", "{{ strftime_now('%' ~ 'H') }}"] {
        assert_ne!(fingerprint(timed, 0), fingerprint(timed, 1), "{timed}");
    }
}

#[test]
fn a_cache_that_is_only_read_stays_as_it_is() {
    let rows = Rows::new(ROWS);
    let cache = TokenCache::read_only(rows.cache_dir());
    let load = || Dataset::load_cached(&rows.path(), Some(&rows.tokenizer), None, &causal(), &cache).unwrap();
    assert!(load().bytes_in_memory() > 0);
    assert!(!rows.cache_dir().exists());
    rows.cached(&causal()).unwrap();
    assert_eq!(load().bytes_in_memory(), 0);
}

#[test]
fn a_cache_that_cannot_be_written_says_what_to_set() {
    let rows = Rows::new(ROWS);
    fs::write(rows.cache_dir(), "a file").unwrap();
    let error = rows.cached(&causal()).unwrap_err().to_string();
    assert!(error.starts_with("cannot keep encoded rows in ") && error.contains("data.cache = \"never\""), "{error}");
}

#[test]
fn processes_that_come_at_once_share_an_entry() {
    let rows = Rows::new(ROWS);
    let plain = rows.plain(&causal()).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| rows.cached(&causal()).unwrap())).collect();
        threads.into_iter().for_each(|thread| same(&plain, &thread.join().unwrap()));
    });
    assert_eq!(rows.entries().len(), 1);
}

proptest! {
    // Every case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(24))]
    // Rows with and without token types, values and adapters, more than a block of them.
    #[test]
    fn any_rows_come_back(
        lengths in prop::collection::vec((1usize..5, 0u32..2, any::<bool>()), 1..40),
        copies in prop::sample::select(vec![1usize, 60]),
    ) {
        let row = |&(length, part, second): &(usize, u32, bool)| {
            let ids: Vec<usize> = (3..3 + length).collect();
            json!({"input_ids": ids, "token_type_ids": vec![part; length], "label": 0.5,
                   "adapter": if second { "b" } else { "a" }}).to_string() + "\n"
        };
        let content: String = lengths.iter().map(row).collect::<String>().repeat(copies);
        let rows = Rows::new(&content);
        let options = DataOptions {
            task: Task::SequenceClassification,
            num_labels: 1,
            token_types: 2,
            adapters: vec!["a".to_owned(), "b".to_owned()],
            ..causal()
        };
        let plain = rows.plain(&options).unwrap();
        same(&plain, &rows.cached(&options).unwrap());
        same(&plain, &rows.cached(&options).unwrap());
    }
}
