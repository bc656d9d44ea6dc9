//! Reference data of Python PEFT, and one training step to compare with it.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod adapterhub;
pub(crate) mod kept;
pub(crate) mod laws;
pub(crate) mod network;
pub(crate) mod pairs;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adamw::{AdamW, Group, Step};
use checkpoint::{CheckpointError, Dtype, MappedTensor, SafetensorsFile, Storage, TensorSpec, write_safetensors};
use device::DType;
use model::{Decoder, Images, Input, Pass};
use tensor::{Gradients, Tensor, backward};
use tunesmith_peft::{Method, PeftError, Source, breaks_ties};

use network::Network;

/// A path under `tests/data` of the workspace, or of where `TUNESMITH_TEST_DATA` says that it lies.
pub(crate) fn data(path: &str) -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    std::env::var_os("TUNESMITH_TEST_DATA").map_or_else(here, PathBuf::from).join(path)
}

/// Names of the folders in a folder of reference data that hold `file`.
pub(crate) fn cases(folder: &str, file: &str) -> Vec<String> {
    let entries = std::fs::read_dir(data(folder)).unwrap().map(|entry| entry.unwrap());
    let with_file = entries.filter(|entry| entry.path().join(file).exists());
    let mut names: Vec<String> = with_file.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(!names.is_empty(), "{folder} holds nothing with {file}");
    names
}

/// The model in a folder of reference data.
pub(crate) fn decoder(folder: &str) -> Decoder {
    Decoder::load(&data(folder), DType::F32).unwrap()
}

/// Sequences or images to train on, and what each token or image should predict.
pub(crate) struct Batch {
    /// Nothing where there are images.
    pub(crate) input: Input,
    pub(crate) images: Option<Images>,
    /// -100 where nothing is to be predicted.
    pub(crate) targets: Vec<i64>,
    /// Where the targets of each row start, then their number.
    pub(crate) cu_target_lens: Vec<u32>,
}

impl Batch {
    /// Rows of token ids and labels; a label belongs to the token before it.
    pub(crate) fn new(rows: &[(Vec<i64>, Vec<i64>)]) -> Self {
        let shifted = |(ids, labels): &(Vec<i64>, Vec<i64>)| (ids.clone(), [&labels[1..], &[-100]].concat());
        Self::of_targets(&rows.iter().map(shifted).collect::<Vec<_>>())
    }

    /// Rows of token ids and what a decoder is to predict of them, in as many rows of its own.
    pub(crate) fn of_targets(rows: &[(Vec<i64>, Vec<i64>)]) -> Self {
        let ids: Vec<Vec<u32>> = rows.iter().map(|(ids, _)| ids.iter().map(|&id| id as u32).collect()).collect();
        let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let mut cu_target_lens = vec![0];
        rows.iter().for_each(|(_, targets)| cu_target_lens.push(cu_target_lens.last().unwrap() + targets.len() as u32));
        let targets = rows.iter().flat_map(|(_, targets)| targets.clone()).collect();
        Self { input: Input::from_sequences(&sequences).unwrap(), images: None, targets, cu_target_lens }
    }

    /// Images and their classes.
    pub(crate) fn of_images(images: Images, classes: &[i64]) -> Self {
        Self { images: Some(images), targets: classes.to_vec(), ..Self::of_targets(&[]) }
    }

    pub(crate) fn num_supervised(&self) -> f32 {
        self.targets.iter().filter(|&&target| target != -100).count() as f32
    }
}

/// Rows of token ids and labels. The label of a token belongs to the row before it, the last of the prompt for the first.
pub(crate) fn after_prompt(rows: &[(&[i64], &[i64])], prompt_len: usize) -> Batch {
    let targets = |labels: &[i64]| [&vec![-100; prompt_len][..], labels, &[-100]].concat()[1..].to_vec();
    Batch::of_targets(&rows.iter().map(|(ids, labels)| (ids.to_vec(), targets(labels))).collect::<Vec<_>>())
}

/// Two sequences of different lengths that predict their own tokens.
pub(crate) fn batch() -> Batch {
    let row = |ids: &[i64]| (ids.to_vec(), ids.to_vec());
    Batch::new(&[row(&[3, 17, 5, 40, 8, 21]), row(&[9, 9, 30])])
}

/// Integers of a tensor in a file of reference data.
pub(crate) fn integers(file: &SafetensorsFile, name: &str) -> Vec<i64> {
    let tensor = file.get(name).unwrap_or_else(|| panic!("no {name}"));
    tensor.bytes().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// Floats of a tensor in a file of reference data.
pub(crate) fn floats(file: &SafetensorsFile, name: &str) -> Vec<f32> {
    file.get(name).unwrap_or_else(|| panic!("no {name}")).to_f32().unwrap()
}

/// Evaluation with `method`.
pub(crate) fn pass(method: &Arc<dyn Method>) -> Pass {
    Pass::evaluation(method.clone())
}

/// Logits of every token.
pub(crate) fn logits(decoder: &Decoder, input: &Input, pass: &Pass) -> Vec<f32> {
    let hidden = decoder.forward(input, pass).unwrap();
    decoder.logits(&hidden, pass).unwrap().to_vec()
}

/// The mean loss, and the gradients of the method's parameters, copied from where they are.
pub(crate) fn loss_and_gradients(
    network: &dyn Network,
    batch: &Batch,
    method: &Arc<dyn Method>,
    pass: &Pass,
) -> (f32, Gradients) {
    let mut gradients = Gradients::new(method.parameters().tensors()).unwrap();
    let loss = network.loss_of(&network.hidden(batch, pass), batch, pass);
    let supervised = batch.num_supervised();
    backward(&loss, 1.0 / supervised, &mut gradients).unwrap();
    let mut mean = loss.item().unwrap() / supervised;
    if let Some(penalty) = method.penalty().unwrap() {
        backward(&penalty, 1.0, &mut gradients).unwrap();
        mean += penalty.item().unwrap();
    }
    (mean, gradients.to_host().unwrap())
}

/// Gives every parameter an effect: none stays zero.
pub(crate) fn stir(method: &Arc<dyn Method>) {
    for (index, leaf) in method.parameters().tensors().enumerate() {
        let moved = |(i, value): (usize, f32)| value + ((i * 7 + index * 5) % 11) as f32 / 50.0 - 0.11;
        let values: Vec<f32> = leaf.to_vec().into_iter().enumerate().map(moved).collect();
        method.parameters().set(index, &values).unwrap();
    }
}

/// Trains `method` for some steps on one batch, learning rate 1e-2 and weight decay 0.01; returns the loss before each and
/// the norm of its gradient.
pub(crate) fn train(network: &dyn Network, batch: &Batch, method: &Arc<dyn Method>, steps: u64) -> Vec<[f32; 2]> {
    steps_of_adamw(method, steps, || loss_and_gradients(network, batch, method, &pass(method)))
}

/// The same on what `loss_and_gradients` gives at each step.
pub(crate) fn steps_of_adamw(
    method: &Arc<dyn Method>,
    steps: u64,
    loss_and_gradients: impl Fn() -> (f32, Gradients),
) -> Vec<[f32; 2]> {
    let optimizer = AdamW { weight_decay: 0.01, ..AdamW::default() };
    let count = method.parameters().count();
    let groups = [Group { range: 0..count, learning_rate: 1.0, weight_decay: 1.0 }];
    let (mut exp_avg, mut exp_avg_sq) = (vec![0.0; count], vec![0.0; count]);
    let step = |step| {
        let (loss, of_leaves) = loss_and_gradients();
        let gradients = of_leaves.flat().unwrap();
        let update = |parameters: &mut [f32]| {
            let (exp_avg, exp_avg_sq) = (&mut exp_avg[..], &mut exp_avg_sq[..]);
            let grad_scale = 1.0;
            adamw::step(
                &optimizer,
                Step {
                    step,
                    learning_rate: 1e-2,
                    grad_scale,
                    groups: &groups,
                    gradients,
                    parameters,
                    exp_avg,
                    exp_avg_sq,
                },
            )
        };
        method.parameters().update(update).unwrap().unwrap();
        method.after_step(step, &of_leaves, 1.0).unwrap();
        [loss, gradients.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt() as f32]
    };
    (1..=steps).map(step).collect()
}

/// Each trained tensor of a method's file: its key, and what `of` gives for the leaf, in the layout of the file.
pub(crate) fn by_key(method: &Arc<dyn Method>, of: impl Fn(&Tensor) -> Vec<f32>) -> Vec<(String, Vec<f32>)> {
    let leaf = |index: usize| method.parameters().tensors().nth(index).unwrap();
    let values = |source: &Source| match *source {
        Source::Trained(index) => Some(of(leaf(index))),
        Source::Transposed(index) => Some(transposed(&of(leaf(index)), leaf(index).shape())),
        _ => None,
    };
    method.tensors().into_iter().filter_map(|tensor| Some((tensor.name, values(&tensor.source)?))).collect()
}

/// Each trained tensor of a method's file: its key and its values.
pub(crate) fn as_saved(method: &Arc<dyn Method>) -> Vec<(String, Vec<f32>)> {
    let computed = method.tensors().into_iter().filter_map(|tensor| match &tensor.source {
        Source::Computed(computed) => Some((tensor.name, computed.evaluate().unwrap().to_vec())),
        _ => None,
    });
    computed.chain(by_key(method, |leaf| leaf.to_vec())).collect()
}

fn transposed(values: &[f32], shape: &[usize]) -> Vec<f32> {
    let &[rows, columns] = shape else { panic!("{shape:?} is no matrix") };
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// Writes the base's weights with `method` folded in, in f32, into `dir`.
pub(crate) fn merge_into(method: &dyn Method, network: &dyn Network, dir: &Path) -> Result<(), PeftError> {
    let base = network.base();
    let unties = breaks_ties(method, base.modules());
    let written = base.modules().parameters().filter(|parameter| unties || parameter.tied_to.is_none());
    let specs: Vec<TensorSpec> =
        written.map(|p| TensorSpec { name: p.name.clone(), dtype: Dtype::F32, shape: p.shape.clone() }).collect();
    let path = dir.join("model.safetensors");
    write_safetensors::<PeftError>(&Storage, &path, &specs, &[("format", "pt")], |spec| {
        let id = base.modules().find_parameter(&spec.name).unwrap().id;
        let mut values = base.parameter(id).unwrap().to_vec();
        if method.merges(id) {
            method.merge(id, &mut values)?;
        }
        Ok(Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()))
    })
}

/// Writes the tensors of `file` whose names do not start with `start` to `path`.
pub(crate) fn write_without(file: &SafetensorsFile, start: &str, path: &Path) {
    let kept = file.tensors().filter(|tensor| !tensor.name().starts_with(start));
    let spec = |t: MappedTensor| TensorSpec { name: t.name().to_owned(), dtype: t.dtype(), shape: t.shape().to_vec() };
    let specs: Vec<TensorSpec> = kept.map(spec).collect();
    write_safetensors::<CheckpointError>(&Storage, path, &specs, &[("format", "pt")], |spec| {
        Ok(Cow::Owned(file.get(&spec.name).unwrap().bytes().to_vec()))
    })
    .unwrap();
}

/// Asserts that `got` is `expected` within `tolerance` of the largest expected value.
pub(crate) fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_close_at(what, got, expected, tolerance * largest(expected));
}

/// Asserts the same of named tensors, each within `tolerance` of its own largest value, or of a hundredth of the largest of
/// all: what cancels to nothing in one of them, as the gradient of a bias of keys does, is the rounding of terms like the others'.
pub(crate) fn assert_all_close(
    what: &str,
    got: &[(String, Vec<f32>)],
    expected: &[(String, Vec<f32>)],
    tolerance: f32,
) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let overall = expected.iter().fold(0.0f32, |overall, (_, values)| overall.max(largest(values)));
    for ((name, got), (_, expected)) in got.iter().zip(expected) {
        let scale = largest(expected).max(overall / 100.0);
        assert_close_at(&format!("{what}: {name}"), got, expected, tolerance * scale);
    }
}

/// The largest magnitude.
pub(crate) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

fn assert_close_at(what: &str, got: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(difference <= bound, "{what}[{i}]: {got}, expected {expected} ({difference:e} off, bound {bound:e})");
    }
}
