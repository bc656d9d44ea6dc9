//! Rows that are kept encoded train as rows that are not.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tunesmith_tests::{Workspace, metrics};

const STEPS: &str = "training.max_steps=4";

#[test]
fn runs_share_a_cache_and_learn_the_same() {
    let workspace = Workspace::new(13);
    let result = |out: &str| {
        let dir = workspace.path(out);
        (std::fs::read(dir.join("adapter_model.safetensors")).unwrap(), metrics(&dir))
    };
    workspace.train("plain", &[STEPS]).expect(0);
    assert!(!workspace.path("plain/tokens").exists(), "a short file is not kept");
    let cache_dir = format!("data.cache_dir={}", workspace.path("tokens").display());
    for out in ["first", "second"] {
        let output = workspace.train(out, &[STEPS, "data.cache=always", &cache_dir]).expect(0);
        assert!(output.stdout.contains("whose tokens are kept in"), "{}", output.stdout);
        assert!(result(out) == result("plain"), "{out}");
        // The first begins before its rows are encoded, and tells of them at its end.
        let begins = output.stdout.contains("encoded while training goes on");
        assert_eq!((begins, output.stdout.matches("% supervised").count()), (out == "first", 1), "{}", output.stdout);
        let entries = std::fs::read_dir(workspace.path("tokens")).unwrap();
        assert_eq!(entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 1);
    }
}

#[test]
fn a_run_keeps_its_rows_beside_its_result_and_goes_on_with_them() {
    let workspace = Workspace::new(13);
    let settings = ["training.save_steps=2", "data.cache=always", "training.lr_scheduler_type=constant"];
    let run = |steps: &'static str| workspace.train("out", &[&settings[..], &[steps]].concat()).expect(0);
    run("training.max_steps=2");
    assert!(workspace.path("out/tokens").is_dir());
    let output = run(STEPS);
    assert!(output.stdout.contains("step 2 of 4"), "{}", output.stdout);
    workspace.train("plain", &["training.lr_scheduler_type=constant", STEPS]).expect(0);
    let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
    assert!(adapter("out") == adapter("plain"));
}

#[test]
fn a_bad_row_far_behind_is_told_before_the_first_step() {
    let workspace = Workspace::new(13);
    let rows = std::fs::read_to_string(workspace.path("train.jsonl")).unwrap();
    workspace.write("train.jsonl", &format!("{}{{\"text\": 1}}\n", rows.repeat(100)));
    let refused =
        workspace.train("out", &[STEPS, "training.per_device_train_batch_size=1", "data.cache=always"]).expect(3);
    assert!(
        refused.stderr.contains(&format!("train.jsonl:{}: ", 100 * rows.lines().count() + 1)),
        "{}",
        refused.stderr
    );
    assert!(!workspace.path("out/metrics.jsonl").exists());
}

#[test]
fn a_signal_while_rows_are_waited_for_ends_a_run_whose_result_is_saved() {
    let workspace = Workspace::new(13);
    let cache_dir = format!("data.cache_dir={}", workspace.path("tokens").display());
    let settings = [STEPS, "data.cache=always", &cache_dir];
    workspace.train("first", &settings).expect(0);
    let entries = std::fs::read_dir(workspace.path("tokens")).unwrap().map(|entry| entry.unwrap().path());
    let (entries, locks): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    std::fs::remove_dir_all(&entries[0]).unwrap();
    // As if another process encoded them.
    let lock = std::fs::File::open(&locks[0]).unwrap();
    lock.lock().unwrap();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = workspace.train_command(name, &settings).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let waits = |line: Result<String, _>| line.unwrap().starts_with("waiting for the rest of the rows");
        assert!(lines.into_iter().any(waits), "the run waits for its rows");
        let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
        assert!(adapter(name) == adapter("first"));
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_an_output() {
    let workspace = Workspace::new(13);
    let cache_dir = format!("data.cache_dir={}", workspace.path("train.jsonl").display());
    let settings = [STEPS, "data.cache=always", "data.packing=true", &cache_dir];
    let refused = workspace.train("out", &settings).expect(1).stderr;
    assert!(refused.contains("train.jsonl") && refused.contains("data.cache"), "{refused}");
}

#[test]
fn a_plan_counts_no_memory_for_rows_that_will_be_kept_in_files() {
    let workspace = Workspace::new(13);
    const ROWS: u64 = 50;
    const TOKENS: u64 = 400;
    let ids: Vec<u64> = (0..TOKENS).map(|i| 3 + i % 60).collect();
    workspace.write_rows("train.jsonl", (0..ROWS).map(|_| serde_json::json!({ "input_ids": ids })));
    let data = |cache: &str| {
        let settings = ["--set", cache, "--set", "training.output_dir=out", "--json"];
        let plan = [&["plan", "--model", "model", "--data", "train.jsonl"][..], &settings].concat();
        workspace.run(&plan).expect(0).json()["memory"]["data"].as_u64().unwrap()
    };
    let (kept, in_memory) = (data("data.cache=always"), data("data.cache=never"));
    // Four bytes for the id of a token and four for its label; where examples, their labels and lines begin, and the last end.
    let tokens = ROWS * (TOKENS * 8 + 3 * 8) + 2 * 8;
    // Where rows are, and what is made of a block of them.
    let file = std::fs::metadata(workspace.path("train.jsonl")).unwrap().len();
    assert_eq!(in_memory - tokens, kept - (ROWS * 16 + file * 9), "{kept} and {in_memory}");
    assert!(!workspace.path("out").exists(), "a plan leaves the disk as it is");
}
