//! The weights of a model whose vocabulary grows.

use std::borrow::Cow;

use checkpoint::{MappedTensor, StagedDirectory, TensorSpec};
use model::{Module, ModuleKind, ParameterId};
use peft::Method;

use crate::Error;
use crate::commands::model_output::{Index, file_name, narrowed, spec_of};
use crate::error::Saving;
use crate::run::base_model::BaseModel;

/// A base and the rows that its embedding and its head get.
pub(super) struct Growing<'a> {
    base: &'a BaseModel,
    method: &'a dyn Method,
    embedding: ParameterId,
    head: ParameterId,
    /// `[count, hidden_size]`
    prompt: Vec<f32>,
    /// The mean of the head's rows, once for each new one.
    of_head: Vec<f32>,
    count: usize,
}

impl<'a> Growing<'a> {
    /// The base with the rows `prompt`.
    pub(super) fn new(base: &'a BaseModel, method: &'a dyn Method, prompt: Vec<f32>) -> Result<Self, Error> {
        let modules = base.task.base().modules();
        let is_embedding = |module: &&Module| matches!(module.kind, ModuleKind::Embedding { .. });
        let (embedding, head) = (modules.iter().find(is_embedding), modules.iter().find(|module| module.is_head));
        let (Some(embedding), Some(head)) = (embedding, head) else {
            return Err(Error::NoLanguageModel {
                dir: base.dir.clone(),
                model_type: base.task.base().dimensions().model_type,
            });
        };
        let hidden = base.task.base().dimensions().hidden_size;
        let count = prompt.len() / hidden.max(1);
        let mut growing =
            Self { base, method, embedding: embedding.weight, head: head.weight, prompt, of_head: Vec::new(), count };
        growing.of_head = mean_row(&growing.values(head.weight)?, hidden).repeat(count);
        Ok(growing)
    }

    /// Whether the head has to have values of its own, which it had not.
    pub(super) fn unties(&self) -> bool {
        self.base.task.base().modules().parameter(self.head).tied_to.is_some()
    }

    /// The largest difference that the type of the embedding makes to the prompt, as a share of its largest value.
    pub(super) fn rounding(&self) -> Option<f32> {
        let dtype = self.stored(self.embedding)?.dtype();
        let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0f32, |most, value| most.max(value.abs()));
        let bytes = narrowed("prompt", &self.prompt, dtype).ok()?;
        let spec = TensorSpec { name: "prompt".to_owned(), dtype, shape: vec![self.prompt.len()] };
        let file = checkpoint::SafetensorsFile::in_memory(&self.base.dir, &[spec], |_| {
            Ok::<_, checkpoint::CheckpointError>(Cow::Borrowed(&bytes[..]))
        });
        let rounded = file.ok()?.get("prompt")?.to_f32().ok()?;
        let lost = largest(&mut self.prompt.iter().zip(&rounded).map(|(value, rounded)| value - rounded));
        let whole = largest(&mut self.prompt.iter().copied());
        Some(if whole > 0.0 { lost / whole } else { 0.0 })
    }

    /// Writes every file of the base.
    pub(super) fn write(&self, staged: &mut StagedDirectory<'_>) -> Result<Index, Saving> {
        let mut index = Index::default();
        for (number, file) in self.base.weights.files().iter().enumerate() {
            let mut outputs: Vec<Output> = file.tensors().map(|source| self.output(source)).collect();
            // What shared the embedding's tensor.
            if let Some(source) =
                self.stored(self.embedding).filter(|_| number == 0 && self.stored(self.head).is_none())
            {
                let name = self.name(self.head);
                outputs.push(self.grown(TensorSpec { name, ..spec_of(&source) }, source, self.head));
            }
            let specs: Vec<TensorSpec> = outputs.iter().map(|output| output.spec.clone()).collect();
            staged.write_safetensors(file_name(file), &specs, &[("format", "pt")], |spec| {
                let output = outputs.iter().find(|output| output.spec.name == spec.name);
                output.map_or(Ok(Cow::Borrowed(&[][..])), |output| self.bytes(output))
            })?;
            index.add(file_name(file), &specs);
        }
        Ok(index)
    }

    fn output(&self, source: MappedTensor) -> Output {
        let spec = spec_of(&source);
        let modules = self.base.task.base().modules();
        match modules.parameters().find(|parameter| self.name(parameter.id) == source.name()) {
            Some(parameter) if [self.embedding, self.head].contains(&parameter.id) => {
                self.grown(spec, source, parameter.id)
            }
            Some(parameter) => Output { spec, source, id: Some(parameter.id) },
            None => Output { spec, source, id: None },
        }
    }

    fn grown(&self, mut spec: TensorSpec, source: MappedTensor, id: ParameterId) -> Output {
        spec.shape[0] += self.count;
        Output { spec, source, id: Some(id) }
    }

    /// The tensor of a parameter in the files, under its own name.
    fn stored(&self, id: ParameterId) -> Option<MappedTensor> {
        self.base.weights.get(&self.name(id))
    }

    fn name(&self, id: ParameterId) -> String {
        let base = self.base.task.base();
        base.stored_names().of(&base.modules().parameter(id).name)
    }

    /// The values that the model has with the adapter.
    fn values(&self, id: ParameterId) -> Result<Vec<f32>, Error> {
        match self.method.parameter(id) {
            Some(trained) => Ok(trained.to_vec()),
            None => Ok(self.base.task.base().parameter(id)?.to_vec()),
        }
    }

    fn bytes<'d>(&self, output: &'d Output) -> Result<Cow<'d, [u8]>, Saving> {
        let Output { spec, source, id } = output;
        let trained = id.filter(|id| self.method.parameter(*id).is_some());
        let own = match trained {
            Some(id) => Cow::Owned(narrowed(&spec.name, &self.values(id)?, spec.dtype)?),
            None => Cow::Borrowed(source.bytes()),
        };
        let rows = match id {
            Some(id) if *id == self.embedding => &self.prompt,
            Some(id) if *id == self.head => &self.of_head,
            _ => return Ok(own),
        };
        Ok(Cow::Owned([&own[..], &narrowed(&spec.name, rows, spec.dtype)?].concat()))
    }
}

/// A tensor of the new model.
struct Output {
    spec: TensorSpec,
    /// What it is made of.
    source: MappedTensor,
    id: Option<ParameterId>,
}

/// The mean of rows of `columns` values.
fn mean_row(values: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; columns];
    for row in values.chunks_exact(columns.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let rows = (values.len() / columns.max(1)).max(1) as f64;
    sums.into_iter().map(|sum| (sum / rows) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_by_column() {
        assert_eq!(mean_row(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
        assert_eq!(mean_row(&[], 2), [0.0, 0.0]);
    }
}
