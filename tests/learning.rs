//! Every method learns the task of `quickstart`, a record of the facts of a story, by the preset that `quickstart` has for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tunesmith_tests::{Output, tunesmith};

/// A preset, and the share of the held-out rows' tokens that it must get right after [`STEPS`] steps, a third or a quarter of
/// what `quickstart` trains: some points less than it does. The bundled model gets at most [`BASE`] right without training.
const MUST_REACH: [(&str, f64); 17] = [
    ("lora", 0.78),
    ("dora", 0.85),
    ("pissa", 0.74),
    ("olora", 0.74),
    ("lora_plus", 0.74),
    ("qlora", 0.85),
    ("adalora", 0.70),
    ("vera", 0.75),
    ("ia3", 0.70),
    ("ln_tuning", 0.58),
    ("bottleneck", 0.83),
    ("compacter", 0.77),
    ("trainable_tokens", 0.78),
    ("prefix_tuning", 0.50),
    ("prompt_tuning", 0.36),
    ("p_tuning", 0.42),
    ("full", 0.97),
];
const BASE: f64 = 0.07;
const STEPS: &str = "training.max_steps=100";

/// The bundled files, laid out as `quickstart` does.
struct Task {
    dir: TempDir,
}

impl Task {
    fn new() -> Self {
        let task = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(task.path("model")).unwrap();
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(assets().join(file), task.path("model").join(file)).unwrap();
        }
        task
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Trains by a preset; returns the arguments that name what came of it.
    fn train(&self, preset: &str, set: &[&str]) -> Vec<String> {
        let text = std::fs::read_to_string(assets().join(format!("{preset}.toml"))).unwrap();
        let rows = assets().join("train.jsonl").display().to_string();
        let text = text.replace("MODEL", "model").replace("TRAIN", &rows).replace("OUTPUT", preset);
        std::fs::write(self.path("run.toml"), text).unwrap();
        let set = [STEPS].iter().chain(set).flat_map(|setting| ["--set", setting]);
        self.run(&["train", "run.toml"].into_iter().chain(set).collect::<Vec<_>>());
        let what = match preset {
            "full" => vec!["--model", preset],
            "qlora" => vec!["--model", "model", "--adapter", preset, "--quantization", "nf4"],
            _ => vec!["--model", "model", "--adapter", preset],
        };
        what.into_iter().map(str::to_owned).collect()
    }

    /// The share of the held-out rows' tokens that are the most likely one.
    fn accuracy(&self, what: &[&str]) -> f64 {
        let rows = assets().join("test.jsonl").display().to_string();
        let rest = ["--data", &rows, "--json", "--batch-size", "32"];
        self.run(&[&["eval"], what, &rest].concat()).json()["accuracy"].as_f64().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Output::of(tunesmith().current_dir(self.dir.path()).args(arguments)).expect(0)
    }
}

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/trainer/assets/quickstart")
}

#[test]
fn every_method_reaches_the_accuracy_that_it_must() {
    let task = Task::new();
    let base = task.accuracy(&["--model", "model"]);
    assert!(base <= BASE, "the base gets {base} of the tokens right");
    let reached: Vec<(&str, f64, f64)> = MUST_REACH
        .iter()
        .map(|&(preset, must)| {
            let what = task.train(preset, &[]);
            (preset, must, task.accuracy(&what.iter().map(String::as_str).collect::<Vec<_>>()))
        })
        .collect();
    assert!(reached.iter().all(|(_, must, accuracy)| accuracy >= must), "{reached:?}");
}

/// A model of 922,752 parameters, all but its norms and embeddings with moments in 8 bits.
#[test]
fn moments_in_8_bits_reach_the_same() {
    let task = Task::new();
    let preset = "full";
    let must = MUST_REACH.iter().find(|(name, _)| *name == preset).map(|(_, must)| *must).unwrap();
    let what = task.train(preset, &["training.optim=adamw_8bit"]);
    let accuracy = task.accuracy(&what.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(accuracy >= must, "{accuracy}");
}

#[test]
fn every_preset_has_an_accuracy_to_reach() {
    let presets: BTreeSet<String> = std::fs::read_dir(assets())
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .collect();
    assert_eq!(presets, MUST_REACH.iter().map(|(preset, _)| (*preset).to_owned()).collect());
}
