//! A tensor of a file as the model holds it.

use std::path::Path;
use std::sync::Arc;

use checkpoint::{Dtype, MappedTensor};
use device::{Buffer, DType, Device, Element, Elements, SharedBytes, parallel};
use half::{bf16, f16};
use tensor::{Shape, Tensor, TensorError};

use crate::{ModelError, Result};

/// The tensor in `dtype`. What is stored in `dtype` is used where it lies, and so is everything if `dtype` is f32: kernels
/// widen as they read, which gives the same numbers. Other weights are rounded once, into memory of their own.
pub(super) fn frozen(dir: &Path, mapped: &MappedTensor, dtype: DType) -> Result<Tensor> {
    let stored = match mapped.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::BF16 => DType::BF16,
        Dtype::F16 => DType::F16,
        other => {
            let (dir, name) = (dir.to_owned(), mapped.name().to_owned());
            return Err(ModelError::TensorDtype { dir, name, got: format!("{other:?}") });
        }
    };
    let shape = Shape::from(mapped.shape());
    let tensor = Tensor::frozen(shape, stored, shared_bytes(mapped)?)?;
    if stored == dtype || dtype == DType::F32 { Ok(tensor) } else { Ok(rounded(&tensor, shape, dtype)?) }
}

/// The bytes of a tensor where they lie.
pub(super) fn shared_bytes(mapped: &MappedTensor) -> Result<SharedBytes> {
    let owner: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(mapped.clone());
    let bytes = SharedBytes::new(owner, 0, mapped.bytes().len());
    Ok(bytes.ok_or(TensorError::Count { count: 0, shape: mapped.shape().into() })?)
}

fn rounded(tensor: &Tensor, shape: Shape, dtype: DType) -> Result<Tensor, TensorError> {
    let mut buffer = Buffer::scratch(Device::Cpu, dtype, shape.count())?;
    let read = tensor.read();
    match dtype {
        DType::F32 => round_into(read.elements(), buffer.as_mut_slice::<f32>()?),
        DType::BF16 => round_into(read.elements(), buffer.as_mut_slice::<bf16>()?),
        DType::F16 => round_into(read.elements(), buffer.as_mut_slice::<f16>()?),
    }
    Tensor::new(shape, buffer)
}

fn round_into<T: Element>(from: Elements<'_>, to: &mut [T]) {
    const BLOCK: usize = 1 << 16;
    parallel::rows_mut(to, 1, BLOCK, |start, to| {
        to.iter_mut().enumerate().for_each(|(i, y)| *y = T::from_f32(from.get(start + i)));
    });
}
