//! What must not change a run's numbers.

use std::path::Path;

use serde_json::Value;
use tunesmith_tests::{Workspace, metrics};

const ORDERED: &str = "data.shuffle=false";

fn adapter(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("adapter_model.safetensors")).unwrap()
}

/// Losses and norms of two logs agree to `tolerance`.
fn assert_close(a: &[Value], b: &[Value], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        for key in ["loss", "grad_norm"] {
            let (x, y) = (a[key].as_f64().unwrap(), b[key].as_f64().unwrap());
            assert!((x - y).abs() <= tolerance * y.abs(), "{key}: {a} and {b}");
        }
    }
}

#[test]
fn threads_recomputation_and_where_it_is_written_change_no_bit() {
    let workspace = Workspace::new(13);
    let dropout = "adapter.lora_dropout=0.1";
    workspace.train("one", &[dropout, "training.threads=1"]).expect(0);
    workspace.train("two", &[dropout, "training.threads=3"]).expect(0);
    workspace.train("again", &[dropout, "training.gradient_checkpointing=true", "training.logging_steps=1"]).expect(0);
    for other in ["two", "again"] {
        assert!(adapter(&workspace.path("one")) == adapter(&workspace.path(other)), "{other}");
        assert_eq!(metrics(&workspace.path("one")), metrics(&workspace.path(other)), "{other}");
    }
    workspace.train("seed", &[dropout, "training.seed=18446744073709551615"]).expect(0);
    assert!(adapter(&workspace.path("one")) != adapter(&workspace.path("seed")));
    workspace.train("zero", &["training.seed=0"]).expect(0);
}

#[test]
fn accumulation_is_a_larger_batch() {
    // Rows of different lengths: a mean of means would differ in the first digit.
    let workspace = Workspace::new(24);
    let run = |out: &str, batch: usize, accumulation: usize| {
        let batch = format!("training.per_device_train_batch_size={batch}");
        let accumulation = format!("training.gradient_accumulation_steps={accumulation}");
        workspace.train(out, &[ORDERED, &batch, &accumulation]).expect(0);
        metrics(&workspace.path(out))
    };
    let whole = run("whole", 4, 1);
    // Sums of the same terms in another order.
    assert_close(&run("halves", 2, 2), &whole, 1e-5);
    assert_close(&run("singles", 1, 4), &whole, 1e-5);
}

#[test]
fn packing_changes_no_loss() {
    let workspace = Workspace::new(8);
    let all = ["training.per_device_train_batch_size=8", ORDERED];
    workspace.train("single", &all).expect(0);
    workspace.train("packed", &[all[0], all[1], "data.packing=true", "data.max_length=20"]).expect(0);
    // Every row is in every step, side by side in another order.
    assert_close(&metrics(&workspace.path("packed")), &metrics(&workspace.path("single")), 1e-5);
}

#[test]
fn the_base_is_never_written_to() {
    let workspace = Workspace::new(9);
    let listing = || {
        let mut files: Vec<_> = std::fs::read_dir(workspace.path("model"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = listing();
    workspace.train("out", &["training.save_steps=2", "training.sample_prompts=[\"w5 w6\"]"]).expect(0);
    workspace.train("full", &["adapter.method=full"]).expect(0);
    workspace.run(&["eval", "--model", "model", "--adapter", "out", "--data", "train.jsonl"]).expect(0);
    assert!(before == listing());
    let report = std::fs::read_to_string(workspace.path("out/report.html")).unwrap();
    assert!(report.contains("<h2>Samples</h2>") && report.contains("<pre>w5 w6</pre>"), "{report}");
}
