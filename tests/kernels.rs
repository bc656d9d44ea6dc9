//! `plan --kernels`: a step on a GPU that is not there.

use serde_json::{Value, json};
use tunesmith_tests::{Llama, Workspace, write_hollow_llama};

const TOKENS: usize = 512;
const MODEL: Llama = Llama { vocab_size: 4096, hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 3 };

/// The plan for `settings` on a model whose weights take no room on the disk.
fn planned(architecture: &str, settings: &[&str]) -> Value {
    let workspace = Workspace::new(0);
    write_hollow_llama(&workspace.path("hollow"), MODEL);
    workspace.write_rows("rows.jsonl", [json!({ "input_ids": (0..TOKENS).map(|t| 1 + t % 4095).collect::<Vec<_>>() })]);
    let mut arguments = vec!["plan", "--json", "--kernels", architecture, "--model", "hollow", "--data", "rows.jsonl"];
    arguments.extend([
        "--output",
        "out",
        "--set",
        "model.dtype=bfloat16",
        "--set",
        "adapter.target_modules=all-linear",
    ]);
    settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
    workspace.run(&arguments).expect(0).json()
}

#[test]
fn a_step_has_the_operations_of_its_products() {
    // Forward and the gradients of the inputs, each a product with every weight but the embedding; the first block's
    // projections need none of their input. Low-rank updates and attention add a little.
    let Llama { vocab_size, hidden_size, num_hidden_layers, .. } = MODEL;
    for architecture in ["ampere", "hopper"] {
        let plan = planned(architecture, &[]);
        let (gpu, parameters) = (&plan["gpu"], plan["base_parameters"].as_u64().unwrap() as usize);
        let kernels = gpu["kernels"].as_object().unwrap();
        let on_hopper = kernels.keys().any(|name| name.contains("wgmma"));
        assert_eq!(on_hopper, architecture == "hopper", "{kernels:?}");
        let weights = parameters - vocab_size * hidden_size;
        let least = 4 * TOKENS * (weights - 4 * hidden_size * hidden_size);
        let flops = gpu["total"]["flops"].as_f64().unwrap() / least as f64;
        assert!((1.0..1.3).contains(&flops), "{architecture}: {flops} of the products'");
        // Gradient checkpointing computes every block once more, and keeps less.
        let again = &planned(architecture, &["training.gradient_checkpointing=true"])["gpu"];
        let launches = |gpu: &Value| gpu["total"]["launches"].as_u64().unwrap();
        assert!(launches(again) > launches(gpu) + num_hidden_layers as u64);
        // Each norm and gate of a block twice: what is computed again with its block is kept there.
        let of = |kernel: &str| again["kernels"][kernel]["launches"].as_u64().unwrap();
        assert_eq!(of("rms_norm_forward_bf16"), 2 * 2 * num_hidden_layers as u64 + 1);
        assert_eq!(of("gated_forward_bf16"), 2 * num_hidden_layers as u64);
        assert!(again["peak_bytes"].as_u64() < gpu["peak_bytes"].as_u64());
        // The inputs of two blocks are on the device at a time, not of all three.
        let offload = ["training.gradient_checkpointing=true", "training.activation_offload=true"];
        let peak = |gpu: &Value| gpu["peak_bytes"].as_u64().unwrap();
        let saved = peak(again) - peak(&planned(architecture, &offload)["gpu"]);
        assert_eq!(saved, (2 * TOKENS * hidden_size) as u64, "{architecture}");
    }
}

#[test]
fn an_unknown_architecture_is_told_with_the_known_ones() {
    let workspace = Workspace::new(1);
    let refused = workspace.run(&["plan", "--kernels", "volta", "--model", "m"]).expect(2);
    assert!(refused.stderr.contains("expected ampere or hopper"), "{}", refused.stderr);
}
