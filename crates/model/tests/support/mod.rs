//! What the tests of this crate share. Each of them is a program of its own and uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use checkpoint::{Dtype, SafetensorsFile};
use device::DType;
use tunesmith_model::{Decoder, Input, Pass};

/// Reference data of `tests/data`, by folder.
pub(crate) fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(folder)
}

/// The names of all variants of all families.
pub(crate) fn variants() -> Vec<String> {
    let entries = std::fs::read_dir(data("families")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 30, "the reference data is not complete: {names:?}");
    names
}

/// The model of a variant in f32.
pub(crate) fn load(variant: &str) -> Decoder {
    Decoder::load(&data("families").join(variant), DType::F32).unwrap_or_else(|error| panic!("{variant}: {error}"))
}

/// A file of recorded inputs and outputs.
pub(crate) struct Recorded(SafetensorsFile);

impl Recorded {
    pub(crate) fn open(path: PathBuf) -> Self {
        Self(SafetensorsFile::open(path).unwrap())
    }

    pub(crate) fn of(variant: &str) -> Self {
        Self::open(data("families").join(variant).join("io.safetensors"))
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}")).to_f32().unwrap()
    }

    pub(crate) fn optional_floats(&self, name: &str) -> Option<Vec<f32>> {
        self.0.get(name).map(|tensor| tensor.to_f32().unwrap())
    }

    /// Names that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        self.0.names().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    pub(crate) fn shape(&self, name: &str) -> Vec<usize> {
        self.0.get(name).unwrap_or_else(|| panic!("no {name}")).shape().to_vec()
    }

    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        let tensor = self.0.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(tensor.dtype(), Dtype::I64);
        tensor.bytes().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// The tokens of recorded sequence `i`.
    pub(crate) fn input_ids(&self, i: usize) -> Vec<u32> {
        self.integers(&format!("input_ids.{i}")).iter().map(|&id| id as u32).collect()
    }
}

/// Labels moved to the token that predicts them.
pub(crate) fn targets(labels: &[i64]) -> Vec<i64> {
    labels[1..].iter().copied().chain([-100]).collect()
}

/// All logits of some sequences packed together.
pub(crate) fn logits(model: &Decoder, sequences: &[&[u32]], pass: &Pass) -> Vec<f32> {
    let hidden = model.forward(&Input::from_sequences(sequences).unwrap(), pass).unwrap();
    model.logits(&hidden, pass).unwrap().to_vec()
}

/// Grows three texts made of `ids` in one cache, where they wait for each other, end and begin, and holds every row against
/// the last ones of the logits of its text by itself.
pub(crate) fn grow_together(model: &Decoder, ids: &[u32], pass: &Pass, variant: &str) {
    let text = |shift: usize| [&ids[shift..], &ids[..shift]].concat();
    let mut texts = [text(0), text(3), text(8)];
    let mut done = [0; 3];
    let mut cache = model.new_cache().unwrap();
    for steps in [[5, 0, 2], [1, 7, 0], [0, 1, 1], [1, 1, 1], [6, 1, 9], [1, 1, 1]] {
        if steps[2] == 9 {
            cache.forget(1);
            (texts[1], done[1]) = (text(12), 0);
        }
        let new = [0, 1, 2].map(|place| &texts[place][done[place]..done[place] + steps[place]]);
        let hidden = model.forward_cached(&mut cache, &new, pass).unwrap();
        let expected = (0..3).flat_map(|place| {
            done[place] += steps[place];
            assert_eq!(cache.input_ids(place), &texts[place][..done[place]]);
            let whole = logits(model, &[&texts[place][..done[place]]], pass);
            whole[whole.len() - steps[place] * model.config().vocab_size..].to_vec()
        });
        let expected: Vec<f32> = expected.collect();
        // The same sums over the same numbers, cut at other places: a few roundings.
        let error = relative_error(&model.logits(&hidden, pass).unwrap().to_vec(), &expected);
        assert!(error <= 1e-5, "{variant}: {error:.1e} after {done:?} tokens");
    }
}

/// The largest difference over the largest expected value; infinite if a value is NaN.
pub(crate) fn relative_error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let differences: Vec<f32> = got.iter().zip(expected).map(|(g, e)| (g - e).abs()).collect();
    if differences.iter().any(|difference| difference.is_nan()) {
        return f32::INFINITY;
    }
    // `max` passes over NaN, which is not there.
    let largest = |values: &[f32]| values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    largest(&differences) / largest(expected)
}
