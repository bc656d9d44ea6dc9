//! Gradients of trainable leaves, in one flat buffer.

use std::collections::HashMap;
use std::ops::Range;

use device::launch::DeviceBuffer;
use device::{Buffer, DType, Device, DeviceError};

use crate::backward::{Collected, LeafSink, Target, Write};
use crate::{Result, Tensor};

/// Sums of gradients since the last [`Gradients::zero`], in f32, in the order of the tensors they were made for and on their
/// device.
pub struct Gradients {
    flat: Buffer,
    ranges: HashMap<u64, Range<usize>>,
}

impl Gradients {
    /// Zeros for `leaves`; tensors that are not leaves take no room.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] for leaves on different devices, and without memory.
    pub fn new<'a>(leaves: impl IntoIterator<Item = &'a Tensor>) -> Result<Self> {
        let mut ranges = HashMap::new();
        let (mut len, mut device) = (0, None);
        for leaf in leaves {
            if let Some(id) = leaf.leaf_id() {
                ranges.insert(id, len..len + leaf.count());
                len += leaf.count();
                if *device.get_or_insert(leaf.device()) != leaf.device() {
                    return Err(DeviceError::MixedExecutors.into());
                }
            }
        }
        Ok(Self { flat: Buffer::zeroed(device.unwrap_or_default(), DType::F32, len)?, ranges })
    }

    /// Sets every gradient to zero.
    ///
    /// # Errors
    /// None on the CPU; [`crate::TensorError::Device`].
    pub fn zero(&mut self) -> Result<()> {
        Ok(self.flat.zero()?)
    }

    /// Where they are.
    pub fn device(&self) -> Device {
        self.flat.device()
    }

    /// All gradients, one leaf after another.
    ///
    /// # Errors
    /// None on the CPU; [`crate::TensorError::Device`] elsewhere.
    pub fn flat(&self) -> Result<&[f32]> {
        Ok(self.flat.f32()?)
    }

    /// The same on a device that runs kernels.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] on the CPU.
    pub fn flat_on_device(&self) -> Result<&DeviceBuffer> {
        Ok(self.flat.memory()?)
    }

    /// The gradient of `leaf`, if it is collected on the CPU.
    pub fn of(&self, leaf: &Tensor) -> Option<&[f32]> {
        let range = self.ranges.get(&leaf.leaf_id()?)?;
        self.flat.f32().ok().map(|flat| &flat[range.clone()])
    }

    /// A copy of the gradients on the CPU.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] without memory, or if something that was started failed.
    pub fn to_host(&self) -> Result<Self> {
        Ok(Self { flat: self.flat.to_host()?, ranges: self.ranges.clone() })
    }
}

impl LeafSink for Gradients {
    fn accumulate(&mut self, id: u64, _count: usize, write: &mut Write<'_>) -> Result<Collected> {
        let Some(range) = self.ranges.get(&id) else { return Ok(Collected::Unknown) };
        match self.flat.device() {
            Device::Cpu => write(Target::Host(&mut self.flat.f32_mut()?[range.clone()]), true)?,
            _ => {
                let size = DType::F32.size_bytes();
                let mut part = self.flat.memory()?.view(range.start * size..range.end * size);
                write(Target::Device(DType::F32, &mut part), true)?;
            }
        }
        Ok(Collected::Yes)
    }
}
