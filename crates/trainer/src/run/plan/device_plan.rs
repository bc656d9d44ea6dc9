//! Whether a run fits on its device.

use device::Device;
use device::launch::{Architecture, Executor};

use super::dry::{DeviceMemory, DryStep};
use super::remedy;
use crate::Error;
use crate::config::Config;
use crate::run::base_model::BaseModel;
use crate::run::rows::Rows;

/// The plan of a run for the memory of a device that is not the CPU.
#[derive(Clone, Debug)]
pub struct DevicePlan {
    /// Where.
    pub device: Device,
    /// Memory by item, at its peak.
    pub memory: DeviceMemory,
    /// What could be taken there when it was planned, if that is known.
    pub available_bytes: Option<u64>,
}

impl DevicePlan {
    /// Plans the run of `config` over `rows` on `device`, by a [`DryStep`].
    ///
    /// # Errors
    /// A method or an op that the device cannot compute; a driver that fails.
    pub fn new(config: &Config, base: &mut BaseModel, rows: &Rows, device: Device) -> Result<Self, Error> {
        let executor = Executor::for_device(device)?;
        let available_bytes = executor.available_bytes()?.map(|bytes| bytes as u64);
        let memory = DryStep::take(config, base, rows, executor.architecture())?.memory;
        let memory = if device == Device::Emulated { memory.without_graphs() } else { memory };
        Ok(Self { device, memory, available_bytes })
    }

    /// For a GPU of `architecture` that is not here, with the memory that the config gives it.
    ///
    /// # Errors
    /// As [`DevicePlan::new`].
    pub fn elsewhere(
        config: &Config,
        base: &mut BaseModel,
        rows: &Rows,
        architecture: Architecture,
    ) -> Result<Self, Error> {
        let memory = DryStep::take(config, base, rows, architecture)?.memory;
        let available_bytes = config.training.device_memory_bytes();
        Ok(Self { device: Device::Dry(architecture), memory, available_bytes })
    }

    /// Whether there is enough memory.
    pub fn fits(&self) -> bool {
        self.available_bytes.is_none_or(|bytes| self.memory.total() <= bytes)
    }

    /// Refuses a run that does not fit, and says what to lower.
    ///
    /// # Errors
    /// [`Error::WillNotFit`].
    pub fn check(&self, config: &Config) -> Result<(), Error> {
        let needed_bytes = self.memory.total();
        let Some(available_bytes) = self.available_bytes.filter(|available| needed_bytes > *available) else {
            return Ok(());
        };
        let largest = self.memory.items().into_iter().max_by_key(|(_, bytes)| *bytes);
        let (largest_item, item_bytes) = largest.unwrap_or_default();
        let remedy = match largest_item {
            "activations" if config.training.per_device_train_batch_size > 1 => {
                format!("lower training.per_device_train_batch_size, or {}", remedy(config, largest_item))
            }
            _ => remedy(config, largest_item),
        };
        Err(Error::WillNotFit { needed_bytes, largest_item, item_bytes, available_bytes, remedy })
    }
}
