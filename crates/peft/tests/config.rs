//! `adapter_config.json`, read as PEFT wrote it and written as PEFT would.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tunesmith_peft::ia3::Ia3Config;
use tunesmith_peft::lora::{Bias, InitLoraWeights, LoraConfig};
use tunesmith_peft::{AdapterConfig, ModuleNames, OneOrMany, PeftError, TaskType, Warnings, python_json};

/// Keys that PEFT 0.10 does not have.
const NEWER: [&str; 17] = [
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "kasa_config",
    "lora_bias",
    "lora_ga_config",
    "monteclora_config",
    "peft_version",
    "qalora_group_size",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];

fn golden() -> Vec<(PathBuf, String)> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/peft");
    let cases = std::fs::read_dir(data).unwrap().map(|case| case.unwrap().path().join("adapter_config.json"));
    let cases: Vec<_> =
        cases.filter(|path| path.exists()).map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect();
    assert!(cases.len() >= 11);
    cases
}

fn read(text: &str) -> Result<(LoraConfig, Warnings), PeftError> {
    AdapterConfig::read(Path::new("adapter_config.json"), text).map(|(config, warnings)| match config {
        AdapterConfig::Lora(config) => (config, warnings),
        other => panic!("read as {other:?}"),
    })
}

fn refusal(json: &Value) -> String {
    let mut json = json.clone();
    json["peft_type"] = json!("LORA");
    read(&json.to_string()).expect_err("must be refused").to_string()
}

#[test]
fn text_is_laid_out_as_python_lays_it_out() {
    for (path, text) in golden() {
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(python_json::dumps(&value), text, "{}", path.display());
    }
}

#[test]
fn configurations_of_peft_are_written_again_with_the_keys_that_every_release_knows() {
    let read = |path: &Path, text: &str| AdapterConfig::read(path, text).unwrap();
    for (path, text) in golden() {
        let (config, warnings) = read(&path, &text);
        assert!(warnings.is_empty(), "{warnings:?}");
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        let fan_in_fan_out = expected["fan_in_fan_out"] == true;
        let object = expected.as_object_mut().unwrap();
        let says_something = |value: &Value| *value == true || value.is_array() || value.is_object();
        object.retain(|key, value| !NEWER.contains(&key.as_str()) || says_something(value));
        for key in ["target_modules", "feedforward_modules"] {
            if let Some(Value::Array(names)) = object.get_mut(key) {
                names.sort_by_key(|name| name.as_str().unwrap().to_owned());
            }
        }
        let written = config.to_text(fan_in_fan_out);
        assert_eq!(written, python_json::dumps(&expected), "{}", path.display());
        assert_eq!(read(&path, &written).0.to_text(fan_in_fan_out), written);
    }
}

#[test]
fn only_the_method_has_to_be_named() {
    assert_eq!(read(r#"{"peft_type": "LORA"}"#).unwrap().0, LoraConfig::default());
    let (config, _) = read(
        r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 2.5, "target_modules": ".*q_proj", "bias": "lora_only",
            "init_lora_weights": "gaussian", "task_type": "SEQ_2_SEQ_LM", "layers_pattern": null}"#,
    )
    .unwrap();
    assert_eq!((config.r, config.lora_alpha, config.bias), (4, 2.5, Bias::LoraOnly));
    assert_eq!(config.target_modules, Some(ModuleNames::Pattern(".*q_proj".to_owned())));
    assert_eq!(
        (config.init_lora_weights, config.common.task_type),
        (InitLoraWeights::Gaussian, Some(TaskType::Seq2SeqLm))
    );
    let (config, _) = read(r#"{"peft_type":"LORA","target_modules":["q"],"layers_to_transform":3}"#).unwrap();
    assert_eq!(config.layers_to_transform, Some(OneOrMany::One(3)));
}

#[test]
fn scaled_inputs_have_to_be_targets() {
    let file = Path::new("adapter_config.json");
    let read = |text| AdapterConfig::read(file, text).map(|(config, _)| config);
    assert_eq!(read(r#"{"peft_type": "IA3"}"#).unwrap(), AdapterConfig::Ia3(Ia3Config::default()));
    let text = r#"{"peft_type": "IA3", "target_modules": ["k_proj"], "feedforward_modules": ["down_proj"]}"#;
    let message = read(text).unwrap_err().to_string();
    assert!(message.contains("`feedforward_modules`: \"down_proj\" is not among target_modules"), "{message}");
    // As in PEFT, only lists are compared.
    let text = r#"{"peft_type": "IA3", "target_modules": ".*k_proj", "feedforward_modules": ["down_proj"]}"#;
    assert!(read(text).is_ok());
}

#[test]
fn what_is_not_understood_is_refused_or_reported() {
    let file = Path::new("adapter_config.json");
    let message = |text| AdapterConfig::read(file, text).unwrap_err().to_string();
    assert_eq!(message("{\n \"r\": ,}"), "adapter_config.json:2:7: expected value");
    assert!(message("version https://git-lfs.github.com/spec/v1").contains("adapter_config.json is a Git LFS pointer"));
    assert!(message("{}").contains("`peft_type`: is missing"));
    assert!(message(r#"{"peft_type": "OFT"}"#).contains("`peft_type` `OFT` is not supported; supported are LORA, IA3"));
    assert!(message(r#"{"peft_type": 3}"#).contains("`peft_type`"));
    let rows = message(r#"{"peft_type": "ADALORA", "total_step": 9, "trainable_token_indices": [3]}"#);
    assert!(rows.contains("`trainable_token_indices` is `[3]`, which is not supported"), "{rows}");
    for key in ["use_bdlora", "use_qalora", "ensure_weight_tying"] {
        assert!(refusal(&json!({ key: true })).contains(&format!("`{key}` is `true`, which is not supported")));
    }
    assert!(refusal(&json!({"layer_replication": [[0, 4]]})).contains("`layer_replication` is `[[0,4]]`"));
    assert!(refusal(&json!({"eva_config": {"rho": 2.0}})).contains("`eva_config`"));
    assert!(refusal(&json!({"init_lora_weights": "corda"})).contains("path_initial_model_for_weight_conversion"));
    let (_, warnings) =
        read(r#"{"peft_type":"LORA","new_flag":true,"new_off":false,"new_null":null,"new_empty":{}}"#).unwrap();
    assert_eq!(warnings, ["adapter_config.json: `new_flag` is unknown and ignored"]);
}

#[test]
fn values_out_of_range_are_named() {
    for (json, expected) in [
        (json!({"r": "8"}), "`r`: invalid type: string \"8\""),
        (json!({"r": 0}), "`r`: the rank must be at least 1"),
        (json!({"r": -1}), "`r`"),
        (json!({"r": 1e300}), "`r`"),
        (json!({"lora_dropout": 1.0}), "`lora_dropout`: expected 0 <= dropout < 1, got 1"),
        (json!({"r": u64::MAX}), "`r`: the rank must be at least 1 and at most 1048576, got 18446744073709551615"),
        (json!({"lora_alpha": 1e39}), "`lora_alpha`: expected a finite number below 3.4e38, got 1"),
        (json!({"alpha_pattern": {"q": 1e39}}), "`alpha_pattern`: expected a finite number below 3.4e38 for \"q\""),
        (json!({"lora_dropout": 0.999_999_999}), "`lora_dropout`: expected 0 <= dropout < 1, got 0.999999999"),
        (
            json!({"rank_pattern": {"q": 1u64 << 40}}),
            "`rank_pattern`: the rank of \"q\" must be at least 1 and at most",
        ),
        (json!({"rank_pattern": {"q": 0}}), "`rank_pattern`: the rank of \"q\""),
        (json!({"rank_pattern": {"q": "x"}}), "`rank_pattern`: expected a number for \"q\""),
        (json!({"bias": "some"}), "`bias`: unknown variant `some`"),
        (json!({"init_lora_weights": 3}), "`init_lora_weights`: expected true, false, \"gaussian\", \"orthogonal\""),
        (
            json!({"target_modules": "x", "layers_to_transform": [1]}),
            "`layers_to_transform`: needs target_modules as a list",
        ),
        (json!({"layers_pattern": "h"}), "`layers_pattern`: needs layers_to_transform"),
        (json!({"use_dora": true, "lora_bias": true}), "`lora_bias`: does not go together with use_dora"),
        (json!({"init_lora_weights": "pissa_niter_x"}), "`init_lora_weights`: expected a number of iterations"),
        (
            json!({"init_lora_weights": "pissa", "use_dora": true}),
            "`init_lora_weights`: \"pissa\" does not go together with use_dora",
        ),
        (
            json!({"init_lora_weights": "olora", "alpha_pattern": {"q": -1}}),
            "`init_lora_weights`: \"olora\" needs a positive lora_alpha, got -1",
        ),
        (
            json!({"init_lora_weights": "orthogonal", "r": 5}),
            "`init_lora_weights`: \"orthogonal\" needs an even rank, got 5",
        ),
        (json!({"target_modules": 3}), "`target_modules`"),
    ] {
        let message = refusal(&json);
        assert!(message.contains(expected), "{json}: {message}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\{\"peft_type\":\"LORA\",\"(r|bias|target_modules|rank_pattern|lora_alpha)\":[\\[\\]{}0-9a-z\":,.e-]{0,30}\\}") {
        let _ = read(&text);
    }

    #[test]
    fn a_configuration_reads_back_as_it_was_written(
        r in 1usize..512,
        alpha in prop_oneof![(0u32..512).prop_map(f64::from), 1e-9..1e9],
        dropout in 0.0..1.0,
        targets in proptest::collection::btree_set("[a-z_äß.]{1,12}", 1..5),
        ranks in proptest::collection::btree_map("[a-z\\\\.*]{1,8}", 1usize..64, 0..3),
        lora_bias: bool,
        use_rslora: bool,
    ) {
        let config = LoraConfig {
            r,
            lora_alpha: alpha,
            lora_dropout: dropout,
            target_modules: Some(ModuleNames::List(targets.into_iter().collect())),
            rank_pattern: ranks.into_iter().collect(),
            lora_bias,
            use_rslora,
            ..LoraConfig::default()
        };
        let text = AdapterConfig::Lora(config.clone()).to_text(false);
        prop_assert!(text.is_ascii() && !text.ends_with('\n'));
        prop_assert_eq!(read(&text).unwrap().0, config);
    }
}
