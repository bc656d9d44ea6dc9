//! What has to hold for every family: packing, caching and recomputing change nothing.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use support::{Recorded, data, grow_together, load, logits, relative_error, targets, variants};
use tensor::{Gradients, Tensor, backward};
use tunesmith_model::{Adapter, Decoder, Input, ModuleId, ParameterId, Pass};

#[test]
fn a_packed_sequence_is_computed_as_if_alone() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), Recorded::of(&variant), Pass::base());
        let long = recorded.input_ids(1);
        let (a, b) = (&long[..11], &long[..]);
        let alone = [logits(&model, &[a], &pass), logits(&model, &[b], &pass), logits(&model, &[a], &pass)].concat();
        assert!(logits(&model, &[a, b, a], &pass) == alone, "{variant}");

        // Products of at most eight rows add up in another order: a few roundings.
        let short = recorded.input_ids(0);
        let packed = logits(&model, &[&short, b], &pass);
        let alone = logits(&model, &[&short], &pass);
        assert!(relative_error(&packed[..alone.len()], &alone) <= 1e-5, "{variant}");
    }
}

#[test]
fn a_cached_text_is_computed_as_if_at_once() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), Recorded::of(&variant), Pass::base());
        let ids = recorded.input_ids(1);
        let vocab = model.config().vocab_size;
        let mut cache = model.new_cache().unwrap();
        let mut done = 0;
        for step in [4, 1, 1, 5, 1, 1, 1, 1, 1, 7] {
            let hidden = model.forward_cached(&mut cache, &[&ids[done..done + step]], &pass).unwrap();
            assert_eq!(hidden.shape(), [step, model.config().hidden_size]);
            done += step;
            let cached = model.logits(&hidden, &pass).unwrap().to_vec();
            let whole = logits(&model, &[&ids[..done]], &pass);
            let expected = &whole[(done - step) * vocab..];
            // The same sums over the same numbers, cut at other places: a few roundings.
            assert!(relative_error(&cached, expected) <= 1e-5, "{variant}: {done} tokens");
        }
        assert_eq!(cache.input_ids(0), ids);
    }
}

#[test]
fn texts_in_one_cache_are_computed_as_if_alone() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), Recorded::of(&variant), Pass::base());
        grow_together(&model, &recorded.input_ids(1), &pass, &variant);
    }
}

#[test]
fn greedy_generation_with_a_cache_is_greedy_generation_without() {
    for variant in variants() {
        let (model, pass) = (load(&variant), Pass::base());
        let vocab = model.config().vocab_size;
        let argmax = |logits: &[f32]| {
            let last = &logits[logits.len() - vocab..];
            (0..vocab).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap() as u32
        };
        let mut text = vec![3, 1, 4, 1, 5];
        let mut cache = model.new_cache().unwrap();
        let mut hidden = model.forward_cached(&mut cache, &[&text], &pass).unwrap();
        for _ in 0..20 {
            let next = argmax(&model.logits(&hidden, &pass).unwrap().to_vec());
            assert_eq!(next, argmax(&logits(&model, &[&text], &pass)), "{variant}: after {} tokens", text.len());
            text.push(next);
            hidden = model.forward_cached(&mut cache, &[&[next]], &pass).unwrap();
        }
    }
}

/// Trains every parameter of the base.
struct EveryParameter(HashMap<ParameterId, Tensor>);

impl EveryParameter {
    fn of(model: &Decoder) -> Self {
        let leaves = model.base().modules().parameters().map(|p| {
            let values = model.base().parameter(p.id).unwrap().to_vec();
            (p.id, Tensor::leaf(&p.shape[..], &values).unwrap())
        });
        Self(leaves.collect())
    }
}

impl Adapter for EveryParameter {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.0.get(&id)
    }
}

/// The loss of two packed sequences, and its gradient by every parameter.
fn gradients(model: &Decoder, recorded: &Recorded, gradient_checkpointing: bool) -> (f32, Vec<(String, Vec<f32>)>) {
    let adapter = Arc::new(EveryParameter::of(model));
    let leaves: Vec<_> = model
        .base()
        .modules()
        .parameters()
        .map(|p| (p.name.clone(), adapter.parameter(p.id).unwrap().clone()))
        .collect();
    let mut gradients = Gradients::new(leaves.iter().map(|(_, leaf)| leaf)).unwrap();
    let pass = Pass { gradient_checkpointing, ..Pass::evaluation(adapter) };
    let input = Input::from_sequences(&[&recorded.input_ids(0), &recorded.input_ids(1)]).unwrap();
    let hidden = model.forward(&input, &pass).unwrap();
    let targets = [targets(&recorded.integers("labels.0")), targets(&recorded.integers("labels.1"))].concat();
    let loss = model.loss(&hidden, &targets, &pass).unwrap();
    backward(&loss, 1.0, &mut gradients).unwrap();
    let of = |(name, leaf): &(String, Tensor)| (name.clone(), gradients.of(leaf).unwrap().to_vec());
    (loss.item().unwrap(), leaves.iter().map(of).collect())
}

#[test]
fn gradient_checkpointing_changes_no_bit() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), Recorded::of(&variant));
        let (kept, again) = (gradients(&model, &recorded, false), gradients(&model, &recorded, true));
        assert_eq!(kept.0, again.0, "{variant}");
        for ((name, kept), (_, again)) in kept.1.iter().zip(&again.1) {
            assert!(kept.iter().any(|g| *g != 0.0), "{variant}: {name} has no gradient");
            assert_eq!(kept, again, "{variant}: {name}");
        }
    }
}

#[test]
fn gradients_point_where_the_loss_falls() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), Recorded::of(&variant));
        let (loss, gradients) = gradients(&model, &recorded, false);
        let norm: f64 = gradients.iter().flat_map(|(_, g)| g).map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        // A step of length 1e-3 along the normed gradient changes the loss by 1e-3 of the gradient's norm.
        let step = 1e-3 / norm;
        let moved = model.base().modules().parameters().zip(&gradients).map(|(p, (_, g))| {
            let values = model.base().parameter(p.id).unwrap().to_vec();
            let values: Vec<f32> =
                values.iter().zip(g).map(|(v, g)| (f64::from(*v) - step * f64::from(*g)) as f32).collect();
            (p.id, Tensor::leaf(&p.shape[..], &values).unwrap())
        });
        let pass = Pass::evaluation(Arc::new(EveryParameter(moved.collect())));
        let input = Input::from_sequences(&[&recorded.input_ids(0), &recorded.input_ids(1)]).unwrap();
        let hidden = model.forward(&input, &pass).unwrap();
        let targets = [targets(&recorded.integers("labels.0")), targets(&recorded.integers("labels.1"))].concat();
        let after = model.loss(&hidden, &targets, &pass).unwrap().item().unwrap();
        let (fallen, expected) = (f64::from(loss - after), 1e-3 * norm);
        // First order: the curvature over the step and the rounding of two losses of about 100 stay.
        assert!((fallen - expected).abs() <= 0.1 * expected, "{variant}: fell by {fallen}, expected {expected}");
    }
}

/// Sees the head's rows, and leaves it as it is.
struct AdaptedHead(ModuleId);

impl Adapter for AdaptedHead {
    fn adapts(&self, id: ModuleId) -> bool {
        id == self.0
    }
}

#[test]
fn an_adapted_head_gives_the_same_loss() {
    for variant in ["llama", "gemma2", "gpt2", "gpt_neox"] {
        let (model, recorded) = (load(variant), Recorded::of(variant));
        let head = model.base().modules().head().unwrap().id;
        let targets = targets(&recorded.integers("labels.1"));
        let loss = |pass: &Pass| {
            let hidden = model.forward(&Input::from_sequences(&[&recorded.input_ids(1)]).unwrap(), pass).unwrap();
            model.loss(&hidden, &targets, pass).unwrap().item().unwrap()
        };
        let (fused, adapted) = (loss(&Pass::base()), loss(&Pass::evaluation(Arc::new(AdaptedHead(head)))));
        // Another chunking of the same sums.
        assert!((fused - adapted).abs() <= 1e-5 * fused.abs(), "{variant}: {fused} {adapted}");
    }
}

#[test]
fn nothing_supervised_is_a_loss_of_zero() {
    let model = load("llama");
    let head = model.base().modules().head().unwrap().id;
    for pass in [Pass::base(), Pass::evaluation(Arc::new(AdaptedHead(head)))] {
        let hidden = model.forward(&Input::from_sequences(&[&[1, 2]]).unwrap(), &pass).unwrap();
        assert_eq!(model.loss(&hidden, &[-100, -100], &pass).unwrap().item().unwrap(), 0.0);
    }
}

#[test]
fn the_files_are_not_changed() {
    let path = data("families").join("llama/model.safetensors");
    let before = std::fs::read(&path).unwrap();
    let (model, recorded) = (load("llama"), Recorded::of("llama"));
    gradients(&model, &recorded, true);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
