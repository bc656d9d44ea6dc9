//! Gradients of trainable leaves, in one flat buffer.

use std::collections::HashMap;
use std::ops::Range;

use device::{Buffer, DType, Device};

use crate::backward::{Collected, LeafSink, Write};
use crate::{Result, Tensor};

/// Sums of gradients since the last [`Gradients::zero`], in the order of the tensors they were made for.
pub struct Gradients {
    flat: Buffer,
    ranges: HashMap<u64, Range<usize>>,
}

impl Gradients {
    /// Zeros for `leaves`; tensors that are not leaves take no room.
    ///
    /// # Errors
    /// [`crate::TensorError::Device`] without memory.
    pub fn new<'a>(leaves: impl IntoIterator<Item = &'a Tensor>) -> Result<Self> {
        let mut ranges = HashMap::new();
        let mut len = 0;
        for leaf in leaves {
            if let Some(id) = leaf.leaf_id() {
                ranges.insert(id, len..len + leaf.count());
                len += leaf.count();
            }
        }
        Ok(Self { flat: Buffer::zeroed(Device::Cpu, DType::F32, len)?, ranges })
    }

    /// Sets every gradient to zero.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn zero(&mut self) -> Result<()> {
        self.flat.f32_mut()?.fill(0.0);
        Ok(())
    }

    /// All gradients, one leaf after another.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn flat(&self) -> Result<&[f32]> {
        Ok(self.flat.f32()?)
    }

    /// The gradient of `leaf`, if it is collected.
    pub fn of(&self, leaf: &Tensor) -> Option<&[f32]> {
        let range = self.ranges.get(&leaf.leaf_id()?)?;
        self.flat.f32().ok().map(|flat| &flat[range.clone()])
    }
}

impl LeafSink for Gradients {
    fn accumulate(&mut self, id: u64, _count: usize, write: &mut Write<'_>) -> Result<Collected> {
        let Some(range) = self.ranges.get(&id) else { return Ok(Collected::Unknown) };
        write(&mut self.flat.f32_mut()?[range.clone()], true)?;
        Ok(Collected::Yes)
    }
}
