//! The laws of every method on a model of every kind, on the CPU; `on_device.rs` has them on devices.

mod support;

use device::{DType, Device};
use support::laws::hold;
use support::pairs::{METHODS, MODELS, refusal};

/// All methods on one model: a test for each, so that they run side by side.
fn laws_of(name: &str) {
    let model = MODELS.iter().find(|model| model.name == name).unwrap();
    for method in METHODS.iter().filter(|method| refusal(method, model).is_none()) {
        hold(method, model, Device::Cpu);
    }
}

#[test]
fn of_a_decoder_with_grouped_heads() {
    laws_of("llama");
}

#[test]
fn of_a_decoder_with_transposed_weights() {
    laws_of("gpt2");
}

#[test]
fn of_an_encoder_with_a_decoder() {
    laws_of("t5");
}

#[test]
fn of_a_classifier_of_sequences() {
    laws_of("bert");
}

#[test]
fn of_a_classifier_of_tokens() {
    laws_of("bert of tokens");
}

#[test]
fn of_a_classifier_of_images() {
    laws_of("vit");
}

#[test]
fn what_makes_no_sense_says_why_and_what_would() {
    let mut refused = 0;
    for (model, method) in MODELS.iter().flat_map(|model| METHODS.iter().map(move |method| (model, method))) {
        let Some(expected) = refusal(method, model) else { continue };
        let network = method.load(model, DType::F32, Device::Cpu);
        let error = method.attach(model, &*network).err().expect("must be refused").to_string();
        for part in expected {
            assert!(error.contains(part), "{} on {}: {error}", method.name, model.name);
        }
        refused += 1;
    }
    assert_eq!(refused, 6);
}
