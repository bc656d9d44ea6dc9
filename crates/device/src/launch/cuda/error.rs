//! The driver's errors as ours.

use std::ffi::CStr;

use cudarc::driver::DriverError;
use cudarc::driver::sys::CUresult;

use super::image::Bytes;
use crate::DeviceError;
use crate::cuda::Gpu;

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

/// What it means that the driver does not load the image of `kernel`; `None` for what any call may fail with. `supports` is
/// the newest CUDA version of the driver.
pub(super) fn loading(
    error: CUresult,
    kernel: &'static str,
    image: &Bytes,
    gpu: &Gpu,
    supports: (i32, i32),
) -> Option<DeviceError> {
    match error {
        CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => Some(DeviceError::DriverTooOld { kernel, supports }),
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU | CUresult::CUDA_ERROR_INVALID_PTX => Some(DeviceError::Architecture {
            kernel,
            built: image.architectures(),
            gpu: gpu.name.clone(),
            compute_capability: gpu.compute_capability,
        }),
        CUresult::CUDA_ERROR_INVALID_IMAGE => {
            Some(image.refused(kernel, "the driver does not take it for an image".to_owned()))
        }
        _ => None,
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

    #[test]
    fn an_image_that_does_not_load_says_why() {
        let gpu = Gpu { ordinal: 0, name: "an old GPU".to_owned(), compute_capability: (7, 5), memory_bytes: 16 << 30 };
        let image = Bytes::embedded(&[], "sm_80, sm_90a and PTX");
        let text = |error| loading(error, "k_f32", &image, &gpu, (12, 4)).map(|error| error.to_string());
        let all = [
            (CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION, ["k_f32", "12.4"]),
            (CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU, ["an old GPU", "sm_80, sm_90a and PTX"]),
            (CUresult::CUDA_ERROR_INVALID_PTX, ["k_f32", "7.5"]),
            (CUresult::CUDA_ERROR_INVALID_IMAGE, ["k_f32", "this program"]),
        ];
        for (error, words) in all {
            let text = text(error).unwrap();
            assert!(words.iter().all(|word| text.contains(word)), "{error:?}: {text}");
        }
        assert_eq!(text(CUresult::CUDA_ERROR_OUT_OF_MEMORY), None);
    }
}
