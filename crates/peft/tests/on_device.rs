//! Every method on a model of every kind on a device, emulated or a GPU (`TUNESMITH_TEST_DEVICE`): loss, gradients and what three
//! steps of AdamW make of the parameters, against the CPU; and the laws, there.

mod support;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::launch::testing;
use device::{DType, Device};
use support::laws::{SAME, hold};
use support::network::{Network, network_in};
use support::pairs::{METHODS, MODELS, refusal};
use support::{Batch, assert_all_close, assert_close, data, largest, loss_and_gradients, pass, steps_of_adamw, stir};
use tensor::Tensor;
use tunesmith_peft::{AdapterConfig, Method, attach};

/// A step later the differences have gone through AdamW, which divides every gradient by its own size.
const AFTER_TRAINING: f32 = 1e-3;
/// A device stores activations and their gradients in bf16, each rounding 2^-9 of its value. Some forty lie between the
/// embedding and a gradient, and add up as independent errors do: `sqrt(40) 2^-9`, here three times that.
const ROUNDED: f64 = 0.04;

/// What LoRA has beside the projections of every method's table, as PEFT writes it.
const OPTIONS: [(&str, &str); 4] = [
    ("dropout", r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "lora_dropout": 0.1}"#),
    ("biases", r#"{"peft_type": "LORA", "r": 3, "target_modules": ["q_proj"], "lora_bias": true}"#),
    ("embeddings and the head", r#"{"peft_type": "LORA", "r": 3, "target_modules": ["embed_tokens", "lm_head"]}"#),
    (
        "modules in full",
        r#"{"peft_type": "LORA", "r": 3, "target_modules": ["v_proj"], "modules_to_save": ["norm", "up_proj"]}"#,
    ),
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
    /// Of the first step.
    loss: f32,
    gradients: Vec<(String, Vec<f32>)>,
    losses: Vec<[f32; 2]>,
    trained: Vec<(String, Vec<f32>)>,
}

impl Outcome {
    fn of(network: &dyn Network, batch: &Batch, method: &Arc<dyn Method>, steps: u64) -> Self {
        stir(method);
        let each = |of: &dyn Fn(&Tensor) -> Vec<f32>| -> Vec<(String, Vec<f32>)> {
            method.parameters().iter().map(|(name, leaf)| (name.to_owned(), of(leaf))).collect()
        };
        let first = OnceCell::new();
        let losses = steps_of_adamw(method, steps, || {
            let (loss, gradients) = loss_and_gradients(network, batch, method, &pass(method));
            first.get_or_init(|| (loss, each(&|leaf| gradients.of(leaf).unwrap().to_vec())));
            (loss, gradients)
        });
        let (loss, gradients) = first.into_inner().expect("a step at least");
        Self { loss, gradients, losses, trained: each(&|leaf| leaf.to_vec()) }
    }
}

/// The model in `dir` on the CPU and on the suite's device.
fn networks(dir: &Path, kind: &str, dtype: DType) -> [Box<dyn Network>; 2] {
    let [here, mut there] = [(); 2].map(|()| network_in(dir, kind, dtype));
    there.base_mut().to_device(&Checkpoint::open(dir).unwrap(), testing::device(), None).unwrap();
    assert_eq!(there.base().device(), testing::device());
    [here, there]
}

fn configured(text: &str, network: &dyn Network) -> Arc<dyn Method> {
    let (config, _) = AdapterConfig::read(&PathBuf::from("adapter_config.json"), text).unwrap();
    attach(config, network.base(), 7).unwrap().0
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

/// All methods on one model: a test for each, so that they run side by side.
fn agrees(name: &str) {
    let model = MODELS.iter().find(|model| model.name == name).unwrap();
    for method in METHODS.iter().filter(|method| refusal(method, model).is_none()) {
        let [here, there] = [Device::Cpu, testing::device()].map(|device| {
            let network = method.load(model, DType::F32, device);
            let attached = method.attach(model, &*network).unwrap();
            Outcome::of(&*network, &model.batch(0..2, attached.prompt_len()), &attached, 3)
        });
        compare(&format!("{} on {name}", method.name), &here, &there);
    }
}

#[test]
fn a_decoder_with_grouped_heads() {
    agrees("llama");
}

#[test]
fn a_decoder_with_transposed_weights() {
    agrees("gpt2");
}

#[test]
fn an_encoder_with_a_decoder() {
    agrees("t5");
}

#[test]
fn a_classifier_of_sequences() {
    agrees("bert");
}

#[test]
fn a_classifier_of_tokens() {
    agrees("bert of tokens");
}

#[test]
fn a_classifier_of_images() {
    agrees("vit");
}

/// Every method on one model at least, and every model with several methods: the CPU has all pairs.
#[test]
fn laws() {
    for (i, method) in METHODS.iter().enumerate() {
        let fitting: Vec<_> = MODELS.iter().filter(|model| refusal(method, model).is_none()).collect();
        hold(method, fitting[i % fitting.len()], testing::device());
    }
}

#[test]
fn every_option() {
    let networks = networks(&data("peft/base-llama"), "decoder", DType::F32);
    for (name, text) in OPTIONS {
        let [here, there] = networks
            .each_ref()
            .map(|network| Outcome::of(network.as_ref(), &batch("decoder"), &configured(text, network.as_ref()), 2));
        compare(name, &here, &there);
    }
}

#[test]
fn every_family() {
    for (folder, kind, targets) in FAMILIES {
        let networks = networks(&data(folder), kind, DType::F32);
        let text = format!(r#"{{"peft_type": "LORA", "r": 2, "target_modules": "{targets}"}}"#);
        let [here, there] = networks
            .each_ref()
            .map(|network| Outcome::of(network.as_ref(), &batch(kind), &configured(&text, network.as_ref()), 1));
        compare(folder, &here, &there);
    }
}

fn compare(what: &str, here: &Outcome, there: &Outcome) {
    assert_close(&format!("{what}: loss"), &[there.loss], &[here.loss], SAME);
    assert_all_close(&format!("{what}: gradients"), &there.gradients, &here.gradients, SAME);
    let flat = |outcome: &Outcome| outcome.losses.concat();
    assert_close(&format!("{what}: losses and norms"), &flat(there), &flat(here), AFTER_TRAINING);
    // What has no gradient but rounding, as a bias of keys, is moved by AdamW as far as anything else, in any direction.
    let overall = here.gradients.iter().fold(0.0f32, |overall, (_, values)| overall.max(largest(values)));
    let of_gradients = |outcome: &Outcome| -> Vec<_> {
        let with_gradients = outcome.trained.iter().zip(&here.gradients);
        let kept = |(value, gradient): (&f32, &f32)| if gradient.abs() > SAME * overall { *value } else { 0.0 };
        let masked = with_gradients.map(|((name, values), (_, gradients))| {
            (name.clone(), values.iter().zip(gradients).map(kept).collect::<Vec<f32>>())
        });
        masked.collect()
    };
    let (there, here) = (of_gradients(there), of_gradients(here));
    assert_all_close(&format!("{what}: trained"), &there, &here, AFTER_TRAINING);
}

#[test]
fn in_bf16() {
    let model = &MODELS[0];
    for method in METHODS.iter().filter(|method| refusal(method, model).is_none()) {
        let name = method.name;
        let [here, there] = [Device::Cpu, testing::device()].map(|device| {
            let network = method.load(model, DType::BF16, device);
            let attached = method.attach(model, &*network).unwrap();
            Outcome::of(&*network, &model.batch(0..2, attached.prompt_len()), &attached, 1)
        });
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
