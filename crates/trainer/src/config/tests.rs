//! Settings read, and every kind of mistake told.

use std::num::NonZeroUsize;
use std::path::Path;

use super::*;

const FULL: &str = r#"
[model]
path = "models/SmolLM2-135M"
dtype = "bfloat16"
quantization = "none"
double_quant = true
task_type = "CAUSAL_LM"
num_labels = 2

[adapter]
method = "lora"
r = 16
lora_alpha = 32
lora_dropout = 0.0
target_modules = ["q_proj", "v_proj"]
use_rslora = false
use_dora = false
num_virtual_tokens = 20
init_from = ""

[data]
train = "train.jsonl"
eval = "valid.jsonl"
max_length = 512
packing = false
shuffle = true

[training]
output_dir = "out"
max_steps = 100
per_device_train_batch_size = 4
gradient_accumulation_steps = 1
learning_rate = 2e-4
lr_scheduler_type = "linear"
warmup_steps = 0
weight_decay = 0.0
optim = "adamw"
adam_beta1 = 0.9
adam_beta2 = 0.999
adam_epsilon = 1e-8
max_grad_norm = 1.0
gradient_checkpointing = false
activation_offload = false
logging_steps = 1
eval_steps = 0
save_steps = 0
save_total_limit = 2
seed = 42
device = "auto"
cuda_graphs = true
threads = 0
resume = "auto"
"#;

const SHORT: &str = "[model]\npath = 'm'\n[data]\ntrain = 't'\n[training]\noutput_dir = 'o'\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse("run.toml", text, &Overrides::default())
}

fn with_set(text: &str, set: &[&str]) -> Result<Config, ConfigError> {
    let overrides = Overrides { set: set.iter().map(|s| (*s).to_owned()).collect(), ..Overrides::default() };
    Config::parse("run.toml", text, &overrides)
}

/// The message for `SHORT` with `set` over it.
fn refusal(set: &str) -> String {
    with_set(SHORT, &[set]).expect_err(set).to_string()
}

#[test]
fn the_documented_config_is_read() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.adapter.lora.r, Some(16));
    assert_eq!(config.adapter.lora.lora_alpha, Some(32.0));
    assert_eq!(config.adapter.init_from, None);
    assert_eq!(config.data.eval, Some("valid.jsonl".into()));
    assert_eq!(config.training.max_steps, Some(100));
    assert_eq!(config.training.num_train_epochs, None);
    assert_eq!(config.model.dtype.dtype(), Some(device::DType::BF16));
}

#[test]
fn printed_settings_read_back_the_same() {
    for text in [FULL, SHORT] {
        let config = parse(text).unwrap();
        // What the recipe has set is written out, and then it is set.
        let written = Config { from_recipe: Vec::new(), ..config };
        assert_eq!(parse(&written.to_toml().unwrap()).unwrap(), written);
    }
}

#[test]
fn flags_build_the_same_config() {
    let overrides = Overrides {
        model: Some("m".into()),
        data: Some("t".into()),
        method: Some("lora".to_owned()),
        output: Some("o".into()),
        set: Vec::new(),
    };
    assert_eq!(Config::parse("", "", &overrides).unwrap(), parse(SHORT).unwrap());
    assert_eq!(parse(SHORT).unwrap().training.num_train_epochs, Some(3.0));
}

#[test]
fn set_takes_toml_and_bare_strings() {
    let config = with_set(
        SHORT,
        &[
            "training.learning_rate=1e-4",
            "training.output_dir=runs/a b",
            "adapter.target_modules=[\"c_attn\"]",
            "adapter.rank_pattern.q_proj=4",
            "training.resume=out/checkpoint-5",
            "training.seed=18446744073709551615",
        ],
    )
    .unwrap();
    assert_eq!(config.training.learning_rate, 1e-4);
    assert_eq!(config.training.output_dir, PathBuf::from("runs/a b"));
    assert_eq!(config.adapter.selection.target_modules, Some(peft::ModuleNames::List(vec!["c_attn".to_owned()])));
    assert_eq!(config.adapter.lora.rank_pattern, Some(vec![("q_proj".to_owned(), 4)]));
    assert_eq!(config.training.resume, Resume::From("out/checkpoint-5".into()));
    assert_eq!(config.training.seed, u64::MAX);
}

#[test]
fn an_unknown_key_has_a_caret_and_the_nearest_known_one() {
    let message = parse(&format!("{SHORT}lerning_rate = 1e-4\n")).unwrap_err().to_string();
    assert_eq!(
        message,
        "unknown key `training.lerning_rate`; did you mean `training.learning_rate`?\n --> run.toml:7:1\n  |\n\
         7 | lerning_rate = 1e-4\n  | ^^^^^^^^^^^^"
    );
    assert!(refusal("training.max_length=5").contains("did you mean `data.max_length`?"));
    assert!(refusal("learning_rate=5").contains("did you mean `training.learning_rate`?"));
    assert!(refusal("trainning.seed=5").contains("did you mean `training`?"));
    assert!(refusal("model.zzz=5").contains("known are double_quant, dtype"));
}

#[test]
fn every_problem_is_told_in_one_go() {
    let text = "[model]\npath = 3\n[training]\noutput_dirr = 'o'\nseed = -1\n[data]\n";
    let error = parse(text).unwrap_err();
    assert_eq!(error.problems.len(), 5, "{error}");
    let message = error.to_string();
    for part in
        ["`model.path` must be a path", "did you mean `training.output_dir`", "`training.seed` must be at least 0"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert!(message.contains("`data.train` is missing; set it in the config, or with --data"), "{message}");
}

#[test]
fn a_text_needs_no_quotes_on_the_command_line() {
    for word in ["nan", "1", "true", "0.5", "2026-11-23", "a b"] {
        let config = with_set(SHORT, &[&format!("model.path={word}")]).unwrap();
        assert_eq!(config.model.path, Path::new(word));
    }
}

#[test]
fn values_out_of_range_are_refused() {
    for (set, expected) in [
        ("adapter.r=0", "`adapter.r` must be at least 1 and at most 65536, got 0"),
        ("adapter.lora_alpha=nan", "got NaN"),
        ("adapter.lora_alpha=0", "`adapter.lora_alpha` must be above 0 and at most 1000000000, got 0"),
        ("adapter.lora_dropout=1.0", "`adapter.lora_dropout` must be at least 0 and below 1, got 1"),
        ("training.num_train_epochs=0", "`training.num_train_epochs` must be above 0 and at most 1000000, got 0"),
        ("training.max_grad_norm=-1", "`training.max_grad_norm` must be at least 0 and below inf, got -1"),
        ("training.learning_rate=-1e-4", "`training.learning_rate` must be at least 0 and at most 10, got -0.0001"),
        ("training.learning_rate=1e9", "got 1000000000"),
        ("training.learning_rate=inf", "got inf"),
        ("training.per_device_train_batch_size=0", "must be at least 1"),
        ("training.seed=-1", "must be at least 0, got -1"),
        ("training.seed=18446744073709551616", "must be at most 18446744073709551615"),
        ("training.adam_beta2=1", "below 1"),
        ("training.adam_epsilon=0", "`training.adam_epsilon` is 0 to an f32"),
        ("training.adam_epsilon=1e-39", "leave it out for 1e-8, or set at least 2e-38"),
        ("training.max_steps=ten", "`training.max_steps` must be an integer, got a string"),
        ("training.max_steps=1.5", "must be an integer, got a float"),
        ("training.lr_scheduler_type=cosin", "did you mean `cosine`?"),
        ("training.device=gpu", "known are auto, cpu, cuda, cuda:N, emulated"),
        ("adapter.target_modules=[1]", "`adapter.target_modules[0]` must be a string, got an integer"),
        ("adapter.rank_pattern={q=0.5}", "`adapter.rank_pattern.q` must be an integer"),
        ("training=3", "`training` must be a table"),
        ("training.seed", "--set needs table.key=value"),
        ("=3", "not valid TOML"),
    ] {
        let message = refusal(set);
        assert!(message.contains(expected), "{set}: {message}");
        assert!(message.contains("--> --set:1:"), "{set}: {message}");
    }
    assert!(with_set(SHORT, &["training.adam_epsilon=2e-38"]).is_ok());
}

#[test]
fn settings_that_exclude_each_other_are_refused() {
    let both = with_set(SHORT, &["training.max_steps=5", "training.num_train_epochs=1"]).unwrap_err().to_string();
    assert!(both.contains("`training.num_train_epochs` and `training.max_steps` are both set"), "{both}");
    let warmup = with_set(SHORT, &["training.max_steps=5", "training.warmup_steps=6"]).unwrap_err().to_string();
    assert!(warmup.contains("`training.warmup_steps` = 6 is more than the 5 steps"), "{warmup}");
}

#[test]
fn qlora_is_lora_on_a_quantized_base() {
    let config = with_set(SHORT, &["adapter.method=qlora"]).unwrap();
    assert_eq!((config.adapter.method, config.model.quantization), (Method::Lora, Quantization::Nf4));
    assert!(config.model.double_quant);
    let spelled_out = with_set(SHORT, &["adapter.method=lora", "model.quantization=nf4"]).unwrap();
    assert_eq!(config, spelled_out);
    let both =
        with_set(SHORT, &["adapter.method=qlora", "model.quantization=nf4", "model.double_quant=false"]).unwrap();
    assert!(!both.model.double_quant);
    let contradiction = with_set(SHORT, &["adapter.method=qlora", "model.quantization=none"]).unwrap_err().to_string();
    assert!(
        contradiction.contains("`model.quantization` must be \"nf4\" for adapter.method = \"qlora\""),
        "{contradiction}"
    );
    assert!(contradiction.contains("--> --set:1:"), "{contradiction}");
    let full = with_set(SHORT, &["adapter.method=full", "model.quantization=nf4"]).unwrap_err().to_string();
    assert!(full.contains("quantized weights cannot be trained"), "{full}");
}

#[test]
fn activations_leave_a_device_whose_blocks_are_recomputed() {
    assert!(refusal("training.activation_offload=true").contains("is for training.gradient_checkpointing = true"));
    let both = ["training.activation_offload=true", "training.gradient_checkpointing=true"];
    assert!(with_set(SHORT, &both).unwrap().training.activation_offload);
    let on_cpu = with_set(SHORT, &[both[0], both[1], "training.device=cpu"]).unwrap_err().to_string();
    assert!(on_cpu.contains("`training.activation_offload` must be false for training.device"), "{on_cpu}");
}

#[test]
fn what_a_device_does_not_use_is_told() {
    let of = |set: &[&str], device| with_set(SHORT, set).unwrap().training.without_effect(device);
    let both = ["training.activation_offload=true", "training.gradient_checkpointing=true"];
    let told = of(&[both[0], both[1], "training.device_memory_mib=100"], Device::Cpu);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("training.activation_offload has no effect on device cpu"), "{told:?}");
    assert!(told[1].starts_with("training.device_memory_mib has no effect on device cpu"), "{told:?}");
    assert!(of(&both, Device::Cuda(0)).is_empty() && of(&[], Device::Cpu).is_empty());
}

#[test]
fn padding_is_for_causal_models() {
    let pad = "data.pad_to_multiple_of=64";
    assert_eq!(with_set(SHORT, &[pad]).unwrap().data.pad_to_multiple_of.map(NonZeroUsize::get), Some(64));
    let refused = with_set(SHORT, &[pad, "model.task_type=SEQ_CLS"]).unwrap_err().to_string();
    assert!(refused.contains("`data.pad_to_multiple_of` is for model.task_type = \"CAUSAL_LM\""), "{refused}");
}

#[test]
fn optimizers_have_the_names_of_transformers_too() {
    let optim = |name: &str| with_set(SHORT, &[&format!("training.optim={name}")]).unwrap().training.optim;
    assert_eq!(["adamw", "adamw_torch", "adamw_torch_fused"].map(optim), [Optim::AdamW; 3]);
    assert_eq!(["adamw_8bit", "adamw_bnb_8bit"].map(optim), [Optim::AdamW8bit; 2]);
    assert!(refusal("training.optim=adamw_8bits").contains("adamw_8bit"));
}

#[test]
fn int8_is_for_adapters_on_the_cpu() {
    let config = with_set(SHORT, &["model.quantization=int8"]).unwrap();
    assert_eq!((config.adapter.method, config.model.quantization), (Method::Lora, Quantization::Int8));
    // A GPU that is there is not looked for.
    assert_eq!(config.training.device, DeviceChoice::Named(Device::Cpu));
    for (setting, expected) in [
        ("adapter.method=full", "quantized weights cannot be trained"),
        ("training.device=cuda", "\"int8\" is computed on the CPU"),
        ("adapter.method=qlora", "must be \"nf4\" for adapter.method = \"qlora\""),
    ] {
        let error = with_set(SHORT, &["model.quantization=int8", setting]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn p_tuning_v2_is_a_prefix_that_is_not_projected() {
    let config = with_set(SHORT, &["adapter.method=p_tuning_v2"]).unwrap();
    assert_eq!(config.adapter.method, Method::PrefixTuning);
    assert_eq!(config.adapter.prompt_learning.prefix_projection, Some(false));
    let projected = ["adapter.method=p_tuning_v2", "adapter.prefix_projection=true"];
    let contradiction = with_set(SHORT, &projected).unwrap_err().to_string();
    assert!(contradiction.contains("`adapter.prefix_projection` must be false"), "{contradiction}");
}

#[test]
fn duplicate_keys_are_refused_with_a_caret() {
    let message = parse("[model]\npath = 'a'\npath = 'b'\n").unwrap_err().to_string();
    assert!(message.contains("duplicate key") && message.contains("run.toml:3:1"), "{message}");
}

#[test]
fn what_is_not_there_yet_is_said_so() {
    let message = refusal("model.dtype=float16");
    assert!(message.contains("available: auto, float32, bfloat16"), "{message}");
    assert!(refusal("adapter.method=lorra").contains("did you mean `lora`?"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_config_without_end_is_not_read_to_its_end() {
    let error = Config::load(Some(Path::new("/dev/zero")), &Overrides::default()).unwrap_err().to_string();
    assert!(error.contains("/dev/zero: it has more than 16777216 bytes"), "{error}");
}

#[test]
fn a_config_that_is_no_text_or_too_long_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let message = |bytes: &[u8]| {
        let path = dir.path().join("run.toml");
        std::fs::write(&path, bytes).unwrap();
        Config::load(Some(&path), &Overrides::default()).unwrap_err().to_string()
    };
    assert!(message(b"[model]\n# \xff").contains("run.toml: byte 11 is not UTF-8"));
    // The limit is within a character.
    let long = ["##", &"\u{e4}".repeat(8 << 20)].concat();
    assert!(message(long.as_bytes()).contains("run.toml: it has more than 16777216 bytes"));
    // As long as may be: what it lacks is told.
    assert!(message(&vec![b'#'; 16 << 20]).contains("`model.path` is missing"));
}
