//! Every method and every kind of model on the emulated device: loss, gradients and what two steps of AdamW make of the
//! parameters, against the CPU.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::{DType, Device};
use support::network::{Network, network_in};
use support::{Batch, assert_close, data, loss_and_gradients, pass, train};
use tensor::Tensor;
use tunesmith_peft::bottleneck::BottleneckConfig;
use tunesmith_peft::{AdapterConfig, Method, attach};

/// In f32 both devices add the same products in another order: sums of at most a few hundred terms, each rounded to 6e-8, through
/// two blocks.
const SAME: f32 = 2e-5;
/// A step later the differences have gone through AdamW, which divides every gradient by its own size.
const AFTER_TRAINING: f32 = 1e-3;
/// A device stores activations and their gradients in bf16, each rounding 2^-9 of its value. Some forty lie between the
/// embedding and a gradient, and add up as independent errors do: `sqrt(40) 2^-9`, here three times that.
const ROUNDED: f64 = 0.04;

/// Configurations as PEFT writes them.
const METHODS: [(&str, &str); 7] = [
    ("lora", r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "lora_dropout": 0.1}"#),
    ("lora with biases", r#"{"peft_type": "LORA", "r": 3, "target_modules": ["q_proj"], "lora_bias": true}"#),
    (
        "lora of embeddings and the head",
        r#"{"peft_type": "LORA", "r": 3, "target_modules": ["embed_tokens", "lm_head"]}"#,
    ),
    (
        "lora beside modules in full",
        r#"{"peft_type": "LORA", "r": 3, "target_modules": ["v_proj"], "modules_to_save": ["norm", "up_proj"]}"#,
    ),
    (
        "pissa",
        r#"{"peft_type": "LORA", "r": 3, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": "pissa"}"#,
    ),
    ("ia3", r#"{"peft_type": "IA3", "target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}"#),
    ("prefix tuning", r#"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}"#),
];

/// A folder of `tests/data` for each family of models, and the modules that LoRA adapts there.
const FAMILIES: [(&str, &str, &str); 12] = [
    ("families/gemma2", "decoder", "all-linear"),
    ("families/gemma3_text", "decoder", "all-linear"),
    ("families/gpt2", "decoder", "all-linear"),
    ("families/gpt_neox", "decoder", "all-linear"),
    ("families/llama-rope-yarn", "decoder", "all-linear"),
    ("families/mistral-window", "decoder", "all-linear"),
    ("families/phi3", "decoder", "all-linear"),
    ("families/qwen2", "decoder", "all-linear"),
    ("families/qwen3-bias-window", "decoder", "all-linear"),
    ("peft/base-t5", "t5", "all-linear"),
    ("peft-classifiers/base-bert", "bert", "all-linear"),
    ("peft-classifiers/base-distilbert", "bert", "all-linear"),
];

/// What training a model comes to.
struct Outcome {
    loss: f32,
    gradients: Vec<(String, Vec<f32>)>,
    losses: Vec<[f32; 2]>,
    trained: Vec<(String, Vec<f32>)>,
}

impl Outcome {
    fn of(network: &dyn Network, batch: &Batch, config: &AdapterConfig, steps: u64) -> Self {
        let (method, _) = attach(config.clone(), network.base(), 7).unwrap();
        stir(&method);
        let (loss, gradients) = loss_and_gradients(network, batch, &method, &pass(&method));
        let each = |of: &dyn Fn(&Tensor) -> Vec<f32>| -> Vec<(String, Vec<f32>)> {
            method.parameters().iter().map(|(name, leaf)| (name.to_owned(), of(leaf))).collect()
        };
        let gradients = each(&|leaf| gradients.of(leaf).unwrap().to_vec());
        let losses = train(network, batch, &method, steps);
        Self { loss, gradients, losses, trained: each(&|leaf| leaf.to_vec()) }
    }
}

/// Gives every parameter an effect: none stays zero.
fn stir(method: &Arc<dyn Method>) {
    for (index, leaf) in method.parameters().tensors().enumerate() {
        let moved = |(i, value): (usize, f32)| value + ((i * 7 + index * 5) % 11) as f32 / 50.0 - 0.11;
        let values: Vec<f32> = leaf.to_vec().into_iter().enumerate().map(moved).collect();
        method.parameters().set(index, &values).unwrap();
    }
}

/// The model in `dir` on the CPU and on the emulated device.
fn networks(dir: &Path, kind: &str, dtype: DType) -> [Box<dyn Network>; 2] {
    let [here, mut there] = [(); 2].map(|()| network_in(dir, kind, dtype));
    there.base_mut().to_device(&Checkpoint::open(dir).unwrap(), Device::Emulated, None).unwrap();
    assert_eq!(there.base().device(), Device::Emulated);
    [here, there]
}

fn config(text: &str) -> AdapterConfig {
    match BottleneckConfig::preset(text) {
        Some(preset) => AdapterConfig::Bottleneck(preset),
        None => AdapterConfig::read(&PathBuf::from("adapter_config.json"), text).unwrap().0,
    }
}

/// Two rows of tokens, or what the second kind of model is trained on.
fn batch(kind: &str) -> Batch {
    let row = |ids: &[i64]| (ids.to_vec(), ids.to_vec());
    match kind {
        "bert" => Batch { targets: vec![1, 0], ..Batch::new(&[row(&[3, 17, 5, 40]), row(&[9, 30])]) },
        "t5" => Batch::of_targets(&[(vec![3, 17, 5, 40], vec![8, 21, 1]), (vec![9, 30], vec![7, 1])]),
        _ => Batch::new(&[row(&[3, 17, 5, 40, 8]), row(&[9, 9, 30])]),
    }
}

#[test]
fn every_method() {
    let networks = networks(&data("peft/base-llama"), "decoder", DType::F32);
    for (name, text) in METHODS {
        let [here, there] =
            networks.each_ref().map(|network| Outcome::of(network.as_ref(), &batch("decoder"), &config(text), 2));
        compare(name, &here, &there);
    }
}

#[test]
fn every_family() {
    for (folder, kind, targets) in FAMILIES {
        let networks = networks(&data(folder), kind, DType::F32);
        let text = format!(r#"{{"peft_type": "LORA", "r": 2, "target_modules": "{targets}"}}"#);
        let [here, there] =
            networks.each_ref().map(|network| Outcome::of(network.as_ref(), &batch(kind), &config(&text), 1));
        compare(folder, &here, &there);
    }
}

fn compare(what: &str, here: &Outcome, there: &Outcome) {
    assert_close(&format!("{what}: loss"), &[there.loss], &[here.loss], SAME);
    for ((name, expected), (_, got)) in here.gradients.iter().zip(&there.gradients) {
        assert_close(&format!("{what}: gradient of {name}"), got, expected, SAME);
    }
    let flat = |outcome: &Outcome| outcome.losses.concat();
    assert_close(&format!("{what}: losses and norms"), &flat(there), &flat(here), AFTER_TRAINING);
    for ((name, expected), (_, got)) in here.trained.iter().zip(&there.trained) {
        assert_close(&format!("{what}: trained {name}"), got, expected, AFTER_TRAINING);
    }
}

#[test]
fn in_bf16() {
    let networks = networks(&data("peft/base-llama"), "decoder", DType::BF16);
    for (name, text) in METHODS {
        let [here, there] =
            networks.each_ref().map(|network| Outcome::of(network.as_ref(), &batch("decoder"), &config(text), 0));
        let difference = f64::from((here.loss - there.loss).abs());
        assert!(difference <= ROUNDED * f64::from(here.loss), "{name}: loss {} and {}", there.loss, here.loss);
        let all = |outcome: &Outcome| -> Vec<f32> { outcome.gradients.iter().flat_map(|(_, g)| g.clone()).collect() };
        let (here, there) = (all(&here), all(&there));
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
        let difference = norm(&mut here.iter().zip(&there).map(|(&a, &b)| f64::from(a) - f64::from(b)));
        let relative = difference / norm(&mut here.iter().map(|&value| f64::from(value)));
        assert!(relative <= ROUNDED, "{name}: gradients differ by {relative}");
    }
}
