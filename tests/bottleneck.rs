//! Training bottleneck adapters, whose files are AdapterHub's.

use std::path::Path;

use serde_json::Value;
use tunesmith_tests::{Workspace, metrics};

const SETTINGS: [&str; 6] = [
    "adapter.method=bottleneck",
    "adapter.bottleneck_config=double_seq_bn",
    "adapter.reduction_factor=4",
    "adapter.adapter_name=stories",
    "training.max_steps=6",
    "training.save_steps=2",
];

fn settings<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SETTINGS.iter().copied().chain(more.iter().copied()).collect()
}

fn adapter(dir: &Path) -> Vec<u8> {
    std::fs::read(dir.join("adapter.safetensors")).unwrap()
}

#[test]
fn a_run_leaves_adapterhubs_files_and_every_command_reads_them() {
    let workspace = Workspace::new(9);
    let output = workspace.train("out", &settings(&["data.eval=train.jsonl"])).expect(0);
    let out = workspace.path("out");
    // Two blocks of two adapters of 8 in 32: each 2 * 8 * 32 + 8 + 32.
    assert!(output.stdout.contains("trainable params: 2,208 ||"), "{}", output.stdout);
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["name"], &config["model_class"]), (&"stories".into(), &"LlamaForCausalLM".into()));
    assert_eq!((&config["config"]["reduction_factor"], &config["model_name"]), (&4.into(), &"model".into()));
    assert!(!out.join("adapter_model.safetensors").exists());
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("\nlibrary_name: adapter-transformers\n") && card.contains("base.load_adapter("), "{card}");

    let eval = |more: &[&str]| workspace.eval_loss("model", more);
    let (adapted, base) = (eval(&["--adapter", "out"]), eval(&[]));
    let logged = metrics(&out).last().unwrap()["eval_loss"].as_f64().unwrap();
    // The log rounds to f32.
    assert!((adapted - logged).abs() <= 1e-7 * logged, "{adapted} and {logged}");
    assert!(adapted < base, "{adapted} and {base}");
    let generate = ["generate", "--model", "model", "--adapter", "out", "--prompt", "w5 w6", "--max-new-tokens", "3"];
    workspace.run(&generate).expect(0);
    let inspected = workspace.run(&["inspect", "out", "--json"]).expect(0).json();
    assert_eq!((&inspected["name"], &inspected["parameters"]), (&"stories".into(), &2208.into()));
    let merge = ["merge", "--model", "model", "--adapter", "out", "--output", "merged"];
    let refused = workspace.run(&merge).expect(3);
    assert!(refused.stderr.contains("a bottleneck adapter has an activation between its layers"), "{}", refused.stderr);
    assert!(!workspace.path("merged").exists());
}

#[test]
fn a_run_goes_on_where_it_stopped() {
    let workspace = Workspace::new(9);
    for (preset, dropout) in [("compacter", "0.0"), ("par_bn", "0.2")] {
        let preset_key = format!("adapter.bottleneck_config={preset}");
        let dropout = format!("adapter.bottleneck_dropout={dropout}");
        let own = settings(&[&preset_key, &dropout, "training.save_total_limit=0"]);
        let (whole, again) = (format!("{preset}-whole"), format!("{preset}-again"));
        workspace.train(&whole, &own).expect(0);
        let checkpoint = workspace.path(&again).join("checkpoint-2");
        std::fs::create_dir_all(&checkpoint).unwrap();
        for file in std::fs::read_dir(workspace.path(&whole).join("checkpoint-2")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), checkpoint.join(file.file_name())).unwrap();
        }
        let output = workspace.train(&again, &own).expect(0);
        assert!(output.stdout.contains("step 2 of 6"), "{}", output.stdout);
        assert!(adapter(&workspace.path(&whole)) == adapter(&workspace.path(&again)), "{preset}");
        assert_eq!(metrics(&workspace.path(&whole)), metrics(&workspace.path(&again)), "{preset}");
    }
}

#[test]
fn another_run_starts_from_an_adapter_and_keeps_its_structure() {
    let workspace = Workspace::new(9);
    workspace.train("first", &settings(&[])).expect(0);
    let from = ["adapter.method=bottleneck", "adapter.init_from=first", "training.max_steps=1"];
    let next = workspace.train("next", &from).expect(0);
    assert!(next.stdout.contains("step 1/1"), "{}", next.stdout);
    assert!(adapter(&workspace.path("next")) != adapter(&workspace.path("first")));
    let other = workspace.train("other", &[&from[..], &["adapter.non_linearity=relu"]].concat()).expect(2);
    let told = "adapter.non_linearity is \"relu\", and the adapter has \"swish\"";
    assert!(other.stderr.contains(told), "{}", other.stderr);
    let lora = workspace.train("lora", &["adapter.init_from=first"]).expect(2);
    assert!(lora.stderr.contains("lora"), "{}", lora.stderr);
}

#[test]
fn recomputation_and_threads_change_no_bit() {
    let workspace = Workspace::new(9);
    let dropout = "adapter.bottleneck_dropout=0.1";
    workspace.train("one", &settings(&[dropout, "training.threads=1"])).expect(0);
    workspace.train("two", &settings(&[dropout, "training.threads=3"])).expect(0);
    workspace.train("again", &settings(&[dropout, "training.gradient_checkpointing=true"])).expect(0);
    for other in ["two", "again"] {
        assert!(adapter(&workspace.path("one")) == adapter(&workspace.path(other)), "{other}");
    }
}

#[test]
fn mistakes_in_its_settings_are_told() {
    let workspace = Workspace::new(4);
    let refusal = |set: &[&str]| workspace.train("out", &settings(set)).expect(2).stderr;
    assert!(refusal(&["adapter.bottleneck_config=seq_bm"]).contains("did you mean `seq_bn`?"));
    assert!(refusal(&["adapter.bottleneck_config=seq_bn_inv"]).contains("is not available in this version"));
    assert!(refusal(&["adapter.residual_before_ln=never"]).contains("must be true, false or \"post_add\""));
    assert!(refusal(&["adapter.reduction_factor=0"]).contains("`reduction_factor`: expected a number above 0"));
    assert!(refusal(&["adapter.non_linearity=relux"]).contains("relux"));
    assert!(refusal(&["adapter.reduction_factor={ 1 = 4 }"]).contains("names neither layer 0 nor a default"));
}
