//! Which device computes.

use std::str::FromStr;

use crate::DeviceError;
use crate::launch::Architecture;

/// A device that runs kernels. A value, not a type parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Device {
    /// This machine's cores: the embedded default.
    #[default]
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
    /// The kernels of a GPU, run thread by thread on this machine's cores: slow, and a proof of them.
    Emulated,
    /// None: launches and memory of a GPU of this architecture are noted, and nothing is computed.
    Dry(Architecture),
}

impl FromStr for Device {
    type Err = DeviceError;

    /// Reads `cpu`, `cuda` (the first GPU), `cuda:N` or `emulated`. Whether this machine and this build have it is found out
    /// by [`Executor::for_device`](crate::launch::Executor::for_device).
    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownDevice { name: name.to_owned() };
        match name {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Ok(Device::Cuda(0)),
            "emulated" => Ok(Device::Emulated),
            _ => {
                let ordinal = name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
                ordinal.map(Device::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Device::Emulated => f.write_str("emulated"),
            Device::Dry(architecture) => write!(f, "dry:{}", architecture.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_refused() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(7), Device::Emulated] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for name in ["cuda:x", "cuda:", "cuda:-1", "gpu", "CPU", ""] {
            assert!(matches!(name.parse::<Device>(), Err(DeviceError::UnknownDevice { .. })), "{name}");
        }
    }
}
