//! What can go wrong below the kernels.

use crate::DType;

/// Errors of devices, memory and element types.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is not a device.
    #[error("device `{name}` is unknown; use auto, cpu, cuda or cuda:N")]
    UnknownDevice {
        /// As given.
        name: String,
    },
    /// A device was asked for that this machine or build does not have.
    #[error("device `{device}` cannot be used: {reason}")]
    Unavailable {
        /// As asked for.
        device: String,
        /// What is missing, and the remedy.
        reason: String,
    },
    /// The memory of a buffer could not be had.
    #[error(
        "out of memory: {bytes} bytes were asked for on {device}; lower the batch size or max_length, or turn on gradient_checkpointing"
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes asked for.
        bytes: usize,
    },
    /// A buffer holds another element type.
    #[error("a buffer of {got} was used as {expected}")]
    DType {
        /// What the caller wanted.
        expected: DType,
        /// What the buffer holds.
        got: DType,
    },
    /// Bytes that are not whole aligned elements.
    #[error("{len} bytes at address {address:#x} are not aligned {dtype} elements")]
    Misaligned {
        /// The element type.
        dtype: DType,
        /// Where the bytes start.
        address: usize,
        /// How many there are.
        len: usize,
    },
}
