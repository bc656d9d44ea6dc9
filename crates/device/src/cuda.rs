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

/// Why no GPU can be listed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoCuda {
    /// `libcuda.so.1` is not on this machine.
    #[error("no NVIDIA driver: libcuda was not found; install the driver (580 or newer) or use cpu")]
    NoDriver,
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
    result::init().map_err(driver)?;
    let count = result::device::get_count().map_err(driver)?;
    let gpus = (0..count).map(describe).collect::<Result<Vec<_>, _>>().map_err(driver)?;
    if gpus.is_empty() { Err(NoCuda::NoGpu) } else { Ok(gpus) }
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
    #[test]
    fn probing_never_panics() {
        if let Err(reason) = super::probe() {
            assert!(!reason.to_string().is_empty());
        }
    }
}
