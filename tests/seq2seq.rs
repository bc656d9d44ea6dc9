//! An encoder-decoder through every command: trained, stopped and resumed, evaluated, merged, described, spoken with.

use checkpoint::SafetensorsFile;
use serde_json::json;
use tunesmith_tests::{Workspace, data};

const TASK: &str = "model.task_type=SEQ_2_SEQ_LM";

/// The tiny T5 of `tests/data/peft`, and rows of both kinds.
fn workspace() -> Workspace {
    let workspace = Workspace::new(0);
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(data("peft/base-t5").join(file), workspace.path("model").join(file)).unwrap();
    }
    // A row of text and its tokens; `</s>` ends the text's labels.
    let tokens = |index: usize, length: usize| (0..length).map(move |i| 2 + (index * 11 + i * i * 5 + i) % 62);
    let words = |index, length| tokens(index, length).map(|id| format!("w{id}")).collect::<Vec<_>>().join(" ");
    let row = |index: usize| match index % 2 {
        0 => json!({ "prompt": words(index, 3 + index % 5), "completion": words(index + 1, 2 + index % 3) }),
        _ => {
            let labels: Vec<usize> = tokens(index + 1, 2 + index % 4).chain([1]).collect();
            json!({ "input_ids": tokens(index, 4 + index % 6).collect::<Vec<_>>(), "labels": labels })
        }
    };
    workspace.write_rows("train.jsonl", (0..13).map(row));
    workspace
}

const CASES: [(&str, &[&str]); 4] = [
    ("lora", &["adapter.lora_dropout=0.1"]),
    (
        "lora on every projection, packed and recomputed",
        &[
            "adapter.target_modules=all-linear",
            "data.packing=true",
            "data.max_length=24",
            "training.gradient_checkpointing=true",
        ],
    ),
    ("lora on an embedding and the head", &["adapter.target_modules=[\"q\", \"embed_tokens\", \"lm_head\"]"]),
    ("ia3", &["adapter.method=ia3"]),
];

#[test]
fn a_method_works_in_every_command() {
    for (name, set) in CASES {
        let workspace = workspace();
        let (_, logged) = workspace.train_and_resume(&[set, &[TASK, "data.eval=train.jsonl"]].concat());

        // Saved and loaded, and merged into the base. The adapter, and the model, say what they are for.
        let adapted = workspace.eval_loss("model", &["--adapter", "out"]);
        let last = logged.last().unwrap()["eval_loss"].as_f64().unwrap();
        // The log rounds to f32.
        assert!((adapted - last).abs() <= 1e-7 * last, "{name}: {adapted} and {last}");
        assert!(adapted < workspace.eval_loss("model", &[]), "{name} learned nothing");
        workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
        let merged = workspace.eval_loss("merged", &[]);
        // One rounding of each merged weight to f32.
        assert!((merged - adapted).abs() <= 1e-5 * adapted, "{name}: {merged} and {adapted}");

        let inspected = workspace.run(&["inspect", "out", "--json"]).expect(0).json();
        assert_eq!(inspected["task_type"], "SEQ_2_SEQ_LM", "{name}");
        let flags = ["plan", "--model", "model", "--data", "train.jsonl", "--output", "planned", "--json"];
        let settings: Vec<&str> = set.iter().chain(&[TASK, "adapter.r=4"]).flat_map(|set| ["--set", set]).collect();
        let plan = workspace.run(&[&flags[..], &settings[..]].concat()).expect(0).json();
        let saved = inspected["parameters"].as_u64().unwrap();
        // An adapted head is saved with its base.
        let beside = if name.contains("head") { 64 * 32 } else { 0 };
        assert_eq!(plan["trainable_parameters"].as_u64().unwrap() + beside, saved, "{name}");
        let generate = |model: &[&str]| {
            let rest = ["--prompt", "w3 w4 w9", "--max-new-tokens", "5", "--json"];
            workspace.run(&[&["generate"], model, &rest].concat()).expect(0).json()["token_ids"].clone()
        };
        let generated = generate(&["--model", "model", "--adapter", "out"]);
        assert_eq!(generated, generate(&["--model", "merged"]), "{name}");
        let several = ["generate", "--model", "model", "--adapter", "out", "--max-new-tokens", "6"];
        assert_eq!(workspace.written(&several, 3), workspace.written(&several, 1), "{name}");
    }
}

#[test]
fn the_model_is_described_and_trained_in_full() {
    let workspace = workspace();
    let inspected = workspace.run(&["inspect", "model", "--json"]).expect(0).json();
    assert_eq!((&inspected["model_type"], &inspected["num_hidden_layers"]), (&json!("t5"), &json!(2)));
    let full = [TASK, "adapter.method=full", "training.max_steps=3", "data.eval=train.jsonl"];
    workspace.train("full", &full).expect(0);
    // The embedding stays one tensor, the head its own name for it.
    let file = SafetensorsFile::open(workspace.path("full/model.safetensors")).unwrap();
    assert!(file.get("shared.weight").is_some() && file.get("lm_head.weight").is_none());
    let eval = |model: &str| {
        let flags = ["eval", "--model", model, "--data", "train.jsonl", "--json"];
        workspace.run(&flags).expect(0).json()
    };
    let (base, full) = (eval("model"), eval("full"));
    assert!(full["loss"].as_f64() < base["loss"].as_f64());
    assert_eq!(full["tokens"], base["tokens"]);
}

#[test]
fn logits_are_those_of_the_labels_padded() {
    let workspace = workspace();
    let flags =
        ["eval", "--model", "model", "--data", "train.jsonl", "--batch-size", "3", "--logits", "logits.safetensors"];
    workspace.run(&flags).expect(0);
    let file = SafetensorsFile::open(workspace.path("logits.safetensors")).unwrap();
    let logits = file.get("logits").unwrap();
    // Labels of the first three rows: two words and an end, four tokens, four words and an end.
    assert_eq!(logits.shape(), [3, 5, 64]);
    let values = logits.to_f32().unwrap();
    assert!(values[3 * 64..5 * 64].iter().all(|&x| x == 0.0) && values[9 * 64..10 * 64].iter().all(|&x| x == 0.0));
    assert!(values[..3 * 64].iter().all(|&x| x != 0.0) && values[10 * 64..].iter().all(|&x| x != 0.0));
}

#[test]
fn a_task_and_a_model_that_do_not_fit_are_told() {
    let workspace = workspace();
    let wrong = workspace.train("out", &[]).expect(3);
    assert!(wrong.stderr.contains("it is an encoder-decoder, for task_type SEQ_2_SEQ_LM"), "{}", wrong.stderr);
    let llama = Workspace::new(4);
    let wrong = llama.train("out", &[TASK]).expect(3);
    assert!(wrong.stderr.contains("decoders are for task_type CAUSAL_LM"), "{}", wrong.stderr);
    workspace.write_rows("train.jsonl", [json!({ "text": "w3 w4" })]);
    let wrong = workspace.train("out", &[TASK]).expect(3);
    assert!(wrong.stderr.contains("{prompt, completion}"), "{}", wrong.stderr);
}
