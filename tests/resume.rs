//! A run that was stopped goes on as if nothing had happened, bit for bit.

use std::path::Path;
use std::time::Duration;

use checkpoint::{Dtype, SafetensorsFile};
use tunesmith_tests::{Output, Workspace, metrics};

/// Two epochs and a bit of 13 rows: steps of two micro-batches of 4 and 3 rows, and 2 or 1 at the edge of an epoch.
const SETTINGS: [&str; 5] = [
    "training.max_steps=12",
    "training.per_device_train_batch_size=3",
    "training.gradient_accumulation_steps=2",
    "adapter.lora_dropout=0.2",
    "training.save_steps=1",
];

fn settings<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SETTINGS.iter().copied().chain(more.iter().copied()).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy_dir(&entry.path(), &target) } else { drop(std::fs::copy(entry.path(), target)) }
    }
}

/// The result of a run and the state it ended in.
fn fingerprint(out: &Path) -> (Vec<u8>, Vec<u8>, Vec<serde_json::Value>) {
    let read = |name: &str| std::fs::read(out.join(name)).unwrap();
    (read("adapter_model.safetensors"), read("checkpoint-12/optimizer.safetensors"), metrics(out))
}

#[test]
fn every_step_is_a_place_to_go_on_from() {
    let workspace = Workspace::new(13);
    let evaluated = ["data.eval=train.jsonl", "training.eval_steps=4", "training.save_total_limit=0"];
    workspace.train("whole", &settings(&evaluated)).expect(0);
    let expected = fingerprint(&workspace.path("whole"));
    assert_eq!(expected.2.len(), 12 + 3);
    for step in 1..12 {
        let out = workspace.path(&format!("from-{step}"));
        copy_dir(&workspace.path(&format!("whole/checkpoint-{step}")), &out.join(format!("checkpoint-{step}")));
        let output = workspace.train(&format!("from-{step}"), &settings(&evaluated)).expect(0);
        assert!(output.stdout.contains(&format!("step {step} of 12")), "{}", output.stdout);
        assert!(fingerprint(&out) == expected, "resumed after step {step}");
    }
    // Saving changes nothing either.
    let unsaved = [evaluated[0], evaluated[1], "training.save_steps=0"];
    workspace.train("unsaved", &settings(&unsaved)).expect(0);
    let adapter = std::fs::read(workspace.path("unsaved/adapter_model.safetensors")).unwrap();
    assert!(adapter == expected.0 && metrics(&workspace.path("unsaved")) == expected.2);
    assert!(!workspace.path("unsaved/checkpoint-12").exists());
}

#[test]
fn full_fine_tuning_resumes_as_well() {
    let workspace = Workspace::new(13);
    let full = ["adapter.method=full", "training.learning_rate=1e-3", "training.save_total_limit=0"];
    workspace.train("whole", &settings(&full)).expect(0);
    copy_dir(&workspace.path("whole/checkpoint-7"), &workspace.path("again/checkpoint-7"));
    workspace.train("again", &settings(&full)).expect(0);
    for name in ["model.safetensors", "checkpoint-12/optimizer.safetensors"] {
        let read = |out: &str| std::fs::read(workspace.path(out).join(name)).unwrap();
        assert!(read("whole") == read("again"), "{name}");
    }
    assert_eq!(metrics(&workspace.path("whole")), metrics(&workspace.path("again")));
}

/// Tensors with codes and tensors without, in two groups.
#[test]
fn moments_in_8_bits_resume_as_well() {
    let workspace = Workspace::new(13);
    let set = ["training.optim=adamw_8bit", "adapter.r=128", "training.loraplus_lr_ratio=2", "adapter.bias=lora_only"];
    workspace.train_and_resume(&set);
    let dtype = |name: &str| {
        let optimizer = workspace.path("resumed/checkpoint-6/optimizer.safetensors");
        SafetensorsFile::open(&optimizer).unwrap().get(name).map(|tensor| tensor.dtype())
    };
    let parameter = |kind: &str| format!("{kind}.base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
    assert_eq!(dtype(&parameter("exp_avg")), Some(Dtype::U8));
    assert_eq!(dtype(&parameter("exp_avg_sq_absmax")), Some(Dtype::F32));
    // Moments of one kind are not those of another.
    std::fs::remove_file(workspace.path("resumed/trainer_state.json")).unwrap();
    let settings = [&["training.save_steps=3", "training.save_total_limit=0"], &set[1..]].concat();
    let refused = workspace.train("resumed", &settings).expect(2);
    assert!(refused.stderr.contains("training.optim: \"adamw_8bit\" then, \"adamw\" now"), "{}", refused.stderr);
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_the_same() {
    let workspace = Workspace::new(13);
    let slow = ["training.max_steps=60", "training.gradient_accumulation_steps=8", "training.save_total_limit=2"];
    workspace.train("whole", &settings(&slow)).expect(0);
    let mut kills = 0;
    // Twenty kills at moments that differ, more than once within a save.
    for attempt in 0..40u64 {
        let mut child = workspace
            .train_command("killed", &settings(&slow))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + attempt * 37 % 90));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        kills += usize::from(ended.is_none());
        if kills == 20 || ended.is_some() {
            break;
        }
    }
    assert!(kills > 0, "every run ended before it could be killed");
    let output = workspace.train("killed", &settings(&slow)).expect(0);
    let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
    assert!(adapter("whole") == adapter("killed"), "after {kills} kills:\n{}", output.stdout);
    assert_eq!(metrics(&workspace.path("whole")), metrics(&workspace.path("killed")));
    let names: Vec<_> = std::fs::read_dir(workspace.path("killed"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.starts_with(".tmp-")), "{names:?}");
    assert!(names.contains(&"checkpoint-60".to_owned()), "{names:?}");
}

#[test]
fn a_finished_run_says_so_and_a_longer_one_goes_on() {
    let workspace = Workspace::new(13);
    let constant = ["training.lr_scheduler_type=constant"];
    workspace.train("out", &settings(&constant)).expect(0);
    let before = std::fs::read(workspace.path("out/adapter_model.safetensors")).unwrap();
    let output = workspace.train("out", &settings(&constant)).expect(0);
    assert!(output.stdout.contains("already complete: 12 steps"), "{}", output.stdout);
    assert_eq!(before, std::fs::read(workspace.path("out/adapter_model.safetensors")).unwrap());

    let longer = [constant[0], "training.max_steps=15"];
    let output = workspace.train("out", &settings(&longer)).expect(0);
    assert!(output.stdout.contains("resuming from") && output.stdout.contains("step 12 of 15"), "{}", output.stdout);
    workspace.train("whole", &settings(&longer)).expect(0);
    let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
    assert!(adapter("out") == adapter("whole"));
    assert_eq!(metrics(&workspace.path("out")), metrics(&workspace.path("whole")));
}

#[test]
fn another_run_is_refused_and_named() {
    let workspace = Workspace::new(13);
    workspace.train("out", &settings(&[])).expect(0);
    std::fs::remove_file(workspace.path("out/trainer_state.json")).unwrap();
    let refused = |set: &[&str], expected: &str| {
        let output = workspace.train("out", &settings(set)).expect(2);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        assert!(output.stderr.contains("training.resume = \"never\""), "{}", output.stderr);
    };
    refused(&["adapter.r=2", "training.seed=7"], "adapter.r: 4 then, 2 now\n  training.seed: 42 then, 7 now");
    refused(&["training.max_steps=13"], "number of steps: 12 then, 13 now");
    let rows = std::fs::read_to_string(workspace.path("train.jsonl")).unwrap();
    workspace.write("train.jsonl", &format!("{rows}{{\"input_ids\":[5,6,7]}}\n"));
    refused(&[], "content of data.train: ");
    workspace.write("train.jsonl", &rows);
    let config = std::fs::read_to_string(workspace.path("model/config.json")).unwrap();
    workspace.write("model/config.json", &format!("{config} "));
    refused(&[], "content of model.path: ");
    workspace.write("model/config.json", &config);
    // Starting over is possible, and leaves nothing of the old run.
    workspace.train("out", &settings(&["adapter.r=2", "training.save_steps=7", "training.resume=never"])).expect(0);
    assert!(!workspace.path("out/checkpoint-11").exists() && workspace.path("out/checkpoint-7").exists());
}

#[test]
fn broken_checkpoints_are_skipped_unless_they_are_named() {
    let workspace = Workspace::new(13);
    let keep = ["training.save_total_limit=0"];
    workspace.train("out", &settings(&keep)).expect(0);
    let expected = fingerprint(&workspace.path("out"));
    std::fs::remove_file(workspace.path("out/trainer_state.json")).unwrap();
    std::fs::remove_file(workspace.path("out/checkpoint-12/adapter_config.json")).unwrap();
    let optimizer = workspace.path("out/checkpoint-11/optimizer.safetensors");
    let bytes = std::fs::read(&optimizer).unwrap();
    std::fs::write(&optimizer, &bytes[..bytes.len() / 2]).unwrap();
    let mut flipped = std::fs::read(workspace.path("out/checkpoint-10/optimizer.safetensors")).unwrap();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    std::fs::write(workspace.path("out/checkpoint-10/optimizer.safetensors"), flipped).unwrap();
    let manifest = std::fs::read_to_string(workspace.path("out/checkpoint-9/manifest.json")).unwrap();
    let newer = manifest.replace("\"format_version\": 1", "\"format_version\": 99");
    workspace.write("out/checkpoint-9/manifest.json", &newer);

    for (named, expected) in [
        ("out/checkpoint-12", "`adapter_config.json` is missing"),
        ("out/checkpoint-11", "bytes, expected"),
        ("out/checkpoint-10", "differs from its sha256"),
        ("out/checkpoint-9", "format 99 is newer"),
        ("out/checkpoint-99", "no manifest.json"),
    ] {
        let set = format!("training.resume={named}");
        let output = workspace.train("out", &settings(&[keep[0], &set])).expect(3);
        assert!(output.stderr.contains(named) && output.stderr.contains(expected), "{}", output.stderr);
    }
    let output = workspace.train("out", &settings(&keep)).expect(0);
    for step in 9..=12 {
        assert!(
            output.stderr.contains(&format!("checkpoint-{step} is not a complete checkpoint")),
            "{}",
            output.stderr
        );
    }
    assert!(output.stdout.contains("resuming from out/checkpoint-8"), "{}", output.stdout);
    assert!(fingerprint(&workspace.path("out")) == expected);
}

#[test]
fn a_checkpoint_is_an_adapter_too() {
    let workspace = Workspace::new(13);
    workspace.train("out", &settings(&[])).expect(0);
    let adapter = |dir: &str| std::fs::read(workspace.path(dir).join("adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("out"), adapter("out/checkpoint-12"));
    assert!(workspace.eval_loss("model", &["--adapter", "out/checkpoint-11"]).is_finite());
    // Another run may start from it, with a fresh optimizer.
    let set = ["adapter.init_from=out/checkpoint-11", "training.max_steps=1", "adapter.lora_dropout=0.0"];
    let output: Output = workspace.train("next", &set).expect(0);
    assert!(output.stdout.contains("step 1/1"), "{}", output.stdout);
}
