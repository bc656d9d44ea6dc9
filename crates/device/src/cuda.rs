//! What this machine offers to CUDA, asked without ever panicking where there is no driver.

use cudarc::driver::{result, sys};

/// One GPU as the driver describes it.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Ordinal, as in `cuda:N`.
    pub ordinal: usize,
    /// Marketing name.
    pub name: String,
    /// Compute capability, for example `(9, 0)`.
    pub compute_capability: (i32, i32),
    /// Total memory in bytes.
    pub memory_bytes: usize,
}

/// The oldest driver whose functions are all there, by the CUDA version that it supports: branch 570.
const OLDEST_DRIVER: (i32, i32) = (12, 8);

/// Why no GPU can be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoCuda {
    /// `libcuda.so.1` is not on this machine.
    #[error("no NVIDIA driver: libcuda was not found; install the driver (580 or newer) or use cpu")]
    NoDriver,
    /// The driver lacks functions that are called here.
    #[error(
        "the NVIDIA driver supports CUDA {}.{}, and {}.{} is needed; update the driver (580 or newer) or use cpu",
        supports.0, supports.1, OLDEST_DRIVER.0, OLDEST_DRIVER.1
    )]
    DriverTooOld {
        /// The newest CUDA version that it supports.
        supports: (i32, i32),
    },
    /// The driver is there and refuses.
    #[error("the NVIDIA driver reports: {0}")]
    Driver(String),
    /// The driver works and shows no GPU.
    #[error("the NVIDIA driver shows no GPU; check CUDA_VISIBLE_DEVICES")]
    NoGpu,
}

/// Lists the GPUs.
///
/// # Errors
/// [`NoCuda`] says what is missing.
pub fn probe() -> Result<Vec<Gpu>, NoCuda> {
    // SAFETY: looks for the shared library only; cudarc's own constructors panic where it is absent, so this comes first.
    if !unsafe { sys::is_culib_present() } {
        return Err(NoCuda::NoDriver);
    }
    let driver = |e: cudarc::driver::DriverError| NoCuda::Driver(e.to_string());
    let supports = driver_version().map_err(driver)?;
    if supports < OLDEST_DRIVER {
        return Err(NoCuda::DriverTooOld { supports });
    }
    result::init().map_err(driver)?;
    let count = result::device::get_count().map_err(driver)?;
    let gpus = (0..count).map(describe).collect::<Result<Vec<_>, _>>().map_err(driver)?;
    if gpus.is_empty() { Err(NoCuda::NoGpu) } else { Ok(gpus) }
}

/// The newest CUDA version that the driver supports, as `(major, minor)`. There must be a driver.
pub(crate) fn driver_version() -> Result<(i32, i32), cudarc::driver::DriverError> {
    let mut version = 0;
    // SAFETY: every driver has the function, and it writes the number before it returns.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result()?;
    Ok((version / 1000, version % 1000 / 10))
}

fn describe(ordinal: i32) -> Result<Gpu, cudarc::driver::DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
    };
    let device = result::device::get(ordinal)?;
    // SAFETY: `device` was just handed out by the driver, as for the two calls below.
    let major = unsafe { result::device::get_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? };
    // SAFETY: as above.
    let minor = unsafe { result::device::get_attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)? };
    // SAFETY: as above.
    let memory_bytes = unsafe { result::device::total_mem(device)? };
    Ok(Gpu {
        ordinal: ordinal as usize,
        name: result::device::get_name(device)?,
        compute_capability: (major, minor),
        memory_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_told_what_is_needed() {
        let text = NoCuda::DriverTooOld { supports: (12, 4) }.to_string();
        assert!(text.starts_with("the NVIDIA driver supports CUDA 12.4, and 12.8 is needed"), "{text}");
    }

    #[test]
    fn probing_never_panics() {
        if let Err(reason) = probe() {
            assert!(!reason.to_string().is_empty());
        }
    }
}
