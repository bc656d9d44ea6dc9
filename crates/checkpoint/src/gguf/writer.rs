//! The bytes of a GGUF file.

use super::{ALIGNMENT, GgufValue, MAGIC, VERSION, type_number};
use crate::Dtype;

/// A tensor to be written, in f32.
#[derive(Clone, Debug)]
pub struct GgufTensor<'a> {
    /// The name in the file.
    pub name: String,
    /// Sizes from the slowest to the fastest dimension.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub values: &'a [f32],
}

/// The bytes of a GGUF file with these values and tensors, in this order.
///
/// # Panics
/// If a tensor has not as many values as its shape says.
pub fn gguf_bytes(metadata: &[(&str, GgufValue)], tensors: &[GgufTensor<'_>]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    for count in [tensors.len(), metadata.iter().filter(|(_, value)| number_of(value).is_some()).count()] {
        bytes.extend((count as u64).to_le_bytes());
    }
    for (key, value) in metadata {
        let Some(kind) = number_of(value) else { continue };
        string(&mut bytes, key);
        bytes.extend(kind.to_le_bytes());
        match value {
            GgufValue::Unsigned(value) => bytes.extend(value.to_le_bytes()),
            GgufValue::Signed(value) => bytes.extend(value.to_le_bytes()),
            GgufValue::Float(value) => bytes.extend((*value as f32).to_le_bytes()),
            GgufValue::Bool(value) => bytes.push(u8::from(*value)),
            GgufValue::String(text) => string(&mut bytes, text),
            GgufValue::Array(_) => {}
        }
    }
    let mut offset = 0u64;
    for tensor in tensors {
        assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>(), "{}", tensor.name);
        string(&mut bytes, &tensor.name);
        bytes.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|&size| bytes.extend((size as u64).to_le_bytes()));
        bytes.extend(type_number(Dtype::F32).unwrap_or_default().to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += (4 * tensor.values.len()).next_multiple_of(ALIGNMENT) as u64;
    }
    for tensor in tensors {
        pad(&mut bytes);
        tensor.values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    }
    pad(&mut bytes);
    bytes
}

/// The number of a value's type; none of an array, which is not written.
fn number_of(value: &GgufValue) -> Option<u32> {
    match value {
        GgufValue::Unsigned(_) => Some(10),
        GgufValue::Signed(_) => Some(11),
        GgufValue::Float(_) => Some(6),
        GgufValue::Bool(_) => Some(7),
        GgufValue::String(_) => Some(8),
        GgufValue::Array(_) => None,
    }
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}
