//! Errors of the kernel crates: what is about memory is told apart from what is about arguments.

use device::DeviceError;
use gemm::GemmError;
use ia3::Ia3Error;
use int8::Int8Error;
use lora::LoraError;
use lstm::LstmError;
use nf4::Nf4Error;
use phm::PhmError;
use prefix_attention::AttentionError;
use transformer::TransformerError;

/// The error of a kernel crate.
pub trait KernelError: std::error::Error + Send + Sync + Sized + 'static {
    /// The device's error, if it is nothing but that: memory for the working set that was not to be had.
    ///
    /// # Errors
    /// The error itself, if it is of another kind.
    fn into_device(self) -> Result<DeviceError, Self>;
}

impl KernelError for LoraError {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            LoraError::Device(error)
            | LoraError::Gemm(GemmError::Device(error))
            | LoraError::Nf4(Nf4Error::Device(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for LstmError {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            LstmError::Device(error) | LstmError::Gemm(GemmError::Device(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for TransformerError {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            TransformerError::Device(error) | TransformerError::Gemm(GemmError::Device(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for GemmError {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            GemmError::Device(error) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for Nf4Error {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            Nf4Error::Device(error) | Nf4Error::Gemm(GemmError::Device(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for Ia3Error {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            Ia3Error::Device(error) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for Int8Error {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            Int8Error::Device(error) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for PhmError {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            PhmError::Device(error) => Ok(error),
            other => Err(other),
        }
    }
}

impl KernelError for AttentionError {
    fn into_device(self) -> Result<DeviceError, Self> {
        match self {
            AttentionError::Device(error) => Ok(error),
            other => Err(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TensorError;

    #[test]
    fn memory_that_a_kernel_did_not_get_is_the_devices_error() {
        let memory = || DeviceError::OutOfMemory { device: "cpu".to_owned(), bytes: 7 };
        let errors = [
            TensorError::kernel("linear")(GemmError::Device(memory())),
            TensorError::kernel("lora_linear")(LoraError::Gemm(GemmError::Device(memory()))),
            TensorError::kernel("lstm")(LstmError::Gemm(GemmError::Device(memory()))),
            TensorError::kernel("attention")(AttentionError::Device(memory())),
            TensorError::kernel("phm_weight")(PhmError::Device(memory())),
            TensorError::kernel("ia3_scale")(Ia3Error::Device(memory())),
            TensorError::kernel("linear")(Int8Error::Device(memory())),
            TensorError::kernel("rms_norm")(TransformerError::Device(memory())),
        ];
        for error in errors {
            assert!(matches!(error, TensorError::Device(DeviceError::OutOfMemory { bytes: 7, .. })), "{error}");
        }
        let refused = TensorError::kernel("lora_linear")(LoraError::RankZero);
        assert!(matches!(refused, TensorError::Kernel { op: "lora_linear", .. }), "{refused}");
    }
}
