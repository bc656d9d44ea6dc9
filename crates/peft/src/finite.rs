//! Refusing values that are not numbers, before they reach a file.

use device::Elements;
use tensor::Tensor;

use crate::PeftError;

/// Checks that every value is finite.
pub(crate) fn check(name: &str, tensor: &Tensor) -> Result<(), PeftError> {
    let read = tensor.read();
    let position = match read.elements() {
        Elements::F32(values) => values.iter().position(|v| !v.is_finite()),
        Elements::BF16(values) => values.iter().position(|v| !v.is_finite()),
        Elements::F16(values) => values.iter().position(|v| !v.is_finite()),
    };
    match position {
        None => Ok(()),
        Some(element) => Err(PeftError::NonFinite { tensor: name.to_owned(), element }),
    }
}
