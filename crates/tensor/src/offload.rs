//! What checkpointed blocks keep, on the host from the forward to the backward pass.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use device::launch::{DeviceBuffer, Offloaded};
use device::{Buffer, DType};

use crate::{Result, Shape, Tensor, TensorError};

/// The inputs of the blocks of one forward pass, on a device with memory of its own.
///
/// While a block is computed, its input is copied to the host; when the next one begins, its memory is let go of. In backward,
/// which comes from the last block to the first, the input of a block is copied back while the block behind it is computed. So
/// two of them are on the device at a time. Nothing waits on the host.
#[derive(Clone, Debug, Default)]
pub struct Offload(Arc<Mutex<Vec<Option<Offloaded>>>>);

impl Offload {
    fn inputs(&self) -> MutexGuard<'_, Vec<Option<Offloaded>>> {
        // Whole between any two operations, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to copy the elements of `x`, the input of the next block.
    pub(crate) fn keep(&self, op: &'static str, x: &Tensor) -> Result<Kept> {
        let mut inputs = self.inputs();
        if let Some(Some(before)) = inputs.last_mut() {
            before.release()?;
        }
        let memory = x.on_device(op, "x", x.dtype())?;
        inputs.push(Some(memory.offload()?));
        Ok(Kept { of: self.clone(), index: inputs.len() - 1, shape: Shape::from(x.shape()), dtype: x.dtype() })
    }

    /// The elements of input `index`; that of the block before is on its way from now on.
    fn take(&self, op: &'static str, index: usize) -> Result<DeviceBuffer> {
        let mut inputs = self.inputs();
        let memory = inputs[index].take().ok_or(TensorError::BackwardTwice { op })?.take()?;
        if let Some(Some(before)) = index.checked_sub(1).map(|before| &mut inputs[before]) {
            before.fetch()?;
        }
        Ok(memory)
    }
}

/// One input.
pub(crate) struct Kept {
    of: Offload,
    index: usize,
    shape: Shape,
    dtype: DType,
}

impl Kept {
    /// The tensor, a constant.
    pub(crate) fn take(self, op: &'static str) -> Result<Tensor> {
        Tensor::new(self.shape, Buffer::on_device(self.of.take(op, self.index)?, self.dtype)?)
    }
}
