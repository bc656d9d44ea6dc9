//! The device that the kernels' test suites run on.
//!
//! It is the emulator, unless the environment variable `TUNESMITH_TEST_DEVICE` names a GPU as `cuda` or `cuda:N`: then the same
//! suites run there. A GPU that was named and cannot be used fails them.

mod values;

use std::sync::OnceLock;

use super::cuda::Cuda;
use super::kind::Kind;
use super::{Architecture, Executor};
use crate::{Device, DeviceError};
pub use values::{BF16_UNIT, UNIT, normal, read, rounded, stored, upload};

/// Names the device of the suites.
const VARIABLE: &str = "TUNESMITH_TEST_DEVICE";

/// An executor for kernels that run on every GPU. The emulator draws its schedule from `seed`. Memory that was not written
/// reads as NaN, on a GPU as well.
///
/// # Panics
/// If `TUNESMITH_TEST_DEVICE` names what is no device here.
pub fn executor(seed: u64) -> Executor {
    executor_as(Architecture::default(), seed)
}

/// As [`executor`], for kernels that are written for `architecture`; those for every GPU where the GPU is an earlier one.
///
/// # Panics
/// As [`executor`].
pub fn executor_as(architecture: Architecture, seed: u64) -> Executor {
    match gpu() {
        None => Executor::emulated_as(architecture, seed),
        Some(gpu) if architecture == Architecture::default() => gpu.portable.clone(),
        Some(gpu) => gpu.own.clone(),
    }
}

/// The same device by its name, for suites that compute with what stands on the kernels.
///
/// # Panics
/// If `TUNESMITH_TEST_DEVICE` names what is no device.
pub fn device() -> Device {
    let name = std::env::var(VARIABLE).unwrap_or_default();
    let ordinal = ordinal(&name).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"));
    ordinal.map_or(Device::Emulated, Device::Cuda)
}

/// Whether kernels that are written for `architecture` run on the suites' device.
///
/// # Panics
/// As [`executor`].
pub fn runs(architecture: Architecture) -> bool {
    gpu().is_none_or(|gpu| gpu.own.architecture() >= architecture)
}

/// The GPU that was named, once for a process: kernels are loaded once.
struct Gpu {
    portable: Executor,
    own: Executor,
}

fn gpu() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    GPU.get_or_init(|| {
        let name = std::env::var(VARIABLE).unwrap_or_default();
        let ordinal = ordinal(&name).unwrap_or_else(|error| panic!("{VARIABLE}: {error}"))?;
        let open = |architecture| match Cuda::new(ordinal, architecture) {
            Ok(gpu) => Executor::new(Kind::Cuda(gpu.with_poison())),
            Err(error) => panic!("{VARIABLE}={name}: {error}"),
        };
        Some(Gpu { portable: open(Some(Architecture::default())), own: open(None) })
    })
    .as_ref()
}

/// The GPU that `name` means; `None` for the emulator.
fn ordinal(name: &str) -> Result<Option<usize>, DeviceError> {
    match name {
        "" | "emulated" => Ok(None),
        _ => match name.parse()? {
            Device::Cuda(ordinal) => Ok(Some(ordinal)),
            Device::Cpu | Device::Emulated | Device::Dry(_) => {
                Err(DeviceError::UnknownDevice { name: name.to_owned() })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_devices() {
        assert_eq!(ordinal("").unwrap(), None);
        assert_eq!(ordinal("emulated").unwrap(), None);
        assert_eq!(ordinal("cuda").unwrap(), Some(0));
        assert_eq!(ordinal("cuda:3").unwrap(), Some(3));
        for name in ["gpu", "cuda:", "cuda:-1", "CUDA"] {
            assert!(matches!(ordinal(name), Err(DeviceError::UnknownDevice { .. })), "{name}");
        }
    }
}
