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
use support::pairs::{FAMILIES, METHODS, MODELS, MethodCase, ModelCase, refusal};
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
    let fitting = METHODS.iter().filter(|method| refusal(method, model).is_none());
    fitting.for_each(|method| agree(method, model, 3, SAME));
}

/// Some steps of a method on a model, on the CPU and on the suite's device.
fn agree(method: &MethodCase, model: &ModelCase, steps: u64, same: f32) {
    let [here, there] = [Device::Cpu, testing::device()].map(|device| {
        let network = method.load(model, DType::F32, device);
        let attached = method.attach(model, &*network).unwrap();
        Outcome::of(&*network, &model.batch(0..2, attached.prompt_len()), &attached, steps)
    });
    compare(&format!("{} on {}", method.name, model.name), &here, &there, same);
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
        compare(name, &here, &there, SAME);
    }
}

/// A step of LoRA on every family, and of every fifth method: other ones on the next, so that each comes to some of a kind.
fn families_agree(kinds: &[&str]) {
    for (i, model) in FAMILIES.iter().enumerate().filter(|(_, model)| kinds.contains(&model.kind)) {
        // Hypercomplex layers divide the size of an adapter, which not all of these models have.
        let fits = |method: &MethodCase| refusal(method, model).is_none() && method.name != "compacter";
        let is_taken = |j: usize| j == 0 || (i + j).is_multiple_of(5);
        let methods = METHODS.iter().enumerate().filter(|(j, method)| is_taken(*j) && fits(method));
        // Some have twice the blocks.
        methods.for_each(|(_, method)| agree(method, model, 1, 2.0 * SAME));
    }
}

#[test]
fn every_family_of_decoders() {
    families_agree(&["decoder"]);
}

#[test]
fn every_other_family() {
    families_agree(&["t5", "bert", "vit"]);
}

fn compare(what: &str, here: &Outcome, there: &Outcome, same: f32) {
    assert_close(&format!("{what}: loss"), &[there.loss], &[here.loss], same);
    assert_all_close(&format!("{what}: gradients"), &there.gradients, &here.gradients, same);
    let flat = |outcome: &Outcome| outcome.losses.concat();
    assert_close(&format!("{what}: losses and norms"), &flat(there), &flat(here), AFTER_TRAINING);
    // What has no gradient but rounding, as a bias of keys, is moved by AdamW as far as anything else, in any direction.
    let overall = here.gradients.iter().fold(0.0f32, |overall, (_, values)| overall.max(largest(values)));
    let of_gradients = |outcome: &Outcome| -> Vec<_> {
        let with_gradients = outcome.trained.iter().zip(&here.gradients);
        let kept = |(value, gradient): (&f32, &f32)| if gradient.abs() > same * overall { *value } else { 0.0 };
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
