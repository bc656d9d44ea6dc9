//! The driver's errors as ours.

use std::ffi::CStr;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use crate::DeviceError;

/// What the driver says while `action` is done; `latest` is the kernel launched last.
pub(super) fn driver(action: &'static str, latest: Option<&'static str>, error: DriverError) -> DeviceError {
    let text = |text: Result<&CStr, DriverError>| text.map(|text| text.to_string_lossy().into_owned()).ok();
    let code = text(error.error_name()).unwrap_or_else(|| format!("error {}", error.0 as u32));
    let description = text(error.error_string()).unwrap_or_default();
    match latest {
        Some(kernel) if is_sticky(error.0) => DeviceError::Sticky { kernel, action, code, description },
        _ => DeviceError::Driver { action, code, description, kernel: latest.unwrap_or("none") },
    }
}

/// Whether an error is a kernel's and ends the context: every later call returns it again.
fn is_sticky(error: CUresult) -> bool {
    matches!(
        error,
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_kernels_are_told_from_those_of_calls() {
        assert!(is_sticky(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        assert!(is_sticky(CUresult::CUDA_ERROR_LAUNCH_FAILED));
        for error in [CUresult::CUDA_ERROR_OUT_OF_MEMORY, CUresult::CUDA_ERROR_INVALID_VALUE] {
            assert!(!is_sticky(error), "{error:?}");
        }
    }
}
