//! Hostile input and bad luck: a message that says what to do, an exit code, and outputs left as they were.

use std::borrow::Cow;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use checkpoint::{CheckpointError, Dtype, SafetensorsFile, Storage, TensorSpec, write_safetensors};
use serde_json::json;
use tunesmith_tests::{Output, Workspace, metrics, tunesmith};

/// Checks the exit code and that every one of `parts` is in the message.
fn refused(output: Output, code: i32, parts: &[&str]) {
    let output = output.expect(code);
    for part in parts {
        assert!(output.stderr.contains(part), "expected {part:?} in:\n{}", output.stderr);
    }
}

/// Rewrites one tensor of a file in f32.
fn change_tensor(path: &Path, name: &str, change: impl Fn(&mut [f32])) {
    let file = SafetensorsFile::open(path).unwrap();
    let values: Vec<(TensorSpec, Vec<f32>)> = file
        .tensors()
        .map(|tensor| {
            let spec = TensorSpec { name: tensor.name().into(), dtype: Dtype::F32, shape: tensor.shape().to_vec() };
            let mut values = tensor.to_f32().unwrap();
            if tensor.name() == name {
                change(&mut values);
            }
            (spec, values)
        })
        .collect();
    let specs: Vec<TensorSpec> = values.iter().map(|(spec, _)| spec.clone()).collect();
    drop(file);
    write_safetensors(&Storage, path, &specs, &[("format", "pt")], |spec| {
        let (_, values) = values.iter().find(|(s, _)| s == spec).unwrap();
        Ok::<_, CheckpointError>(Cow::Owned(values.iter().flat_map(|x| x.to_le_bytes()).collect()))
    })
    .unwrap();
}

/// Changes the model so that it computes no numbers where token 40 is: channel 0 belongs to that token, and is blown up on the way
/// to queries and keys, so that the score of the token with itself overflows.
fn overflow_at_token_40(workspace: &Workspace) {
    let weights = workspace.path("model/model.safetensors");
    change_tensor(&weights, "model.embed_tokens.weight", |table| {
        table.chunks_exact_mut(32).enumerate().for_each(|(token, row)| {
            if token == 40 {
                row.fill(0.0);
            }
            row[0] = if token == 40 { 1.0 } else { 0.0 };
        });
    });
    for projection in ["q_proj", "k_proj"] {
        change_tensor(&weights, &format!("model.layers.0.self_attn.{projection}.weight"), |weight| {
            weight.chunks_exact_mut(32).for_each(|row| row[0] = 1e19);
        });
    }
}

/// A run of so many steps that it does not end by itself, once it has taken two.
fn endless(workspace: &Workspace, out: &str, set: &[&str]) -> Child {
    let mut command = workspace.train_command(out, &[&["training.max_steps=1000000"], set].concat());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = workspace.path(out).join("metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() >= 2).eq(&false) {
        assert!(Instant::now() < deadline, "no step within a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn rows_that_cannot_be_used_name_their_line() {
    let workspace = Workspace::new(3);
    let good = json!({ "input_ids": [5, 6, 7] });
    for (row, parts) in [
        (json!({ "input_ids": [5, 64] }), &["train.jsonl:2", "64", "vocab_size 64"][..]),
        (json!({ "input_ids": [5, -1] }), &["train.jsonl:2"]),
        (json!({ "messages": [{ "role": "user", "content": "w5" }] }), &["train.jsonl:2", "chat template"]),
        (json!({ "txet": "w5" }), &["train.jsonl:2", "`txet`"]),
        (json!([1, 2]), &["train.jsonl:2"]),
    ] {
        workspace.write_rows("train.jsonl", [good.clone(), row]);
        refused(workspace.train("out", &[]), 3, parts);
    }
    let twice = "{\"input_ids\": [5, 6, 7]}\n{\"input_ids\": [5, 6], \"input_ids\": [5, 7]}\n";
    workspace.write("train.jsonl", twice);
    for set in [&[][..], &["data.cache=always"]] {
        refused(workspace.train("out", set), 3, &["train.jsonl:2: `input_ids` is there twice"]);
    }
    workspace.write("train.jsonl", "");
    refused(workspace.train("out", &[]), 3, &["train.jsonl", "no rows"]);
    workspace.write_rows("train.jsonl", [json!({ "input_ids": [5, 6], "labels": [-100, -100] })]);
    refused(workspace.train("out", &[]), 3, &["train.jsonl", "none of the 1 rows has a token to train on"]);
    refused(workspace.train("out", &["data.eval=nowhere.jsonl"]), 3, &["train.jsonl"]);
}

#[test]
fn a_micro_batch_with_nothing_to_train_on_adds_nothing() {
    let workspace = Workspace::new(0);
    let masked = json!({ "input_ids": [5, 6, 7], "labels": [-100, -100, -100] });
    let trained = json!({ "input_ids": [8, 9, 10, 11] });
    workspace.write_rows("train.jsonl", [masked, trained.clone()]);
    let ordered = ["data.shuffle=false", "training.per_device_train_batch_size=1"];
    workspace.train("two", &[ordered[0], ordered[1], "training.gradient_accumulation_steps=2"]).expect(0);
    workspace.train("apart", &ordered).expect(0);
    workspace.write_rows("train.jsonl", [trained]);
    workspace.train("one", &ordered).expect(0);
    let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
    assert!(adapter("two") == adapter("one"));
    let losses: Vec<f64> = metrics(&workspace.path("apart")).iter().map(|e| e["loss"].as_f64().unwrap()).collect();
    assert!(losses[0] == 0.0 && losses[1] > 0.0, "{losses:?}");
}

#[test]
fn rows_longer_than_the_limit_are_counted() {
    let workspace = Workspace::new(0);
    workspace.write_rows("train.jsonl", [json!({ "input_ids": vec![5; 40] }), json!({ "input_ids": [5, 6] })]);
    let output = workspace.train("out", &["data.max_length=8"]).expect(0);
    assert!(output.stdout.contains("1 truncated"), "{}", output.stdout);
    assert!(output.stderr.contains("1 row cut to data.max_length = 8 tokens"), "{}", output.stderr);
    assert!(output.stderr.contains("no row teaches to stop"), "{}", output.stderr);
}

#[test]
fn targets_that_match_nothing_are_refused() {
    let workspace = Workspace::new(5);
    refused(workspace.train("out", &["adapter.target_modules=[\"c_attn\"]"]), 2, &["c_attn", "q_proj"]);
    refused(workspace.train("out", &["adapter.target_modules=(q_proj"]), 2, &["(q_proj", "regular expression"]);
    let some = workspace.train("out", &["adapter.target_modules=[\"q_proj\", \"c_attn\"]"]).expect(0);
    assert!(some.stderr.contains("`c_attn` means no module"), "{}", some.stderr);
}

#[test]
fn output_directories_are_checked_first() {
    let workspace = Workspace::new(5);
    workspace.write("file", "");
    refused(workspace.train("file", &[]), 2, &["file is not a directory"]);
    refused(workspace.train("file/below", &[]), 2, &["cannot be written to"]);
    let before = std::fs::read(workspace.path("model/config.json")).unwrap();
    refused(workspace.train("model", &["adapter.method=full"]), 2, &["already holds config.json"]);
    assert_eq!(before, std::fs::read(workspace.path("model/config.json")).unwrap());
    std::fs::create_dir(workspace.path("real")).unwrap();
    std::os::unix::fs::symlink(workspace.path("real"), workspace.path("link")).unwrap();
    workspace.train("link", &[]).expect(0);
    assert!(workspace.path("real/adapter_model.safetensors").exists());
}

#[test]
fn a_second_trainer_is_told_who_has_the_directory() {
    let workspace = Workspace::new(5);
    let mut first = endless(&workspace, "out", &[]);
    refused(workspace.train("out", &[]), 2, &["in use by process", &first.id().to_string()]);
    signal(&first, "TERM");
    assert_eq!(first.wait().unwrap().code(), Some(143));
}

#[test]
fn signals_save_and_stop() {
    let workspace = Workspace::new(5);
    for (name, code) in [("INT", 130), ("TERM", 143), ("USR1", 0)] {
        let mut child = endless(&workspace, name, &[]);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        let steps = metrics(&workspace.path(name)).len();
        let checkpoint = workspace.path(name).join(format!("checkpoint-{steps}"));
        checkpoint::Manifest::verify(&checkpoint).unwrap();
    }
}

#[test]
fn a_signal_ends_what_is_no_step_at_once() {
    let workspace = Workspace::new(5);
    // Rows that never come.
    assert!(std::process::Command::new("mkfifo").arg(workspace.path("pipe")).status().unwrap().success());
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = workspace.train_command(name, &["data.train=pipe"]).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        // The directory is opened once signals are listened to.
        while !workspace.path(name).is_dir() {
            assert!(Instant::now() < deadline, "no output directory within a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
    }
}

#[test]
fn a_shortened_weight_file_ends_the_run_with_a_message() {
    let workspace = Workspace::new(5);
    let child = endless(&workspace, "out", &[]);
    // What the kernel sends to a process that reads a mapped page behind the end of its file.
    signal(&child, "BUS");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(checkpoint::EXIT_BUS_ERROR), "{stderr}");
    assert!(stderr.contains("a file that is in use was shortened"), "{stderr}");
    assert!(!workspace.path("out/adapter_model.safetensors").exists());
}

#[test]
fn divergence_stops_before_anything_is_spoiled() {
    let workspace = Workspace::new(0);
    // The token comes with the fourth row.
    let rows = [[5, 6, 7], [8, 9, 10], [11, 12, 13], [14, 40, 15], [16, 17, 18]];
    workspace.write_rows("train.jsonl", rows.map(|ids| json!({ "input_ids": ids })));
    overflow_at_token_40(&workspace);
    let set = ["data.shuffle=false", "training.per_device_train_batch_size=1", "training.save_steps=1"];
    refused(
        workspace.train("out", &set),
        6,
        &["diverged at step 4", "checkpoint-3 holds the last good state", "learning_rate"],
    );
    let out = workspace.path("out");
    assert!(!out.join("adapter_model.safetensors").exists() && !out.join("checkpoint-4").exists());
    assert_eq!(metrics(&out).len(), 3);
    for entry in ["checkpoint-3/adapter_model.safetensors", "checkpoint-3/optimizer.safetensors"] {
        let file = SafetensorsFile::open(out.join(entry)).unwrap();
        assert!(file.tensors().all(|t| t.to_f32().unwrap().iter().all(|x| x.is_finite())), "{entry}");
    }
    // A device is asked for step 4 when step 5 is logged, and has not taken either.
    let seldom = ["training.device=emulated", "training.logging_steps=5", "training.save_steps=3"];
    refused(
        workspace.train("device", &[&set[..2], &seldom].concat()),
        6,
        &["diverged at step 4", "checkpoint-3 holds the last good state", "learning_rate"],
    );
}

#[test]
fn weights_and_adapters_that_are_no_numbers_are_named() {
    let workspace = Workspace::new(5);
    workspace.train("out", &[]).expect(0);
    let adapter = workspace.path("out/adapter_model.safetensors");
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
    change_tensor(&adapter, name, |values| values[3] = f32::NAN);
    let with = ["--model", "model", "--adapter", "out"];
    refused(workspace.run(&[&["eval", "--data", "train.jsonl"], &with[..]].concat()), 3, &[name]);
    refused(workspace.run(&[&["merge", "--output", "merged"], &with[..]].concat()), 3, &[name]);
    assert!(!workspace.path("merged").exists());

    change_tensor(&workspace.path("model/model.safetensors"), "model.norm.weight", |values| values[1] = f32::INFINITY);
    let parts = ["model.norm.weight", "element 1"];
    refused(workspace.train("nan", &[]), 3, &parts);
    refused(workspace.run(&["eval", "--model", "model", "--data", "train.jsonl"]), 3, &parts);
    assert!(!workspace.path("nan/adapter_model.safetensors").exists());
    // Not adapted, and still not to be copied into a model that somebody serves.
    change_tensor(&adapter, name, |values| values[3] = 0.0);
    refused(workspace.run(&[&["merge", "--output", "merged"], &with[..]].concat()), 3, &parts);
    assert!(!workspace.path("merged").exists());
}

#[test]
fn values_that_overflow_are_not_written() {
    let workspace = Workspace::new(5);
    workspace.train("out", &["training.max_steps=1"]).expect(0);
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
    change_tensor(&workspace.path("out/adapter_model.safetensors"), name, |values| values.fill(3e30));
    let path = workspace.path("out/adapter_config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["lora_alpha"] = json!(1e30);
    std::fs::write(&path, config.to_string()).unwrap();
    let merge = ["merge", "--model", "model", "--adapter", "out", "--output", "new"];
    let weight = "tensor `model.layers.0.self_attn.q_proj.weight` would not be finite as F32 at element 0";
    refused(workspace.run(&merge), 3, &[weight, "scaling"]);
    change_tensor(&workspace.path("out/adapter_model.safetensors"), name, |values| values[2] = f32::NAN);
    for format in ["peft", "mlx", "gguf"] {
        let convert = ["convert", "out", "--to", format, "--model", "model", "--output", "new"];
        refused(workspace.run(&convert), 3, &[name, "is not finite at element 2"]);
    }
    assert!(!workspace.path("new").exists());
}

#[test]
fn the_prompt_of_which_a_model_makes_no_numbers_is_named() {
    let workspace = Workspace::new(0);
    overflow_at_token_40(&workspace);
    let prompts = ["w5 w6", "w7", "w14 w40", "w8 w40"].map(|prompt| format!("{}\n\n", json!({ "prompt": prompt })));
    workspace.write("prompts.jsonl", &prompts.concat());
    let generate = ["generate", "--model", "model", "--max-new-tokens", "1"];
    for batch_size in ["1", "2", "16"] {
        let prompts = ["--prompts", "prompts.jsonl", "--batch-size", batch_size];
        refused(
            workspace.run(&[&generate[..], &prompts].concat()),
            3,
            &["prompts.jsonl:5: the model computes no finite"],
        );
    }
    refused(
        workspace.run(&[&generate[..], &["--prompt", "w40"]].concat()),
        3,
        &["error: the model computes no finite"],
    );
    workspace.run(&[&generate[..], &["--prompt", "w5 w6"]].concat()).expect(0);
}

#[test]
fn samples_that_cannot_be_written_do_not_cost_the_result() {
    let workspace = Workspace::new(0);
    workspace.write_rows("train.jsonl", (5..15).map(|id| json!({ "input_ids": [id, id + 1, id + 2] })));
    let empty = ["training.sample_prompts=[\"w5\", \"\"]"];
    workspace.write("model/tokenizer_config.json", "{}");
    for (file, key) in [("tokenizer.json", "post_processor"), ("config.json", "bos_token_id")] {
        let path = workspace.path("model").join(file);
        let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config[key] = serde_json::Value::Null;
        std::fs::write(&path, config.to_string()).unwrap();
    }
    refused(workspace.train("none", &empty), 2, &["training.sample_prompts: prompt 2: the prompt `` has no tokens"]);

    // Channel 0 belongs to token 40, which no row has. The base sees nothing of it, and is blind to how large it is; the adapter is
    // not, whose random part meets it once the other part is no longer zero.
    let weights = workspace.path("model/model.safetensors");
    change_tensor(&weights, "model.embed_tokens.weight", |table| {
        table.chunks_exact_mut(32).enumerate().for_each(|(token, row)| row[0] = if token == 40 { 1.0 } else { 0.0 });
    });
    for projection in ["q_proj", "k_proj", "v_proj"] {
        change_tensor(&weights, &format!("model.layers.0.self_attn.{projection}.weight"), |weight| {
            weight.chunks_exact_mut(32).for_each(|row| row[0] = 0.0);
        });
    }
    change_tensor(&weights, "model.layers.0.input_layernorm.weight", |scale| scale[0] = 1e13);
    let set = [
        "training.max_steps=1",
        "training.learning_rate=1",
        "adapter.lora_alpha=1e9",
        "adapter.target_modules=[\"q_proj\", \"k_proj\"]",
        "training.sample_prompts=[\"w5\", \"w40\"]",
    ];
    let trained = workspace.train("out", &set).expect(0);
    let told = "training.sample_prompts: prompt 2: the model computes no finite numbers";
    assert!(
        trained.stderr.contains(told) && trained.stderr.contains("the report has no samples"),
        "{}",
        trained.stderr
    );
    assert!(workspace.path("out/adapter_model.safetensors").exists() && workspace.path("out/report.html").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_told_is_an_error() {
    let workspace = Workspace::new(2);
    let run = |arguments: &[&str], stdout: Stdio| {
        let mut command = tunesmith();
        command.current_dir(workspace.path("")).args(arguments);
        command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()
    };
    let eval = ["eval", "--model", "model", "--data", "train.jsonl"];
    let plan = ["plan", "--model", "model", "--data", "train.jsonl", "--set", "training.output_dir=out"];
    for arguments in [
        &eval[..],
        &[&eval[..], &["--json"]].concat(),
        &plan,
        &[&plan[..], &["--json"]].concat(),
        &["inspect", "model"],
        &["doctor"],
        &["--version"],
        &["generate", "--help"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = run(arguments, full.into()).wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("the result cannot be written to stdout"), "{stderr}");
        // A reader that went away did not want it.
        let mut child = run(arguments, Stdio::piped());
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_disk_that_is_full_is_no_fault_of_the_input() {
    let workspace = Workspace::new(3);
    workspace.train("out", &["training.max_steps=1"]).expect(0);
    let program = tunesmith().get_program().to_str().unwrap().to_owned();
    for arguments in [
        "combine --adapter out --adapter out --output small",
        "convert out --to peft --output small",
        "convert out --to mlx --model model --output small",
        "quickstart --output small",
    ] {
        // Files may grow to 1 KiB.
        let script = format!("trap '' XFSZ; ulimit -f 1; exec '{program}' {arguments}");
        let mut shell = std::process::Command::new("bash");
        let output = Output::of(shell.current_dir(workspace.path("")).args(["-c", &script])).expect(1);
        assert!(output.stderr.contains("cannot write small"), "{arguments}: {}", output.stderr);
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let workspace = Workspace::new(5);
    workspace.train("out", &[]).expect(0);
    let eval = ["eval", "--model", "model", "--adapter", "out", "--data", "train.jsonl"];
    let path = workspace.path("out/adapter_config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("\"r\": 4", "\"r\": 8", "expected [8, 32]"),
        ("\"use_dora\": false", "\"use_dora\": true", "lora_magnitude_vector"),
        ("\"layer_replication\": null", "\"layer_replication\": [[0, 2]]", "layer_replication"),
        ("\"LORA\"", "\"LOHA\"", "LOHA"),
        ("\"q_proj\"", "\"k_proj\"", "k_proj"),
    ] {
        assert!(config.contains(from), "{config}");
        std::fs::write(&path, config.replace(from, to)).unwrap();
        refused(workspace.run(&eval), 3, &[expected]);
    }
    std::fs::write(&path, &config).unwrap();
    let set = ["adapter.init_from=out", "adapter.use_rslora=true"];
    refused(workspace.train("next", &set), 2, &["adapter.use_rslora is true, and the adapter has false"]);
    let set = ["adapter.init_from=out", "adapter.target_modules=all-linear"];
    refused(workspace.train("next", &set), 2, &["adapter.target_modules means"]);
}

#[test]
fn a_disk_that_fills_up_leaves_the_last_checkpoint_whole() {
    let workspace = Workspace::new(9);
    let set = ["training.save_steps=2", "training.max_steps=150", "training.save_total_limit=1"];
    let command = workspace.train_command("out", &set);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    // Files may grow to 16 KiB. The trainer state in the checkpoints gets there first, then the log.
    let script = format!("trap '' XFSZ; ulimit -f 16; exec {}", quoted.join(" "));
    let mut shell = std::process::Command::new("bash");
    let output = Output::of(shell.current_dir(workspace.path("")).args(["-c", &script])).expect(1);
    assert!(output.stderr.contains("; training goes on"), "{}", output.stderr);
    assert!(output.stderr.contains("what was saved before is untouched"), "{}", output.stderr);
    let names: Vec<String> = std::fs::read_dir(workspace.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let checkpoints: Vec<&String> = names.iter().filter(|name| name.starts_with("checkpoint-")).collect();
    assert_eq!(checkpoints.len(), 1, "{names:?}");
    checkpoint::Manifest::verify(&workspace.path("out").join(checkpoints[0])).unwrap();
    assert!(names.iter().all(|name| !name.starts_with(".tmp-")), "{names:?}");
}
