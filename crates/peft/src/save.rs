//! A method's files.

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{
    ADAPTER_CONFIG, ADAPTERHUB_HEAD, Dtype, ENCODER_STATE, Fs, StagedDirectory, TensorSpec, atomic_write,
    write_safetensors,
};
use device::{DType, Elements};
use tensor::{Parameters, Shape, Tensor};

use crate::method::{Method, SavedTensor, Source};
use crate::{PeftError, finite};

/// Writes the method's files into the directory `dir`, which exists. Trainable values are written in f32, as PEFT does.
///
/// # Errors
/// [`PeftError::NonFinite`] before anything is written, [`PeftError::Checkpoint`].
pub fn save(method: &dyn Method, fs: &dyn Fs, dir: &Path) -> Result<(), PeftError> {
    for (name, plan) in files(method)? {
        write_safetensors(fs, &dir.join(name), &plan.specs, method.metadata(), |spec| plan.bytes(spec))?;
    }
    if let Some(text) = method.config_text() {
        atomic_write(fs, &dir.join(ADAPTER_CONFIG), text.as_bytes())?;
    }
    Ok(())
}

/// Writes the method's files into a directory in the making.
///
/// # Errors
/// As [`save`].
pub fn stage(method: &dyn Method, staged: &mut StagedDirectory<'_>) -> Result<(), PeftError> {
    for (name, plan) in files(method)? {
        staged.write_safetensors(name, &plan.specs, method.metadata(), |spec| plan.bytes(spec))?;
    }
    if let Some(text) = method.config_text() {
        staged.write(ADAPTER_CONFIG, text.as_bytes())?;
    }
    Ok(())
}

/// The files of tensors, after a look at every value.
fn files(method: &dyn Method) -> Result<Vec<(&'static str, Plan<'_>)>, PeftError> {
    for (name, leaf) in method.parameters().iter() {
        finite::check(name, leaf)?;
    }
    let mut files = vec![(method.weights_file(), Plan::new(method, method.tensors()))];
    let beside = [(ENCODER_STATE, method.encoder_state()), (ADAPTERHUB_HEAD, method.head())];
    let beside = beside.into_iter().filter(|(_, tensors)| !tensors.is_empty());
    files.extend(beside.map(|(name, tensors)| (name, Plan::new(method, tensors))));
    Ok(files)
}

/// Tensors in no particular order, and where their bytes come from.
struct Plan<'a> {
    parameters: &'a Parameters,
    tensors: Vec<SavedTensor>,
    specs: Vec<TensorSpec>,
}

impl<'a> Plan<'a> {
    fn new(method: &'a dyn Method, tensors: Vec<SavedTensor>) -> Self {
        let parameters = method.parameters();
        let shapes: Vec<Shape> = parameters.tensors().map(|leaf| leaf.shape().into()).collect();
        let specs = tensors.iter().map(|tensor| TensorSpec {
            name: tensor.name.clone(),
            dtype: match &tensor.source {
                Source::Base(base) => stored(base.dtype()),
                _ => Dtype::F32,
            },
            shape: tensor.shape(&shapes),
        });
        Self { parameters, specs: specs.collect(), tensors }
    }

    /// The bytes of one tensor, copied: the trainable values are locked only meanwhile.
    fn bytes(&self, spec: &TensorSpec) -> Result<Cow<'static, [u8]>, PeftError> {
        let source = self.tensors.iter().find(|tensor| tensor.name == spec.name).map(|tensor| &tensor.source);
        let leaf = |index: usize| self.parameters.tensors().nth(index);
        Ok(Cow::Owned(
            match source {
                Some(Source::Trained(index) | Source::Copy(index)) => leaf(*index).map(bytes_of),
                Some(Source::Transposed(index)) => leaf(*index).map(|leaf| {
                    let columns = leaf.shape().last().copied().unwrap_or(1);
                    bytemuck::cast_slice(&transpose(&leaf.to_vec(), columns)).to_vec()
                }),
                Some(Source::Base(tensor)) => Some(bytes_of(tensor)),
                Some(Source::Computed(computed)) => {
                    let values = computed.evaluate()?;
                    finite::check(&spec.name, &values)?;
                    Some(bytes_of(&values))
                }
                None => None,
            }
            .unwrap_or_default(),
        ))
    }
}

fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    match tensor.read().elements() {
        Elements::F32(values) => bytemuck::cast_slice(values).to_vec(),
        Elements::BF16(values) => bytemuck::cast_slice(values).to_vec(),
        Elements::F16(values) => bytemuck::cast_slice(values).to_vec(),
    }
}

fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
    }
}

/// The transpose of a row-major matrix with `columns` columns.
pub(crate) fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_changes_nothing() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(transpose(&values, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(transpose(&transpose(&values, 3), 2), values);
    }
}
