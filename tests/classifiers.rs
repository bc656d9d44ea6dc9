//! Classifiers from rows to files: sequences, tokens, numbers; encoders and decoders; heads that the model has and new ones.

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{CheckpointError, MappedTensor, SafetensorsFile, Storage, TensorSpec, write_safetensors};
use serde_json::{Value, json};
use tunesmith_tests::{Output, Workspace, data, metrics};

const CLASSES: [&str; 3] = ["down", "north", "up"];

/// Row `index`: its class, and 4 to 9 tokens, the second of which tells the class.
fn tokens(index: usize) -> (usize, Vec<usize>) {
    let class = index * 7 % 3;
    let mut ids: Vec<usize> = (0..4 + index % 6).map(|i| 20 + (index * 13 + i * 5) % 25).collect();
    ids[1] = 5 + class;
    (class, ids)
}

/// A directory with a model of `tests/data` and rows that `row` makes of a class and tokens.
fn workspace(model: &str, row: impl Fn(usize, Vec<usize>) -> Value) -> Workspace {
    let workspace = Workspace::new(1);
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(data(model).join(file), workspace.path("model").join(file)).unwrap();
    }
    // Rows of token ids need none, and this one has more words than the models.
    std::fs::remove_file(workspace.path("model/tokenizer.json")).unwrap();
    workspace.write_rows("train.jsonl", (0..48).map(tokens).map(|(class, ids)| row(class, ids)));
    workspace
}

fn named(class: usize, ids: Vec<usize>) -> Value {
    json!({ "input_ids": ids, "label": CLASSES[class] })
}

fn assert_close(a: &Value, b: &Value, tolerance: f64) {
    let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
    assert!((a - b).abs() <= tolerance * b.abs(), "{a} and {b}");
}

/// Settings of a run that learns the rows.
const LEARN: [&str; 4] = [
    "data.eval=train.jsonl",
    "training.max_steps=60",
    "training.learning_rate=2e-2",
    "training.per_device_train_batch_size=8",
];

fn train(workspace: &Workspace, out: &str, set: &[&str]) -> Output {
    workspace.train(out, &[&LEARN[..], set].concat())
}

#[test]
fn a_new_head_learns_the_classes_that_rows_name() {
    let workspace = workspace("encoders/bert-features", named);
    let run = train(&workspace, "out", &["model.task_type=SEQ_CLS"]).expect(0);
    let new = "newly initialized, since the model's files do not have them: classifier.weight, classifier.bias";
    assert!(
        run.stderr.contains(new) && run.stdout.contains("3 (`down`, `north`, `up`)"),
        "{} {}",
        run.stdout,
        run.stderr
    );
    let logged = metrics(&workspace.path("out")).last().unwrap().clone();
    // A third is chance.
    assert!(logged["eval_accuracy"].as_f64().unwrap() >= 0.9, "{logged}");

    let text = std::fs::read_to_string(workspace.path("out/labels.json")).unwrap();
    let labels: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(labels["id2label"], json!({ "0": "down", "1": "north", "2": "up" }));
    // Classes and their number come from the adapter: the model's own configuration says two.
    let adapted = workspace.eval("model", &["--adapter", "out", "--logits", "l.safetensors", "--batch-size", "5"]);
    assert_close(&adapted["loss"], &logged["eval_loss"], 1e-6);
    assert_eq!(adapted["tokens"], 48);
    let file = checkpoint::SafetensorsFile::open(workspace.path("l.safetensors")).unwrap();
    assert_eq!(file.get("logits").unwrap().shape(), [5, 3]);

    // The merged model has the head, under the names of a model with one.
    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
    assert_close(&workspace.eval("merged", &[])["loss"], &adapted["loss"], 1e-5);
    let merged = checkpoint::SafetensorsFile::open(workspace.path("merged/model.safetensors")).unwrap();
    assert!(merged.names().any(|name| name == "classifier.weight"));
    assert!(merged.names().all(|name| name.starts_with("bert.") || name.starts_with("classifier.")));
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(workspace.path("merged/config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    let found = workspace.run(&["inspect", "merged", "--json"]).expect(0).json();
    assert_eq!((&found["model_type"], &found["labels"]), (&json!("bert"), &json!(CLASSES)));
}

/// Copies a file without the tensors whose names hold `part`.
fn copy_without(part: &str, from: &Path, to: &Path) {
    let file = SafetensorsFile::open(from).unwrap();
    let kept = file.tensors().filter(|tensor| !tensor.name().contains(part));
    let spec = |t: MappedTensor| TensorSpec { name: t.name().to_owned(), dtype: t.dtype(), shape: t.shape().to_vec() };
    let specs: Vec<TensorSpec> = kept.map(spec).collect();
    let bytes = |spec: &TensorSpec| Ok(Cow::Owned(file.get(&spec.name).unwrap().bytes().to_vec()));
    write_safetensors::<CheckpointError>(&Storage, to, &specs, &[], bytes).unwrap();
}

#[test]
fn a_head_that_is_in_no_file_is_not_merged() {
    let workspace = workspace("peft-classifiers/base-bert", named);
    let model = data("peft-classifiers/base-bert/model.safetensors");
    copy_without("classifier.", &model, &workspace.path("model/model.safetensors"));
    let adapter = data("peft-classifiers/bert-lora");
    std::fs::create_dir(workspace.path("adapter")).unwrap();
    let text = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    (config["task_type"], config["modules_to_save"]) = (Value::Null, Value::Null);
    workspace.write("adapter/adapter_config.json", &config.to_string());
    let weights = "adapter_model.safetensors";
    copy_without("classifier.", &adapter.join(weights), &workspace.path("adapter").join(weights));
    let merge =
        |adapter: &str| workspace.run(&["merge", "--model", "model", "--adapter", adapter, "--output", "merged"]);
    let refused = merge("adapter").expect(3).stderr;
    let expected = "neither model nor adapter has classifier.weight, classifier.bias";
    assert!(refused.contains(expected) && !workspace.path("merged").exists(), "{refused}");
    merge(adapter.to_str().unwrap()).expect(0);
}

#[test]
fn a_classifier_goes_on_where_it_stopped() {
    let workspace = workspace("encoders/bert-features", named);
    let settings = ["model.task_type=SEQ_CLS", "training.lr_scheduler_type=constant", "adapter.lora_dropout=0.1"];
    let run = |out: &str, steps: &str| {
        workspace.train(out, &[&settings[..], &[steps, "training.save_steps=3"]].concat()).expect(0);
        metrics(&workspace.path(out))
    };
    let whole = run("whole", "training.max_steps=6");
    run("parts", "training.max_steps=3");
    assert_eq!(run("parts", "training.max_steps=6"), whole);
    let file = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
    assert_eq!(file("parts"), file("whole"));
}

#[test]
fn tokens_numbers_and_decoders_learn_too() {
    let of_tokens = |class: usize, ids: Vec<usize>| {
        let labels: Vec<i64> = ids.iter().map(|&id| if id < 20 { class as i64 } else { -100 }).collect();
        json!({ "input_ids": ids, "labels": labels })
    };
    let of_numbers = |class: usize, ids: Vec<usize>| json!({ "input_ids": ids, "label": class as f64 - 0.5 });
    let of_classes = |class: usize, ids: Vec<usize>| json!({ "input_ids": ids, "label": class });

    let tokens = workspace("encoders/roberta", of_tokens);
    train(&tokens, "out", &["model.task_type=TOKEN_CLS", "model.num_labels=3"]).expect(0);
    let result = tokens.eval("model", &["--adapter", "out", "--logits", "l.safetensors", "--batch-size", "6"]);
    assert!(result["accuracy"].as_f64().unwrap() >= 0.9 && result["tokens"] == 48, "{result}");
    let file = checkpoint::SafetensorsFile::open(tokens.path("l.safetensors")).unwrap();
    assert_eq!(file.get("logits").unwrap().shape(), [6, 9, 3]);

    let numbers = workspace("peft-classifiers/base-regression", of_numbers);
    train(&numbers, "out", &["model.task_type=SEQ_CLS"]).expect(0);
    // The variance of the numbers is 2/3: what a constant loses.
    let result = numbers.eval("model", &["--adapter", "out"]);
    assert!(result["loss"].as_f64().unwrap() <= 0.3 && result["accuracy"].is_null(), "{result}");

    for (model, target) in [("llama", "[\"q_proj\",\"v_proj\"]"), ("distilbert", "[\"q_lin\",\"v_lin\"]")] {
        let workspace = workspace(&format!("encoders/{model}"), of_classes);
        let target = format!("adapter.target_modules={target}");
        let run = train(&workspace, "out", &["model.task_type=SEQ_CLS", &target]).expect(0);
        assert!(!run.stderr.contains("newly"), "{}", run.stderr);
        let accuracy = workspace.eval("model", &["--adapter", "out"])["accuracy"].as_f64().unwrap();
        assert!(accuracy >= 0.9, "{model}: {accuracy}");
    }
}

#[test]
fn every_method_saves_the_head_that_it_trains() {
    let workspace = workspace("encoders/bert-features", named);
    for (method, prefix) in [
        ("ia3", "base_model.model."),
        ("ln_tuning", "base_model.model."),
        ("vera", "base_model.model."),
        ("adalora", "base_model.model."),
        // PEFT leaves one `model.` out beside virtual tokens.
        ("prompt_tuning", "base_model."),
        ("prefix_tuning", "base_model."),
        ("p_tuning", "base_model."),
    ] {
        let method_set = format!("adapter.method={method}");
        let set = ["model.task_type=SEQ_CLS", &method_set, "training.max_steps=2", "training.save_steps=0"];
        workspace.train(method, &set).expect(0);
        let file = checkpoint::SafetensorsFile::open(workspace.path(method).join("adapter_model.safetensors")).unwrap();
        let head = |name| file.get(&format!("{prefix}classifier.{name}")).map(|tensor| tensor.shape().to_vec());
        assert_eq!((head("weight"), head("bias")), (Some(vec![3, 24]), Some(vec![3])), "{method}");
        workspace.eval("model", &["--adapter", method]);
    }
}

#[test]
fn full_fine_tuning_writes_a_classifier() {
    let workspace = workspace("encoders/bert-features", named);
    let set = ["model.task_type=SEQ_CLS", "adapter.method=full", "training.max_steps=3", "data.eval=train.jsonl"];
    let mut command = workspace.train_command("out", &set);
    // Full fine-tuning has no rank.
    let arguments: Vec<_> = command.get_args().map(|a| a.to_owned()).collect();
    let rank = arguments.iter().position(|argument| argument == "adapter.r=4").unwrap();
    let kept = arguments.iter().enumerate().filter(|(i, _)| *i != rank && *i + 1 != rank).map(|(_, a)| a);
    command = {
        let mut again = tunesmith_tests::tunesmith();
        again.current_dir(workspace.path("")).args(kept);
        again
    };
    Output::of(&mut command).expect(0);
    let logged = metrics(&workspace.path("out")).last().unwrap().clone();
    assert_close(&workspace.eval("out", &[])["loss"], &logged["eval_loss"], 1e-6);
}

#[test]
fn what_does_not_fit_is_told_with_its_remedy() {
    let workspace = workspace("encoders/bert-features", named);
    let refused = |set: &[&str], code: i32, expected: &str| {
        let run = workspace.train("out", set).expect(code);
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    };
    refused(&[], 3, "`bert` is not supported; supported are gemma");
    refused(&[], 3, "it is an encoder, for task_type SEQ_CLS or TOKEN_CLS");
    refused(
        &["model.task_type=SEQ_CLS", "model.num_labels=4"],
        2,
        "model.num_labels is 4, but the rows of train.jsonl name 3 classes: down, north, up",
    );
    refused(&["model.task_type=SEQ_CLS", "model.num_labels=0"], 2, "at least 1");
    workspace.write_rows("train.jsonl", [json!({ "input_ids": [3, 4], "label": 2 })]);
    refused(&["model.task_type=SEQ_CLS"], 3, "label 2 is not below num_labels 2");
}

#[test]
fn rows_are_embedded() {
    let workspace = workspace("encoders/bert-features", named);
    let arguments = ["embed", "--model", "model", "--data", "train.jsonl", "--output", "e.safetensors", "--normalize"];
    let run = workspace.run(&arguments).expect(0);
    assert!(run.stdout.contains("48 rows of 24 values"), "{}", run.stdout);
    let file = checkpoint::SafetensorsFile::open(workspace.path("e.safetensors")).unwrap();
    let embeddings = file.get("embeddings").unwrap();
    assert_eq!(embeddings.shape(), [48, 24]);
    for row in embeddings.to_f32().unwrap().chunks_exact(24) {
        let length = row.iter().map(|x| x * x).sum::<f32>();
        // A rounding for each of 24 squares.
        assert!((length - 1.0).abs() <= 1e-5, "{length}");
    }
}

#[test]
fn an_adapter_of_a_classifier_embeds() {
    let workspace = workspace("encoders/bert-features", named);
    train(&workspace, "out", &["model.task_type=SEQ_CLS"]).expect(0);
    let embeddings = |model: &str, more: &[&str]| {
        let embed = ["embed", "--model", model, "--data", "train.jsonl", "--output", "e.safetensors"];
        workspace.run(&[&embed[..], more].concat()).expect(0);
        SafetensorsFile::open(workspace.path("e.safetensors")).unwrap().get("embeddings").unwrap().to_f32().unwrap()
    };
    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
    let (merged, plain) = (embeddings("merged", &[]), embeddings("model", &[]));
    let adapted = embeddings("model", &["--adapter", "out"]);
    // `max` passes over NaN.
    assert!([&adapted, &merged, &plain].iter().all(|values| values.iter().all(|x| x.is_finite())));
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // The merged weights were rounded once, and the adapted ones' products twice; what was learned is far more.
    assert!(distance(&adapted, &merged) <= 1e-5 && distance(&plain, &merged) >= 1e-2, "{}", distance(&plain, &merged));
}

/// A tokenizer of words with BERT's template for one text and two, and the words `w3` to `w49`.
fn bert_tokenizer() -> Value {
    let mut vocab: serde_json::Map<String, Value> = (3..50).map(|id| (format!("w{id}"), json!(id))).collect();
    for (id, token) in ["[UNK]", "[CLS]", "[SEP]"].into_iter().enumerate() {
        vocab.insert(token.to_owned(), json!(id));
    }
    let special = |token: &str, type_id: u32| json!({ "SpecialToken": { "id": token, "type_id": type_id } });
    let text = |id: &str, type_id: u32| json!({ "Sequence": { "id": id, "type_id": type_id } });
    let entry = |token: &str, id: u32| json!({ "id": token, "ids": [id], "tokens": [token] });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": [],
        "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), text("A", 0), special("[SEP]", 0), text("B", 1), special("[SEP]", 1)],
            "special_tokens": { "[CLS]": entry("[CLS]", 1), "[SEP]": entry("[SEP]", 2) },
        },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
    })
}

#[test]
fn pairs_of_texts_are_told_apart() {
    let workspace = workspace("peft-classifiers/base-bert", named);
    workspace.write("model/tokenizer.json", &bert_tokenizer().to_string());
    workspace.write("model/tokenizer_config.json", "{}");
    let logits = |rows: &[Value]| {
        workspace.write_rows("pairs.jsonl", rows.iter().cloned());
        let eval = ["eval", "--model", "model", "--data", "pairs.jsonl", "--logits", "logits.safetensors"];
        workspace.run(&eval).expect(0);
        let file = checkpoint::SafetensorsFile::open(workspace.path("logits.safetensors")).unwrap();
        file.get("logits").unwrap().to_f32().unwrap()
    };
    let texts =
        logits(&[json!({ "text": "w5 w6", "text_pair": "w7", "label": 0 }), json!({ "text": "w9", "label": 1 })]);
    let second = json!({ "input_ids": [1, 9, 2], "label": 1 });
    let tokens = |parts: Value| json!({ "input_ids": [1, 5, 6, 2, 7, 2], "token_type_ids": parts, "label": 0 });
    assert_eq!(texts, logits(&[tokens(json!([0, 0, 0, 0, 1, 1])), second.clone()]));
    assert_ne!(texts, logits(&[tokens(json!([0, 0, 0, 0, 0, 0])), second]));
    workspace.write_rows("pairs.jsonl", [tokens(json!([0, 0, 0, 0, 2, 2]))]);
    let refused = workspace.run(&["eval", "--model", "model", "--data", "pairs.jsonl"]).expect(3).stderr;
    assert!(refused.contains("`token_type_ids`") && refused.contains("0 to 1"), "{refused}");
    // In training too, and the rows of a run are the rows it goes on with.
    workspace.write_rows(
        "train.jsonl",
        (0..12).map(|i| json!({ "text": format!("w{}", 5 + i % 3), "text_pair": "w8 w9", "label": i % 3 })),
    );
    workspace.train("out", &["model.task_type=SEQ_CLS"]).expect(0);
}

#[test]
fn words_are_classified_by_their_first_token() {
    let workspace = workspace("encoders/bert-features", named);
    workspace.write("model/tokenizer.json", &bert_tokenizer().to_string());
    workspace.write("model/tokenizer_config.json", "{}");
    let rows = (0..24).map(|i| {
        let words: Vec<String> = (0..4).map(|k| format!("w{}", 5 + (i * 7 + k * 3) % 20)).collect();
        let tags: Vec<&str> = words.iter().map(|word| if word.len() == 2 { "SHORT" } else { "LONG" }).collect();
        json!({ "tokens": words, "tags": tags })
    });
    workspace.write_rows("train.jsonl", rows);
    train(&workspace, "out", &["model.task_type=TOKEN_CLS"]).expect(0);
    let result = workspace.eval("model", &["--adapter", "out"]);
    assert_eq!(result["tokens"], 96);
    assert!(result["accuracy"].as_f64().unwrap() >= 0.9, "{result}");
}
