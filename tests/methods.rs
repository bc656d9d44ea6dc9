//! Every method through every command: trained, stopped and resumed, evaluated, merged, described, spoken with.

use tunesmith_tests::{Workspace, metrics};

/// A method with settings under which all of it is at work.
struct Case {
    name: &'static str,
    set: &'static [&'static str],
    /// Whether weights can take it up.
    merges: bool,
    /// Whether its file holds what is trained and nothing else.
    file_is_trained: bool,
    /// Settings that its file has, where they are not those that it was trained with.
    saved_as: &'static [&'static str],
}

/// What most methods are like.
const ADAPTER: Case = Case { name: "", set: &[], merges: true, file_is_trained: true, saved_as: &[] };
/// Virtual tokens: no weight can take them up.
const SOFT: Case = Case { merges: false, ..ADAPTER };

const CASES: [Case; 19] = [
    Case { name: "lora", set: &["adapter.lora_dropout=0.1"], ..ADAPTER },
    Case {
        name: "dora",
        set: &["adapter.use_dora=true", "adapter.target_modules=all-linear", "adapter.lora_dropout=0.1"],
        ..ADAPTER
    },
    // Saved as plain LoRA of twice the rank.
    Case {
        name: "pissa",
        set: &["adapter.init_lora_weights=pissa"],
        saved_as: DOUBLED,
        file_is_trained: false,
        ..ADAPTER
    },
    Case {
        name: "olora",
        set: &["adapter.init_lora_weights=olora"],
        saved_as: DOUBLED,
        file_is_trained: false,
        ..ADAPTER
    },
    Case {
        name: "lora+ beside token rows",
        set: &["adapter.trainable_token_indices=[3, 5]", "training.loraplus_lr_ratio=4", "training.weight_decay=0.1"],
        ..ADAPTER
    },
    Case { name: "trainable tokens", set: &["adapter.method=trainable_tokens", TOKENS], ..ADAPTER },
    Case { name: "ln tuning", set: &["adapter.method=ln_tuning"], ..ADAPTER },
    // Random matrices that modules share lie beside what is trained.
    Case { name: "vera", set: &["adapter.method=vera", "adapter.vera_dropout=0.1"], file_is_trained: false, ..ADAPTER },
    Case {
        name: "vera without projections",
        set: &["adapter.method=vera", "adapter.save_projection=false", "adapter.target_modules=all-linear"],
        ..ADAPTER
    },
    // The file has the ranks that are left.
    Case {
        name: "adalora",
        set: &["adapter.method=adalora", "adapter.init_r=4", "adapter.target_r=2", "adapter.lora_dropout=0.1"],
        file_is_trained: false,
        ..ADAPTER
    },
    Case { name: "ia3", set: &["adapter.method=ia3"], ..ADAPTER },
    Case {
        name: "ia3 beside a module in full",
        set: &["adapter.method=ia3", "adapter.target_modules=all-linear", "adapter.modules_to_save=[\"norm\"]"],
        ..ADAPTER
    },
    Case { name: "prompt tuning", set: &["adapter.method=prompt_tuning", PROMPT], ..SOFT },
    Case {
        name: "prompt tuning from a text",
        set: &["adapter.method=prompt_tuning", PROMPT, "adapter.prompt_tuning_init_text=w3 w4 w5"],
        ..SOFT
    },
    Case {
        name: "p-tuning with an LSTM",
        set: &["adapter.method=p_tuning", PROMPT, "adapter.encoder_reparameterization_type=LSTM"],
        file_is_trained: false,
        ..SOFT
    },
    Case {
        name: "p-tuning beside a module in full",
        set: &["adapter.method=p_tuning", PROMPT, "adapter.modules_to_save=[\"lm_head\"]"],
        file_is_trained: false,
        ..SOFT
    },
    Case {
        name: "p-tuning v2, packed and recomputed",
        set: &["adapter.method=p_tuning_v2", PROMPT, "data.packing=true", "training.gradient_checkpointing=true"],
        ..SOFT
    },
    Case {
        name: "prefix tuning from a text",
        set: &["adapter.method=prefix_tuning", PROMPT, "adapter.prefix_tuning_init_text=w3 w4 w5"],
        ..SOFT
    },
    Case {
        name: "projected prefix tuning",
        set: &["adapter.method=prefix_tuning", PROMPT, "adapter.prefix_projection=true"],
        file_is_trained: false,
        ..SOFT
    },
];
const DOUBLED: &[&str] = &["adapter.r=8", "adapter.lora_alpha=16"];
const TOKENS: &str = "adapter.token_indices=[3, 5, 8]";
const PROMPT: &str = "adapter.num_virtual_tokens=4";

#[test]
fn a_method_works_in_every_command() {
    for case in CASES {
        check(&case);
    }
}

#[test]
fn a_prefix_starts_at_zero_or_from_a_text() {
    let workspace = Workspace::new(13);
    let set = ["adapter.method=prefix_tuning", PROMPT, "adapter.init_weights=zero"];
    let refused = workspace.train("out", &[&set[..], &["adapter.prefix_tuning_init_text=w3"]].concat()).expect(2);
    assert!(refused.stderr.contains("does not go together with init_weights"), "{}", refused.stderr);
}

fn check(Case { name, set, merges, file_is_trained, saved_as }: &Case) {
    let workspace = Workspace::new(13);
    let (_, logged) = workspace.train_and_resume(&[set, &["data.eval=train.jsonl"][..]].concat());

    // Saved and loaded, and merged into the base.
    let adapted = workspace.eval_loss("model", &["--adapter", "out"]);
    let last = logged.last().unwrap()["eval_loss"].as_f64().unwrap();
    // The log rounds to f32.
    assert!((adapted - last).abs() <= 1e-7 * last, "{name}: {adapted} and {last}");
    // What it began with: a random prompt is worse than none.
    workspace.train("untrained", &[set, &["training.learning_rate=0"][..]].concat()).expect(0);
    let untrained = workspace.eval_loss("model", &["--adapter", "untrained"]);
    assert!(adapted < untrained, "{name} learned nothing: {adapted} after {untrained}");
    let merge = ["merge", "--model", "model", "--adapter", "out", "--output", "merged"];
    if *merges {
        workspace.run(&merge).expect(0);
        let merged = workspace.eval_loss("merged", &[]);
        // One rounding of each merged weight to f32.
        assert!((merged - adapted).abs() <= 1e-5 * adapted, "{name}: {merged} and {adapted}");
    } else {
        let refused = workspace.run(&merge).expect(3);
        assert!(refused.stderr.contains("methods that change weights can be merged"), "{name}");
        assert!(!workspace.path("merged").exists(), "{name}");
    }

    // A run that goes on from it starts where it ended.
    let going_on =
        [set, *saved_as, &["adapter.init_from=out", "training.max_steps=1", "data.eval=train.jsonl"][..]].concat();
    workspace.train("further", &[&going_on[..], &["training.learning_rate=0"]].concat()).expect(0);
    let further = metrics(&workspace.path("further")).last().unwrap()["eval_loss"].as_f64().unwrap();
    assert_eq!(further, last, "{name}");

    let inspected = workspace.run(&["inspect", "out", "--json"]).expect(0).json();
    assert!(inspected["peft_type"].is_string(), "{name}: {inspected}");
    let flags = ["plan", "--model", "model", "--data", "train.jsonl", "--output", "planned", "--json"];
    let settings: Vec<&str> =
        ["adapter.r=4", "training.max_steps=6"].iter().chain(*set).flat_map(|setting| ["--set", setting]).collect();
    let plan = workspace.run(&[&flags[..], &settings[..]].concat()).expect(0).json();
    if *file_is_trained {
        assert_eq!(plan["trainable_parameters"], inspected["parameters"], "{name}");
    }
    let generate = ["generate", "--model", "model", "--adapter", "out", "--max-new-tokens", "6"];
    workspace.run(&[&generate[..], &["--prompt", "w3 w4"]].concat()).expect(0);
    assert_eq!(workspace.written(&generate, 3), workspace.written(&generate, 1), "{name}");
}
