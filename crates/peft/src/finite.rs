//! Refusing values that are not numbers, before they reach a file.

use checkpoint::MappedTensor;
use device::Elements;
use tensor::Tensor;

use crate::PeftError;

/// The values of a tensor in a file, all of which are finite.
pub(crate) fn read(tensor: &MappedTensor) -> Result<Vec<f32>, PeftError> {
    let values = tensor.to_f32()?;
    check_values(tensor.name(), &values).map_err(|error| error.in_file(tensor.file().path()))?;
    Ok(values)
}

/// Checks that every value is finite.
pub(crate) fn check_values(name: &str, values: &[f32]) -> Result<(), PeftError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(element) => Err(PeftError::NonFinite { tensor: name.to_owned(), element }),
    }
}

/// As [`check_values`], of any type.
pub(crate) fn check(name: &str, tensor: &Tensor) -> Result<(), PeftError> {
    let read = tensor.read();
    let position = match read.elements() {
        Elements::F32(values) => return check_values(name, values),
        Elements::BF16(values) => values.iter().position(|v| !v.is_finite()),
        Elements::F16(values) => values.iter().position(|v| !v.is_finite()),
    };
    match position {
        None => Ok(()),
        Some(element) => Err(PeftError::NonFinite { tensor: name.to_owned(), element }),
    }
}
