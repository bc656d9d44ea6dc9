//! The command line as a contract: outputs, exit codes, files.

use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tunesmith_tests::{Output, Workspace, metrics, tunesmith};

#[test]
fn help_and_mistakes_on_the_command_line() {
    let help = Output::of(tunesmith().arg("--help")).expect(0);
    for command in [
        "train", "eval", "generate", "merge", "combine", "convert", "extract", "bake", "quantize", "plan", "inspect",
        "doctor",
    ] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{}", help.stdout);
    }
    assert!(help.stdout.contains("Exit codes: 0 done;"), "{}", help.stdout);
    for arguments in [&["trane"][..], &["eval"], &["eval", "--batch-size", "0"], &["train", "--nope"], &[]] {
        let output = Output::of(tunesmith().args(arguments)).expect(2);
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn padding_that_a_model_would_notice_is_refused() {
    let workspace = Workspace::new(4);
    let path = workspace.path("model/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    workspace.train("plain", &["training.max_steps=1", "data.pad_to_multiple_of=8"]).expect(0);
    config["rope_scaling"] = json!({"rope_type": "dynamic", "factor": 2.0});
    std::fs::write(&path, config.to_string()).unwrap();
    let refused = workspace.train("out", &["training.max_steps=1", "data.pad_to_multiple_of=8"]).expect(2);
    assert!(refused.stderr.contains("data.pad_to_multiple_of: the rotations of this model"), "{}", refused.stderr);
}

#[test]
fn packed_rows_are_padded_alike() {
    let workspace = Workspace::new(9);
    let losses = |out: &str, more: &[&str]| -> Vec<f64> {
        let settings = ["data.packing=true", "data.max_length=40", "training.max_steps=3"];
        workspace.train(out, &[&settings[..], more].concat()).expect(0);
        metrics(&workspace.path(out)).iter().filter_map(|step| step["loss"].as_f64()).collect()
    };
    // As many rows of a bin as fit without padding: the batches are the same then, whose padding nobody sees.
    let (packed, padded) = (losses("packed", &[]), losses("padded", &["data.pad_to_multiple_of=2"]));
    assert_eq!((packed.len(), padded.len()), (3, 3));
    for (padded, packed) in padded.iter().zip(&packed) {
        // Sums of rows that are cut elsewhere.
        assert!((padded - packed).abs() <= 1e-5 * packed, "{padded}, expected {packed}");
    }
}

#[test]
fn what_is_wrong_with_a_prompt_is_told_with_its_line() {
    let workspace = Workspace::new(4);
    workspace.write("model/tokenizer_config.json", "{}");
    // No token begins a text.
    for (file, key) in [("tokenizer.json", "post_processor"), ("config.json", "bos_token_id")] {
        let path = workspace.path("model").join(file);
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config[key] = Value::Null;
        std::fs::write(&path, config.to_string()).unwrap();
    }
    let told = |rows: &str| {
        workspace.write("prompts.jsonl", rows);
        workspace.run(&["generate", "--model", "model", "--prompts", "prompts.jsonl"]).expect(3).stderr
    };
    let empty = told("{\"prompt\": \"w5\"}\n\n{\"prompt\": \"\"}\n");
    assert!(empty.contains("prompts.jsonl:3: the prompt `` has no tokens"), "{empty}");
    let text = told("{\"text\": \"w5\"}\n");
    assert!(text.contains("prompts.jsonl:1: the row has the keys `text`"), "{text}");
    let named = told("{\"prompt\": \"w5\", \"adapter\": \"x\"}\n");
    assert!(named.contains("prompts.jsonl:1: the row names an `adapter`"), "{named}");
    workspace.run(&["generate", "--model", "model", "--prompt", ""]).expect(2);
}

#[test]
fn a_wrong_config_is_told_with_carets() {
    let workspace = Workspace::new(4);
    workspace.write(
        "run.toml",
        "[model]\npath = \"model\"\n\n[adapter]\nmethod = \"lora\"\nlora_dropuot = 0.1\n\n[data]\ntrain = \"train.jsonl\"\n\n\
         [training]\noutput_dir = \"out\"\nmax_steps = 0\nwarmup_steps = \"ten\"\n",
    );
    let output = workspace.run(&["train", "run.toml", "--set", "training.learning_rate=fast"]).expect(2);
    assert_eq!(output.stdout, "");
    assert_snapshot!(output.stderr, @r#"
    error: `training.learning_rate` must be a number, got a string
     --> --set:1:24
      |
    1 | training.learning_rate=fast
      |                        ^^^^

    unknown key `adapter.lora_dropuot`; did you mean `adapter.lora_dropout`?
     --> run.toml:6:1
      |
    6 | lora_dropuot = 0.1
      | ^^^^^^^^^^^^

    `training.max_steps` must be at least 1, got 0
      --> run.toml:13:13
       |
    13 | max_steps = 0
       |             ^

    `training.warmup_steps` must be an integer, got a string
      --> run.toml:14:16
       |
    14 | warmup_steps = "ten"
       |                ^^^^^
    "#);
    assert!(!workspace.path("out").exists());
    let missing = workspace.run(&["train", "nowhere.toml"]).expect(2);
    assert!(missing.stderr.contains("cannot read the config nowhere.toml"), "{}", missing.stderr);
}

#[test]
fn printed_settings_are_a_config() {
    let workspace = Workspace::new(4);
    let flags = ["train", "--model", "model", "--data", "train.jsonl", "--output", "out", "--print-config"];
    let printed = workspace.run(&flags).expect(0).stdout;
    workspace.write("printed.toml", &printed);
    assert_eq!(workspace.run(&["train", "printed.toml", "--print-config"]).expect(0).stdout, printed);
}

#[test]
fn a_run_leaves_the_documented_files() {
    let workspace = Workspace::new(9);
    let set = ["data.eval=train.jsonl", "training.eval_steps=3", "training.save_steps=4", "training.logging_steps=2"];
    let output = workspace.train("out dir ü", &set).expect(0);
    let out = workspace.path("out dir ü");
    for told in
        ["trainable params: 896 || all params: 20,512 || trainable%: 4.37%", "adapted modules: 4 (q_proj 2, v_proj 2)"]
    {
        assert!(output.stdout.contains(told), "{}", output.stdout);
    }
    assert!(output.stdout.contains("\nmemory: about "), "{}", output.stdout);
    let lines: Vec<&str> = output.stdout.lines().filter(|line| line.starts_with("step ")).collect();
    assert_eq!(lines.len(), 3, "{}", output.stdout);
    assert!(lines[2].starts_with("step 6/6 | loss ") && lines[2].contains(" tok/s | "), "{}", lines[2]);

    let steps: Vec<u64> = metrics(&out).iter().map(|entry| entry["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [2, 3, 4, 6, 6]);
    let keys = |entry: &Value| entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let entries = metrics(&out);
    assert_eq!(keys(&entries[0]), ["step", "epoch", "loss", "grad_norm", "learning_rate", "tokens"]);
    assert_eq!(keys(&entries[1]), ["step", "epoch", "eval_loss", "perplexity", "eval_accuracy"]);

    let state: Value = serde_json::from_str(&std::fs::read_to_string(out.join("trainer_state.json")).unwrap()).unwrap();
    assert_eq!((&state["global_step"], &state["max_steps"]), (&6.into(), &6.into()));
    assert_eq!(state["log_history"].as_array().unwrap().len(), 5);
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.matches("<svg").count() == 4 && report.contains("output_dir = &quot;out dir ü&quot;"), "{report}");
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.starts_with("---\nbase_model: \"model\"\nlibrary_name: peft\n"), "{card}");
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["peft_type"], &config["task_type"]), (&"LORA".into(), &"CAUSAL_LM".into()));
    assert_eq!(config["base_model_name_or_path"], "model");
    for file in ["adapter_model.safetensors", "checkpoint-4/manifest.json", "checkpoint-6/optimizer.safetensors"] {
        assert!(out.join(file).exists(), "{file}");
    }
}

#[test]
fn eval_merge_and_the_run_agree() {
    let workspace = Workspace::new(9);
    workspace.train("out", &["data.eval=train.jsonl"]).expect(0);
    let logged = metrics(&workspace.path("out")).last().unwrap().clone();
    let eval = |model: &str, more: &[&str]| workspace.eval(model, more);
    let adapted = eval("model", &["--adapter", "out"]);
    let close = |a: &Value, b: &Value, tolerance: f64| {
        let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
        assert!((a - b).abs() <= tolerance * b.abs(), "{a} and {b}");
    };
    // The log rounds to f32.
    close(&adapted["loss"], &logged["eval_loss"], 1e-7);
    close(&adapted["accuracy"], &logged["eval_accuracy"], 1e-7);
    close(&adapted["perplexity"], &adapted["loss"].as_f64().unwrap().exp().into(), 1e-12);
    assert!(adapted["loss"].as_f64() < eval("model", &[])["loss"].as_f64());
    // Batches are sums of other batches: f32 rounding of the products' order only.
    close(&eval("model", &["--adapter", "out", "--batch-size", "2"])["loss"], &adapted["loss"], 1e-6);

    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
    // One rounding of each merged weight to f32.
    close(&eval("merged", &[])["loss"], &adapted["loss"], 1e-5);
    assert!(workspace.path("merged/tokenizer.json").exists());
    let again = workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(2);
    assert!(again.stderr.contains("merged exists already"), "{}", again.stderr);
}

#[test]
fn logits_of_the_first_batch_are_padded_with_zeros() {
    let workspace = Workspace::new(5);
    let arguments =
        ["eval", "--model", "model", "--data", "train.jsonl", "--batch-size", "3", "--logits", "l.safetensors"];
    workspace.run(&arguments).expect(0);
    let file = checkpoint::SafetensorsFile::open(workspace.path("l.safetensors")).unwrap();
    let logits = file.get("logits").unwrap();
    // Rows of 3, 10 and 7 tokens.
    assert_eq!(logits.shape(), [3, 10, 64]);
    let values = logits.to_f32().unwrap();
    let token = |row: usize, at: usize| &values[(row * 10 + at) * 64..][..64];
    for (row, length) in [(0, 3), (1, 10), (2, 7)] {
        for at in 0..10 {
            assert_eq!(token(row, at).iter().all(|&x| x == 0.0), at >= length, "row {row} token {at}");
        }
    }
}

#[test]
fn generation_is_deterministic_and_streams_what_it_returns() {
    let workspace = Workspace::new(5);
    let generate = |more: &[&str]| {
        let base = ["generate", "--model", "model", "--prompt", "w5 w6 w7", "--max-new-tokens", "12"];
        workspace.run(&[&base[..], more].concat()).expect(0)
    };
    let json = generate(&["--json"]).json();
    assert_eq!(json["prompt_tokens"], 3);
    assert_eq!(json["completion_tokens"].as_u64().unwrap() as usize, json["token_ids"].as_array().unwrap().len());
    let completion = json["completion"].as_str().unwrap();
    let shown = generate(&[]).stdout;
    // The vocabulary joins words with spaces, the first one to the prompt as well.
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>().concat(), format!("w5w6w7{}", completion.replace(' ', "")));
    let draws = ["--temperature", "0.9", "--top-p", "0.95", "--top-k", "40", "--json", "--seed"];
    let ids = |seed: &str| generate(&[&draws[..], &[seed]].concat()).json()["token_ids"].clone();
    assert_eq!(ids("1"), ids("1"));
    assert_ne!(ids("1"), ids("2"));
    let wrong = ["generate", "--model", "model", "--prompt", "w5", "--temperature", "NaN"];
    workspace.run(&wrong).expect(2);
    let chat = ["generate", "--model", "model", "--prompt", "w5", "--chat"];
    assert!(workspace.run(&chat).expect(3).stderr.contains("model has no chat template, which --chat needs"));
}

#[test]
fn texts_that_are_written_at_once_are_those_written_alone() {
    let workspace = Workspace::new(5);
    let generate = ["generate", "--model", "model", "--max-new-tokens", "12"];
    let draws = [&generate[..], &["--temperature", "0.9", "--top-k", "40"]].concat();
    for generate in [&generate[..], &draws] {
        assert_eq!(workspace.written(generate, 2), workspace.written(generate, 1));
        assert_eq!(workspace.written(generate, 8), workspace.written(generate, 1));
    }
    // Every text has draws of its own.
    workspace.write_rows("twice.jsonl", [0, 1].map(|_| json!({ "prompt": "w5 w6" })));
    let rows = workspace.run(&[&draws[..], &["--prompts", "twice.jsonl", "--json"]].concat()).expect(0).json();
    assert_ne!(rows["rows"][0]["token_ids"], rows["rows"][1]["token_ids"]);
    // They are shown one after the other, in the order of the file.
    let show = |batch_size| {
        let more = ["--prompts", "prompts.jsonl", "--batch-size", batch_size];
        workspace.run(&[&generate[..], &more].concat()).expect(0).stdout
    };
    let shown = show("3");
    assert_eq!(shown, show("1"));
    let starts: Vec<&str> = shown.lines().map(|line| &line[..2]).collect();
    assert_eq!(starts, ["w3", "w9", "w5", "w1", "w4"]);
}

#[test]
fn rows_of_text_and_a_directory_of_splits() {
    let workspace = Workspace::new(0);
    std::fs::create_dir(workspace.path("rows")).unwrap();
    workspace.write(
        "rows/train.jsonl",
        "{\"text\": \"w5 w6 w7\"}\n{\"prompt\": \"w8 w9\", \"completion\": \" w10 w11\"}\n\
         {\"instruction\": \"w12\", \"input\": \"\", \"output\": \"w13 w14\"}\n",
    );
    workspace.write("rows/valid.jsonl", "{\"prompt\": \"w8 w9\", \"completion\": \" w10 w11\"}\n");
    let flags = ["train", "--model", "model", "--data", "rows", "--output", "out", "--set", "training.max_steps=2"];
    let output = workspace.run(&flags).expect(0);
    assert!(output.stdout.contains("data: 3 rows, "), "{}", output.stdout);
    // Completions end with a stop token.
    assert!(!output.stderr.contains("no row teaches to stop"), "{}", output.stderr);
    assert_eq!(metrics(&workspace.path("out")).last().unwrap()["step"], 2);
    assert!(metrics(&workspace.path("out")).last().unwrap()["eval_loss"].is_number());
    let tokens = |more: &[&str]| {
        let base = ["eval", "--model", "model", "--adapter", "out", "--data", "rows", "--json"];
        workspace.run(&[&base[..], more].concat()).expect(0).json()["tokens"].clone()
    };
    // Two words of the completion and its end.
    assert_eq!(tokens(&[]), 3);
    assert_eq!(tokens(&["--max-length", "3"]), 1);
}

#[test]
fn full_fine_tuning_writes_a_model() {
    let workspace = Workspace::new(9);
    workspace.train("out", &["adapter.method=full", "training.learning_rate=1e-3", "data.eval=train.jsonl"]).expect(0);
    let logged = metrics(&workspace.path("out")).last().unwrap()["eval_loss"].as_f64().unwrap();
    let loss = workspace.eval_loss("out", &[]);
    // The log rounds to f32.
    assert!((loss - logged).abs() <= 1e-6, "{loss} and {logged}");
    assert!(workspace.path("out/tokenizer.json").exists() && !workspace.path("out/adapter_config.json").exists());
}

#[test]
fn inspect_plan_and_doctor_describe() {
    let workspace = Workspace::new(9);
    workspace.train("out", &[]).expect(0);
    let model = workspace.run(&["inspect", "model", "--json"]).expect(0).json();
    assert_eq!(
        (&model["kind"], &model["model_type"], &model["parameters"]),
        (&"model".into(), &"llama".into(), &19616.into())
    );
    let adapter = workspace.run(&["inspect", "out", "--json"]).expect(0).json();
    assert_eq!((&adapter["kind"], &adapter["r"], &adapter["parameters"]), (&"adapter".into(), &4.into(), &896.into()));
    assert!(workspace.run(&["inspect", "train.jsonl"]).expect(3).stderr.contains("train.jsonl"));

    let flags =
        ["plan", "--model", "model", "--data", "train.jsonl", "--output", "planned", "--set", "adapter.r=4", "--json"];
    let plan = workspace.run(&flags).expect(0).json();
    assert_eq!((&plan["trainable_parameters"], &plan["fits"]), (&896.into(), &true.into()));
    let items = plan["memory"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum::<u64>();
    assert_eq!(plan["memory_total"], items);
    assert!(!workspace.path("planned").exists());
    let doctor = workspace.run(&["doctor"]).expect(0).stdout;
    assert!(["cpu", "memory", "gpu", "kernels"].iter().all(|line| doctor.contains(&format!("\n{line} "))), "{doctor}");
}

#[test]
fn a_reader_that_goes_away_does_not_stop_a_run() {
    let workspace = Workspace::new(9);
    let mut child = workspace.train_command("out", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(workspace.path("out/adapter_model.safetensors").exists());
}

#[test]
fn adapters_are_combined() {
    let workspace = Workspace::new(6);
    workspace.train("a", &[]).expect(0);
    workspace.train("b", &["training.seed=7", "adapter.r=2"]).expect(0);
    let combine = |more: &[&str]| workspace.run(&[&["combine", "--adapter", "a", "--adapter", "b"], more].concat());
    let output = combine(&["--weights", "1,0", "--output", "both"]).expect(0);
    assert!(output.stdout.contains("combined 2 adapters into both"), "{}", output.stdout);
    let loss = |adapter: &str| workspace.eval_loss("model", &["--adapter", adapter]);
    // The second adapter's rows of A are zero; the sum over ranks is longer by them.
    let (alone, with_nothing) = (loss("a"), loss("both"));
    assert!((alone - with_nothing).abs() <= 1e-6 * alone, "{alone} {with_nothing}");
    let svd = combine(&["--type", "svd", "--svd-rank", "1", "--output", "cut"]).expect(0);
    assert!(svd.stdout.contains("of rank 1; the update of a module differs by at most"), "{}", svd.stdout);

    for (arguments, expected) in [
        (&["--weights", "1", "--output", "c"][..], "1 weights are given for 2 adapters"),
        (&["--type", "linear", "--output", "c"], "use `cat` or `svd`"),
        (&["--type", "mean", "--output", "c"], "must be one of cat, linear"),
        (&["--type", "ties", "--output", "c"], "`--density`"),
        (&["--output", "both"], "both exists already"),
    ] {
        let refused = combine(arguments);
        assert!(matches!(refused.code, Some(2 | 3)) && refused.stderr.contains(expected), "{refused:?}");
        assert!(!workspace.path("c").exists());
    }
}
