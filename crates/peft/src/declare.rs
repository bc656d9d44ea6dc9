//! Trainable values are declared one after another and made all at once.

use model::{Base, ParameterId};
use tensor::{Parameters, Shape};

use crate::{PeftError, init};

/// Where a trainable value starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// Zero.
    Zeros,
    /// This value.
    Constant(f32),
    /// Uniform in `[-bound, bound)`.
    Uniform(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// The same, drawn again beyond twice the standard deviation.
    TruncatedNormal(f32),
    /// The base's own value.
    Base(ParameterId),
}

/// Trainable values in the order they were declared.
#[derive(Default)]
pub(crate) struct Declarations {
    entries: Vec<(String, Shape, Start)>,
}

impl Declarations {
    /// Adds one; returns its position.
    pub(crate) fn add(&mut self, name: impl Into<String>, shape: &[usize], start: Start) -> usize {
        self.entries.push((name.into(), shape.into(), start));
        self.entries.len() - 1
    }

    /// Names and sizes.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = (&str, Shape)> {
        self.entries.iter().map(|(name, shape, _)| (name.as_str(), *shape))
    }

    /// Sizes alone.
    pub(crate) fn sizes(&self) -> Vec<Shape> {
        self.entries.iter().map(|(_, shape, _)| *shape).collect()
    }

    /// Makes them where the base is, drawing from `seed` and each one's position.
    pub(crate) fn build(self, base: &Base, seed: u64) -> Result<Parameters, PeftError> {
        let shapes = self.shapes().map(|(name, shape)| (name.to_owned(), shape));
        let parameters = Parameters::zeros_on(base.device(), shapes)?;
        for (index, (_, shape, start)) in self.entries.into_iter().enumerate() {
            let draw = |fill: &dyn Fn(&mut [f32])| {
                let mut values = vec![0.0; shape.count()];
                fill(&mut values);
                parameters.set(index, &values)
            };
            match start {
                Start::Zeros => {}
                Start::Constant(value) => draw(&|values| values.fill(value))?,
                Start::Uniform(bound) => draw(&|values| init::uniform(values, bound, seed, index))?,
                Start::Normal(deviation) => draw(&|values| init::normal(values, deviation, seed, index))?,
                Start::TruncatedNormal(deviation) => {
                    draw(&|values| init::truncated_normal(values, deviation, seed, index))?
                }
                Start::Base(id) => parameters.set(index, &base.parameter(id)?.to_vec())?,
            }
        }
        Ok(parameters)
    }
}
