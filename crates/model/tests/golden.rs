//! Every family computes what transformers computes.

mod support;

use std::path::Path;

use checkpoint::Checkpoint;
use device::DType;
use support::{Recorded, data, load, logits, relative_error, targets, variants};
use tunesmith_model::{Decoder, DecoderConfig, Input, Pass};

/// Both compute in f32 and add up in another order: a few roundings for each of some ten products of depth 24 to 40, one
/// after another. The worst of all variants is 1.3e-6; a wrong epsilon, scale, frequency or window shows above 1e-3.
const TOLERANCE: f32 = 5e-6;

#[test]
fn logits_and_losses_are_those_of_transformers() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), Recorded::of(&variant), Pass::base());
        for i in 0..2 {
            let input_ids = recorded.input_ids(i);
            let error = relative_error(&logits(&model, &[&input_ids], &pass), &recorded.floats(&format!("logits.{i}")));
            println!("{variant}: logits.{i} differ by {error:.1e}");
            assert!(error <= TOLERANCE, "{variant}: logits.{i} differ by {error:.1e}");

            let targets = targets(&recorded.integers(&format!("labels.{i}")));
            let supervised = targets.iter().filter(|&&t| t != -100).count();
            let hidden = model.forward(&Input::from_sequences(&[&input_ids]).unwrap(), &pass).unwrap();
            let loss = model.loss(&hidden, &targets, &pass).unwrap().item().unwrap() / supervised as f32;
            let expected = recorded.floats(&format!("loss.{i}"));
            assert!(relative_error(&[loss], &expected) <= TOLERANCE, "{variant}: loss {loss}, expected {expected:?}");
        }
    }
}

#[test]
fn a_packed_batch_has_the_loss_of_a_padded_one() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), Recorded::of(&variant), Pass::base());
        let (a, b) = (recorded.input_ids(0), recorded.input_ids(1));
        let hidden = model.forward(&Input::from_sequences(&[&a, &b]).unwrap(), &pass).unwrap();
        let targets = [targets(&recorded.integers("labels.0")), targets(&recorded.integers("labels.1"))].concat();
        let supervised = targets.iter().filter(|&&t| t != -100).count();
        let loss = model.loss(&hidden, &targets, &pass).unwrap().item().unwrap() / supervised as f32;
        let expected = recorded.floats("loss");
        assert!(relative_error(&[loss], &expected) <= TOLERANCE, "{variant}: loss {loss}, expected {expected:?}");
    }
}

#[test]
fn the_spelling_of_transformers_4_means_the_same_model() {
    for variant in variants() {
        let dir = data("families").join(&variant);
        let path = dir.join("config.v4.json");
        let old = DecoderConfig::from_json(&path, &checkpoint::read_json(&path, 1 << 20).unwrap())
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{old:?}"), format!("{:?}", DecoderConfig::read(&dir).unwrap()), "{variant}");
        let model = Decoder::from_checkpoint(old, &Checkpoint::open(&dir).unwrap(), DType::F32).unwrap();
        let recorded = Recorded::of(&variant);
        let got = logits(&model, &[&recorded.input_ids(1)], &Pass::base());
        assert!(relative_error(&got, &recorded.floats("logits.1")) <= TOLERANCE, "{variant}");
    }
}

#[test]
fn the_base_models_of_the_adapter_data() {
    for family in ["llama", "gpt2", "qwen2"] {
        let model = Decoder::load(&data("peft").join(format!("base-{family}")), DType::F32).unwrap();
        let recorded = Recorded::open(data("peft").join(format!("{family}-lora/io.safetensors")));
        // A right-padded batch: the tokens before the padding do not see it.
        let [batch, length] = recorded.shape("input_ids")[..] else { panic!() };
        let (ids, mask) = (recorded.integers("input_ids"), recorded.integers("attention_mask"));
        let expected = recorded.floats("logits_base");
        for row in 0..batch {
            let tokens = row * length..(row + 1) * length;
            let real = mask[tokens.clone()].iter().filter(|&&m| m == 1).count();
            let ids: Vec<u32> = ids[tokens].iter().take(real).map(|&id| id as u32).collect();
            let vocab = model.config().vocab_size;
            let expected = &expected[row * length * vocab..][..real * vocab];
            let error = relative_error(&logits(&model, &[&ids], &Pass::base()), expected);
            assert!(error <= TOLERANCE, "{family}, row {row}: {error}");
        }
    }
}

#[test]
fn module_names_are_those_of_the_adapters() {
    // A name in an adapter file is `base_model.model.` + the path of a module + `.lora_A.weight`.
    for variant in variants() {
        let modules = DecoderConfig::read(&data("families").join(&variant)).unwrap().modules();
        let path = data("families").join(&variant).join("lora/adapter_model.safetensors");
        let adapter = checkpoint::SafetensorsFile::open(path).unwrap();
        for name in adapter.names().filter_map(|name| name.strip_suffix(".lora_A.weight")) {
            let path = name.strip_prefix("base_model.model.").unwrap();
            assert!(modules.find(path).is_some(), "{variant}: no module {path}");
        }
    }
}

#[test]
fn half_precision_is_requested_or_kept() {
    let dir = |variant: &str| data("families").join(variant);
    let dtypes = |path: &Path, dtype| {
        let model = Decoder::load(path, dtype).unwrap();
        let ids = model.base().modules().parameters().map(|p| p.id).collect::<Vec<_>>();
        ids.into_iter().map(|id| model.base().parameter(id).unwrap().dtype()).collect::<std::collections::HashSet<_>>()
    };
    assert_eq!(dtypes(&dir("llama-bf16"), DType::F32), [DType::BF16].into());
    assert_eq!(dtypes(&dir("llama-f16"), DType::F32), [DType::F16].into());
    assert_eq!(dtypes(&dir("llama-f16"), DType::BF16), [DType::BF16].into());
    assert_eq!(dtypes(&dir("llama"), DType::BF16), [DType::BF16].into());

    let rounded = Decoder::load(&dir("llama"), DType::BF16).unwrap();
    let recorded = Recorded::of("llama");
    let error =
        relative_error(&logits(&rounded, &[&recorded.input_ids(1)], &Pass::base()), &recorded.floats("logits.1"));
    // Every weight is off by up to 2^-9 of itself; errors of random sign add up to a few times that.
    assert!(error > TOLERANCE && error <= 0.03, "{error}");
}
