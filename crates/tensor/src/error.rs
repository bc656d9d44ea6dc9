//! What can go wrong in an op.

use device::{DType, Device, DeviceError};

use crate::{KernelError, Shape};

/// Errors of tensors and ops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// An operand has another shape than the op needs.
    #[error("{op}: `{argument}` has shape {got}, expected {expected}")]
    Shape {
        /// The op.
        op: &'static str,
        /// The operand.
        argument: &'static str,
        /// What the op needs, with the sizes filled in.
        expected: String,
        /// What it was given.
        got: Shape,
    },
    /// The number of values does not fit the shape.
    #[error("{count} values do not fill shape {shape}")]
    Count {
        /// Values given.
        count: usize,
        /// The shape.
        shape: Shape,
    },
    /// An operand has another dtype than the op computes in.
    #[error("{op}: `{argument}` is {got}, expected {expected}")]
    DType {
        /// The op.
        op: &'static str,
        /// The operand.
        argument: &'static str,
        /// What the op computes in.
        expected: DType,
        /// What it was given.
        got: DType,
    },
    /// An op that has no kernels was given a tensor on a device that runs them.
    #[error("{op} has no kernel and cannot be computed on {device}; use cpu")]
    NoKernel {
        /// The op.
        op: &'static str,
        /// Where its operands are.
        device: Device,
    },
    /// An operand is on the CPU, and the op is computed elsewhere.
    #[error("{op}: `{argument}` is on the cpu and others are not; copy it to their device first")]
    OnHost {
        /// The op.
        op: &'static str,
        /// The operand.
        argument: &'static str,
    },
    /// A gradient would have been cut silently.
    #[error("{op} has no backward, and an input of it needs a gradient")]
    NoBackward {
        /// The op.
        op: &'static str,
    },
    /// Backward was asked for from a value without history.
    #[error("backward starts at a tensor that depends on nothing trainable")]
    NoHistory,
    /// Backward ran twice through the same values.
    #[error("{op}: its saved values were freed by an earlier backward")]
    BackwardTwice {
        /// The op.
        op: &'static str,
    },
    /// A leaf needs a gradient and nobody collects it.
    #[error("a trainable tensor of shape {shape} is not among the parameters that gradients are collected for")]
    Uncollected {
        /// The leaf's shape.
        shape: Shape,
    },
    /// A scalar was expected.
    #[error("a tensor of shape {shape} was read as a scalar")]
    NotScalar {
        /// What it is.
        shape: Shape,
    },
    /// Memory, dtype or device trouble.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A kernel refused its arguments.
    #[error("{op}: {source}")]
    Kernel {
        /// The op.
        op: &'static str,
        /// The kernel crate's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TensorError {
    /// Wraps the error of a kernel crate; memory that was not to be had is [`TensorError::Device`].
    pub fn kernel<E: KernelError>(op: &'static str) -> impl Fn(E) -> Self {
        move |error| match error.into_device() {
            Ok(error) => TensorError::Device(error),
            Err(error) => TensorError::Kernel { op, source: Box::new(error) },
        }
    }
}
