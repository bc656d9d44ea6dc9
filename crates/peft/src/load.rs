//! A method's file, read back into the trainable values.

use std::collections::BTreeSet;

use checkpoint::{MappedTensor, SafetensorsFile};
use half::{bf16, f16};
use tensor::{Parameters, Shape};

use crate::method::{Method, SavedTensor, Source};
use crate::save::transpose;
use crate::{PeftError, Problems, names};

/// Sets every trainable value of `method` from `file`. Values of any floating type are taken; keys may still have the
/// adapter's name in them (`lora_A.default.weight`).
///
/// PEFT only warns about keys that do not fit, and an adapter then does nothing or half of what it did. Here all of them
/// are an error.
///
/// # Errors
/// [`PeftError::Keys`] lists what is missing, unknown and misshapen; [`PeftError::OtherBase`] if the file holds values of
/// another base model; [`PeftError::InFile`] for a value that is no number; [`PeftError::Checkpoint`]. Nothing is changed
/// unless all keys fit.
pub fn load(method: &dyn Method, file: &SafetensorsFile) -> Result<(), PeftError> {
    load_tensors(method.parameters(), &method.tensors(), file)
}

/// [`load`] of the tensors `expected`, which are all that `file` may hold.
pub(crate) fn load_tensors(
    parameters: &Parameters,
    expected: &[SavedTensor],
    file: &SafetensorsFile,
) -> Result<(), PeftError> {
    let shapes: Vec<Shape> = parameters.tensors().map(|leaf| leaf.shape().into()).collect();
    let found = fit(expected, &shapes, file)?;
    // Read twice rather than kept: a whole model may be in the file.
    for (saved, tensor) in &found {
        check(saved, tensor)?;
    }
    for (saved, tensor) in &found {
        match saved.source {
            Source::Trained(index) => parameters.set(index, &tensor.to_f32()?)?,
            Source::Transposed(index) => {
                let columns = tensor.shape().last().copied().unwrap_or(1);
                parameters.set(index, &transpose(&tensor.to_f32()?, columns))?;
            }
            Source::Copy(_) | Source::Base(_) | Source::Computed(_) => {}
        }
    }
    Ok(())
}

/// The tensor of `file` for each that is expected. `shapes` are those of the trainable values, which need not exist yet:
/// a configuration of absurd sizes is refused before anything is allocated by it.
pub(crate) fn fit<'a>(
    expected: &'a [SavedTensor],
    shapes: &[Shape],
    file: &SafetensorsFile,
) -> Result<Vec<(&'a SavedTensor, MappedTensor)>, PeftError> {
    let mut found = Vec::with_capacity(expected.len());
    let mut problems = Problems::default();
    let mut known = BTreeSet::new();
    for tensor in file.tensors().filter(|tensor| !names::is_repeated(tensor.name())) {
        let key = model::current_name(&names::without_adapter_name(tensor.name()));
        // AdapterHub's keys have the adapter's name too, and there it stays.
        let fits = |saved: &&SavedTensor| {
            saved.name == tensor.name() || saved.name == key || saved.alias.as_ref() == Some(&key)
        };
        match expected.iter().find(fits) {
            Some(saved) if known.insert(saved.name.as_str()) => {
                let shape = saved.shape(shapes);
                if tensor.shape() != shape {
                    problems.misshapen.push(format!("{key} is {:?}, expected {shape:?}", tensor.shape()));
                }
                found.push((saved, tensor));
            }
            _ => problems.unexpected.push(tensor.name().to_owned()),
        }
    }
    // Base values and copies are a courtesy of whoever saved them.
    let needed = expected.iter().filter(|saved| !matches!(saved.source, Source::Base(_) | Source::Copy(_)));
    problems.missing = needed.filter(|saved| !known.contains(saved.name.as_str())).map(|s| s.name.clone()).collect();
    if problems.is_empty() { Ok(found) } else { Err(PeftError::Keys { path: file.path().to_owned(), problems }) }
}

/// Checks that the values are numbers, and those of the base its own.
fn check(saved: &SavedTensor, tensor: &MappedTensor) -> Result<(), PeftError> {
    let values = tensor.to_f32()?;
    if let Some(element) = values.iter().position(|value| !value.is_finite()) {
        let error = PeftError::NonFinite { tensor: tensor.name().to_owned(), element };
        return Err(error.in_file(tensor.file().path()));
    }
    match &saved.source {
        Source::Base(base) if !is_copy(&values, &base.to_vec()) => {
            Err(PeftError::OtherBase { path: tensor.file().path().to_owned(), tensor: saved.name.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether `copy` holds the values of `base`, or these rounded, or what they were rounded from: a model is often computed, and then
/// saved, in another type than its files have.
fn is_copy(copy: &[f32], base: &[f32]) -> bool {
    let is_rounded = |rounded: fn(f32) -> f32| {
        let pairs = || copy.iter().zip(base);
        pairs().all(|(copy, base)| *copy == rounded(*base)) || pairs().all(|(copy, base)| rounded(*copy) == *base)
    };
    copy == base
        || is_rounded(|value| bf16::from_f32(value).to_f32())
        || is_rounded(|value| f16::from_f32(value).to_f32())
}
