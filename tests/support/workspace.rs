//! A temporary directory with a model, rows and a config.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Output, tunesmith};

/// A file of `tests/data`.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// The entries of a run's `metrics.jsonl`, without what depends on the clock.
pub fn metrics(output_dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output_dir.join("metrics.jsonl")).expect("a run writes metrics.jsonl");
    let entry = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).expect("each line is an object");
        for timed in ["tokens_per_second", "eval_runtime"] {
            entry.as_object_mut().expect("an object").shift_remove(timed);
        }
        entry
    };
    text.lines().map(entry).collect()
}

/// A directory of a test: `model/`, `train.jsonl`, `run.toml`.
pub struct Workspace {
    dir: TempDir,
}

impl Workspace {
    /// A copy of the tiny Llama of `tests/data/peft` (vocabulary 64, hidden 32, two blocks), a tokenizer of 64 words, and
    /// `rows` rows of token ids whose lengths differ.
    pub fn new(rows: usize) -> Self {
        let workspace = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        let model = workspace.path("model");
        std::fs::create_dir(&model).unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(data("peft/base-llama").join(file), model.join(file)).unwrap();
        }
        workspace.write("model/tokenizer.json", &tokenizer().to_string());
        workspace.write("model/tokenizer_config.json", r#"{"bos_token": "<s>", "eos_token": "</s>"}"#);
        workspace.write_rows("train.jsonl", (0..rows).map(row));
        workspace
    }

    /// A path below the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a text file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file of rows.
    pub fn write_rows(&self, name: &str, rows: impl IntoIterator<Item = Value>) {
        let lines: String = rows.into_iter().map(|row| format!("{row}\n")).collect();
        self.write(name, &lines);
    }

    /// The tokens that `generate` writes after five prompts of several lengths, `batch_size` of them at once.
    pub fn written(&self, generate: &[&str], batch_size: usize) -> Vec<Value> {
        let prompts = ["w3 w4", "w9", "w5 w6 w7 w8 w9 w10 w11", "w12 w3", "w4 w4 w4"];
        self.write_rows("prompts.jsonl", prompts.map(|prompt| json!({ "prompt": prompt })));
        let batch_size = batch_size.to_string();
        let more = ["--prompts", "prompts.jsonl", "--batch-size", &batch_size, "--json"];
        let rows = self.run(&[generate, &more].concat()).expect(0).json()["rows"].clone();
        let rows = rows.as_array().expect("a list of rows");
        assert!(rows.iter().zip(prompts).all(|(row, prompt)| row["prompt"] == prompt), "{rows:?}");
        rows.iter().map(|row| row["token_ids"].clone()).collect()
    }

    /// The command `train` for six steps of four rows into `out/`, with `set` over it.
    pub fn train_command(&self, out: &str, set: &[&str]) -> std::process::Command {
        let mut command = tunesmith();
        command.current_dir(self.dir.path()).args([
            "train",
            "--model",
            "model",
            "--data",
            "train.jsonl",
            "--output",
            out,
        ]);
        let defaults = [
            "training.max_steps=6",
            "training.per_device_train_batch_size=4",
            "training.learning_rate=1e-2",
            "adapter.r=4",
        ];
        for setting in defaults.iter().chain(set) {
            command.args(["--set", setting]);
        }
        command
    }

    /// Runs it.
    pub fn train(&self, out: &str, set: &[&str]) -> Output {
        Output::of(&mut self.train_command(out, set))
    }

    /// Trains into `out/`, and again into `resumed/` from the checkpoint in the middle; asserts that both log and save the
    /// same, bit for bit. Returns what the first run printed, and the log.
    #[track_caller]
    pub fn train_and_resume(&self, set: &[&str]) -> (Output, Vec<Value>) {
        let saving = [set, &["training.save_steps=3", "training.save_total_limit=0"]].concat();
        let printed = self.train("out", &saving).expect(0);
        let logged = metrics(&self.path("out"));
        std::fs::create_dir(self.path("resumed")).unwrap();
        std::fs::rename(self.path("out/checkpoint-3"), self.path("resumed/checkpoint-3")).unwrap();
        self.train("resumed", &saving).expect(0);
        let file = |out: &str| std::fs::read(self.path(out).join("adapter_model.safetensors")).unwrap();
        assert!(file("out") == file("resumed"), "{set:?}: resumed to another adapter");
        assert_eq!(metrics(&self.path("resumed")), logged, "{set:?}");
        (printed, logged)
    }

    /// What `eval` prints of `model` and `train.jsonl`, with `more` arguments.
    #[track_caller]
    pub fn eval(&self, model: &str, more: &[&str]) -> Value {
        let base = ["eval", "--model", model, "--data", "train.jsonl", "--json"];
        self.run(&[&base[..], more].concat()).expect(0).json()
    }

    /// The loss of it.
    #[track_caller]
    pub fn eval_loss(&self, model: &str, more: &[&str]) -> f64 {
        self.eval(model, more)["loss"].as_f64().expect("the loss is a number")
    }

    /// Runs `tunesmith` with these arguments in the directory.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Output::of(tunesmith().current_dir(self.dir.path()).args(arguments))
    }
}

/// Row `index`: 3 to 12 tokens in a pattern, the first two not trained on.
fn row(index: usize) -> Value {
    let length = 3 + index * 7 % 10;
    let ids: Vec<usize> = (0..length).map(|i| 2 + (index * 11 + i * i * 5 + i) % 62).collect();
    let labels: Vec<i64> = ids.iter().enumerate().map(|(i, &id)| if i < 2 { -100 } else { id as i64 }).collect();
    json!({ "input_ids": ids, "labels": labels })
}

/// A tokenizer of 64 words: `<s>`, `</s>`, `w2` to `w63`.
fn tokenizer() -> Value {
    let special = |id: usize, content: &str| {
        json!({ "id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false })
    };
    let words = (2..64).map(|id| (format!("w{id}"), json!(id)));
    let vocab: serde_json::Map<String, Value> =
        [("<s>".to_owned(), json!(0)), ("</s>".to_owned(), json!(1))].into_iter().chain(words).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(0, "<s>"), special(1, "</s>")],
        "pre_tokenizer": { "type": "Whitespace" }, "decoder": null, "post_processor": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<s>" },
    })
}
