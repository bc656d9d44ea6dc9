//! Elements from one type to another on a device.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use transformer::launch::Gradient;
use transformer::launch::elementwise::{Factor, scale};

use crate::{Result, TensorError};

/// Writes `from`, rounded to the type of `to`, over `to`, which is as long; adds it with `add`.
pub(crate) fn convert(from: &Buffer, to: &mut Buffer, add: bool) -> Result<()> {
    let dtype = to.dtype();
    convert_memory(from.len(), (from.dtype(), from.memory()?), (dtype, to.memory_mut()?), add)
}

/// The same of `len` elements in memory of one device.
pub(crate) fn convert_memory(
    len: usize,
    from: (DType, &DeviceBuffer),
    to: (DType, &mut DeviceBuffer),
    add: bool,
) -> Result<()> {
    if from.0 == to.0 && !add {
        return Ok(to.1.copy_from(from.1)?);
    }
    let to = (to.0, Gradient { values: to.1, add });
    scale(len, Factor::Constant(1.0), from, to).map_err(TensorError::kernel("convert"))
}
