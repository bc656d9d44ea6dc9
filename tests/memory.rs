//! The memory plan against what a run takes, and what is refused because of it.

use serde_json::{Value, json};
use tunesmith_tests::{Llama, Workspace, write_hollow_llama, write_llama};

const MODEL: Llama = Llama { vocab_size: 8192, hidden_size: 512, intermediate_size: 1376, num_hidden_layers: 8 };

/// Plans a run of one step and takes it; returns planned and measured bytes.
fn planned_and_measured(workspace: &Workspace, set: &[&str]) -> (f64, f64) {
    let mut arguments = vec!["--model", "llama", "--data", "rows.jsonl", "--output", "out"];
    let all = [&["training.max_steps=1", "training.resume=never", "training.threads=2"], set].concat();
    all.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let plan = workspace.run(&[&["plan", "--json"], &arguments[..]].concat()).expect(0).json();
    let output = workspace.run(&[&["train"], &arguments[..]].concat()).expect(0);
    let line = output.stdout.lines().find_map(|line| line.strip_prefix("peak memory: ")).expect("the peak is told");
    let (mib, _) = line.split_once(" MiB").expect("hundreds of MiB");
    (plan["memory_total"].as_f64().unwrap(), mib.parse::<f64>().unwrap() * (1 << 20) as f64)
}

#[test]
#[cfg(target_os = "linux")]
fn the_plan_is_within_15_percent_of_the_peak() {
    let workspace = Workspace::new(0);
    write_llama(&workspace.path("llama"), MODEL);
    let row = |i: usize| json!({ "input_ids": (0..256).map(|t| 1 + (i * 31 + t * t) % 8191).collect::<Vec<_>>() });
    workspace.write_rows("rows.jsonl", (0..8).map(row));
    let all_linear = "adapter.target_modules=all-linear";
    for set in [
        &[all_linear, "training.per_device_train_batch_size=4"][..],
        &[all_linear, "training.per_device_train_batch_size=4", "training.gradient_checkpointing=true"],
        &[all_linear, "training.per_device_train_batch_size=4", "model.dtype=bfloat16"],
        &["training.per_device_train_batch_size=2"],
        &["training.per_device_train_batch_size=1", "adapter.method=full"],
        &["training.per_device_train_batch_size=1", "adapter.method=full", "training.optim=adamw_8bit"],
        &["training.per_device_train_batch_size=2", "adapter.method=bottleneck", "adapter.bottleneck_config=houlsby"],
        &["training.per_device_train_batch_size=4", all_linear, "model.quantization=nf4"],
        &["training.per_device_train_batch_size=4", all_linear, "adapter.use_dora=true"],
        &["training.per_device_train_batch_size=4", all_linear, "adapter.use_dora=true", "model.dtype=bfloat16"],
        &["training.per_device_train_batch_size=4", all_linear, "adapter.method=vera"],
        &["training.per_device_train_batch_size=4", all_linear, "adapter.method=adalora"],
        &["training.per_device_train_batch_size=4", "adapter.method=ia3"],
        &["training.per_device_train_batch_size=4", "adapter.method=ln_tuning"],
        &["training.per_device_train_batch_size=4", "adapter.method=prompt_tuning"],
        &["training.per_device_train_batch_size=4", "adapter.method=prefix_tuning", "adapter.prefix_projection=true"],
        &["training.per_device_train_batch_size=4", "adapter.method=p_tuning", "model.dtype=bfloat16"],
        &["adapter.method=p_tuning", "adapter.encoder_reparameterization_type=LSTM"],
    ] {
        let (planned, measured) = planned_and_measured(&workspace, set);
        assert!((planned / measured - 1.0).abs() <= 0.15, "{set:?}: planned {planned}, measured {measured}");
    }
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_loaded() {
    let workspace = Workspace::new(4);
    // A terabyte of embeddings.
    let huge = Llama { vocab_size: 1 << 24, hidden_size: 1 << 14, intermediate_size: 16, num_hidden_layers: 1 };
    write_hollow_llama(&workspace.path("huge"), huge);
    let arguments = ["--model", "huge", "--data", "train.jsonl", "--output", "out"];
    let plan = workspace.run(&[&["plan", "--json"], &arguments[..]].concat()).expect(4);
    assert_eq!((&plan.json()["fits"], &plan.json()["largest_micro_batch"]), (&Value::from(false), &Value::from(0)));
    assert!(plan.stderr.contains("this run needs about 1.0 TiB (1.0 TiB of it base weights) and"), "{}", plan.stderr);
    let train = workspace.run(&[&["train"], &arguments[..]].concat()).expect(4);
    assert!(train.stderr.contains("model.quantization"), "{}", train.stderr);
    assert!(!workspace.path("out/metrics.jsonl").exists());
}
