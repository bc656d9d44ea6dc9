//! Which device computes.

use crate::{DeviceError, cuda};

/// A device that runs kernels. A value, not a type parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// This machine's cores: the embedded default.
    #[default]
    Cpu,
}

impl Device {
    /// Reads `auto`, `cpu`, `cuda`, `cuda:N` or `emulated`.
    ///
    /// `auto` is the CPU unless this build can run its kernels on a GPU that is present.
    ///
    /// # Errors
    /// [`DeviceError::UnknownDevice`] for another word, [`DeviceError::Unavailable`] with the reason for a device that
    /// this machine or build lacks. There is no silent fallback from a device that was asked for by name.
    pub fn parse(name: &str) -> Result<Self, DeviceError> {
        let unavailable = |reason: String| Err(DeviceError::Unavailable { device: name.to_owned(), reason });
        match name {
            "auto" | "cpu" => Ok(Device::Cpu),
            "emulated" => unavailable("this build has no emulated device; use cpu".to_owned()),
            _ if name == "cuda" || name.strip_prefix("cuda:").is_some_and(|n| n.parse::<usize>().is_ok()) => {
                unavailable(match cuda::probe() {
                    Ok(_) => "this build carries no CUDA kernels; use cpu".to_owned(),
                    Err(missing) => missing.to_string(),
                })
            }
            _ => Err(DeviceError::UnknownDevice { name: name.to_owned() }),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_refused() {
        assert_eq!(Device::parse("auto").unwrap(), Device::Cpu);
        assert_eq!(Device::parse("cpu").unwrap(), Device::Cpu);
        assert!(matches!(Device::parse("cuda:x"), Err(DeviceError::UnknownDevice { .. })));
        assert!(matches!(Device::parse("gpu"), Err(DeviceError::UnknownDevice { .. })));
        assert!(matches!(Device::parse("cuda:0"), Err(DeviceError::Unavailable { .. })));
    }
}
