//! What holds for every method on every model, wherever it is computed.

use std::path::Path;
use std::sync::Arc;

use checkpoint::{Storage, sha256_file};
use device::{DType, Device};
use model::Pass;
use tensor::Gradients;
use tunesmith_peft::{Method, open, save, trainable};

use super::network::{Network, logits_of};
use super::pairs::{MethodCase, ModelCase, Start};
use super::{Batch, assert_all_close, assert_close, loss_and_gradients, merge_into, pass, stir, train};

/// In f32 two ways to one number add the same products in another order: sums of at most a few hundred terms, each rounded to
/// 6e-8, through two blocks.
pub(crate) const SAME: f32 = 2e-5;

/// A method on a model, trained a little.
struct Pair<'a> {
    what: String,
    method: &'a MethodCase,
    model: &'a ModelCase,
    device: Device,
    network: Box<dyn Network>,
    trained: Arc<dyn Method>,
}

/// Checks all laws of one pair.
pub(crate) fn hold(method: &MethodCase, model: &ModelCase, device: Device) {
    let what = format!("{} on {} on {device}", method.name, model.name);
    let file = model.dir().join("model.safetensors");
    let before = sha256_file(&file).unwrap();
    let network = method.load(model, DType::F32, device);
    let both = model.batch(0..2, 0);
    let base = logits_of(&*network, &both, &Pass::base());

    let trained = method.attach(model, &*network).unwrap_or_else(|error| panic!("{what}: {error}"));
    let start = |pass: &Pass| logits_of(&*network, &both, pass);
    match method.start {
        Start::Elsewhere => {}
        // A device computes an adapted product with another kernel.
        Start::Base if device == Device::Cpu => assert!(start(&pass(&trained)) == base, "{what}: it starts elsewhere"),
        Start::Base | Start::Rounded => {
            assert_close(&format!("{what}: the start"), &start(&pass(&trained)), &base, SAME)
        }
    }
    let pair = Pair { what, method, model, device, network, trained };
    pair.what_is_trained_is_what_was_planned();
    pair.training_gives_the_same_bits_again();
    assert!(logits_of(&*pair.network, &both, &Pass::base()) == base, "{}: the base has changed", pair.what);
    pair.a_batch_is_its_rows();
    pair.blocks_computed_again_are_the_same_bits();
    pair.it_is_saved_and_read();
    pair.it_is_merged();
    assert_eq!(sha256_file(&file).unwrap(), before, "{}", pair.what);
}

impl Pair<'_> {
    fn batch(&self, rows: std::ops::Range<usize>) -> Batch {
        self.model.batch(rows, self.trained.prompt_len())
    }

    fn logits(&self, method: &Arc<dyn Method>, rows: std::ops::Range<usize>) -> Vec<f32> {
        logits_of(&*self.network, &self.batch(rows), &pass(method))
    }

    fn named(&self, gradients: &Gradients) -> Vec<(String, Vec<f32>)> {
        let leaves = self.trained.parameters().iter();
        leaves.map(|(name, leaf)| (name.to_owned(), gradients.of(leaf).unwrap().to_vec())).collect()
    }

    fn what_is_trained_is_what_was_planned(&self) {
        let Some(config) = self.method.config(self.model) else { return };
        // A device's base has the dimensions and modules of any other.
        let base = self.network.base();
        let planned = trainable(&config, base.dimensions(), base.modules()).unwrap();
        let made = self.trained.parameters().iter().map(|(name, leaf)| (name.to_owned(), leaf.shape().into()));
        assert_eq!(planned, made.collect::<Vec<_>>(), "{}", self.what);
    }

    fn training_gives_the_same_bits_again(&self) {
        let again = self.method.attach(self.model, &*self.network).unwrap();
        let run = |method: &Arc<dyn Method>| {
            stir(method);
            let losses = train(&*self.network, &self.batch(0..2), method, 2);
            (losses, method.parameters().to_host().unwrap())
        };
        assert!(run(&self.trained) == run(&again), "{}: another result in another run", self.what);
    }

    /// Packed side by side they compute what each computes alone, and the gradient of a batch is that of its rows, accumulated.
    fn a_batch_is_its_rows(&self) {
        let [both, first, second] = [0..2, 0..1, 1..2].map(|rows| self.logits(&self.trained, rows));
        assert_close(&format!("{}: packed", self.what), &both, &[first, second].concat(), SAME);

        let sums = |rows| {
            let batch = self.batch(rows);
            let (loss, gradients) = loss_and_gradients(&*self.network, &batch, &self.trained, &pass(&self.trained));
            let count = batch.num_supervised();
            let mut named = self.named(&gradients);
            named.iter_mut().flat_map(|(_, values)| values).for_each(|value| *value *= count);
            named.push(("loss".to_owned(), vec![loss * count]));
            named
        };
        let mut accumulated = sums(0..1);
        for ((_, sum), (_, more)) in accumulated.iter_mut().zip(sums(1..2)) {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        assert_all_close(&format!("{}: accumulated", self.what), &accumulated, &sums(0..2), SAME);
    }

    fn blocks_computed_again_are_the_same_bits(&self) {
        let run = |gradient_checkpointing| {
            let pass = Pass { gradient_checkpointing, ..pass(&self.trained) };
            let (loss, gradients) = loss_and_gradients(&*self.network, &self.batch(0..2), &self.trained, &pass);
            (loss, gradients.flat().unwrap().to_vec())
        };
        assert!(run(true) == run(false), "{}: recomputing changes bits", self.what);
    }

    fn it_is_saved_and_read(&self) {
        let dir = tempfile::tempdir().unwrap();
        save(&*self.trained, &Storage, dir.path()).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let adapted = self.logits(&self.trained, 0..2);
        let got = match self.method.config(self.model) {
            None => self.logits_of_model_in(dir.path()),
            Some(_) => {
                let (opened, _) =
                    open(dir.path(), self.network.base()).unwrap_or_else(|e| panic!("{}: {e}", self.what));
                self.logits(&opened, 0..2)
            }
        };
        if self.method.saved_otherwise {
            assert_close(&format!("{}: saved and read", self.what), &got, &adapted, SAME);
        } else {
            assert!(got == adapted, "{}: saved and read it computes something else", self.what);
        }
    }

    fn it_is_merged(&self) {
        let dir = tempfile::tempdir().unwrap();
        let merged = merge_into(&*self.trained, &*self.network, dir.path());
        if self.method.merges {
            merged.unwrap_or_else(|error| panic!("{}: {error}", self.what));
            let adapted = self.logits(&self.trained, 0..2);
            assert_close(&format!("{}: merged", self.what), &self.logits_of_model_in(dir.path()), &adapted, SAME);
        } else {
            let error = merged.expect_err(&self.what).to_string();
            assert!(error.contains("methods that change weights can be merged"), "{}: {error}", self.what);
        }
    }

    fn logits_of_model_in(&self, dir: &Path) -> Vec<f32> {
        logits_of(&*self.model.load_from(dir, self.device), &self.batch(0..2), &Pass::base())
    }
}
