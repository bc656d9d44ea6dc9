//! Small weights, widened to f32 once for a whole call.

use device::{Buffer, DType, Device, Elements};

use crate::Result;

/// The vector that a norm or a bias is computed with.
pub(crate) enum Widened<'a> {
    /// It is stored as f32.
    Borrowed(&'a [f32]),
    /// It is stored otherwise, or was changed.
    Owned(Buffer),
}

impl<'a> Widened<'a> {
    /// `elements + offset`.
    pub(crate) fn new(elements: Elements<'a>, offset: f32) -> Result<Self> {
        match elements {
            Elements::F32(slice) if offset == 0.0 => Ok(Widened::Borrowed(slice)),
            _ => {
                let mut buffer = Buffer::scratch(Device::Cpu, DType::F32, elements.len())?;
                let values = buffer.f32_mut()?;
                elements.widen_into(values);
                if offset != 0.0 {
                    values.iter_mut().for_each(|w| *w += offset);
                }
                Ok(Widened::Owned(buffer))
            }
        }
    }

    pub(crate) fn as_slice(&self) -> Result<&[f32]> {
        match self {
            Widened::Borrowed(slice) => Ok(slice),
            Widened::Owned(buffer) => Ok(buffer.f32()?),
        }
    }
}
