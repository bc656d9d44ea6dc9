//! A device that computes nothing: it notes what would be launched and how much memory would be taken.
//!
//! Memory has addresses and sizes and no contents; what is read from it is zero. So a training step of a model of any size
//! runs through in milliseconds, on a machine without a GPU, and its launches and its memory are those of the real device.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::command::Command;
use super::{Architecture, Executor, Grid, Work};
use crate::DeviceError;
use crate::launch::kind::Kind;

/// One launch that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launched {
    /// The kernel, or `copy` or `zero` for what the driver does itself.
    pub kernel: &'static str,
    /// How many threads it would have had.
    pub grid: Grid,
}

/// Nothing but a counter and a list.
#[derive(Debug)]
pub(super) struct Dry {
    architecture: Architecture,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the next block begins.
    next: u64,
    launches: Vec<Launched>,
}

/// Blocks begin where those of a GPU do.
const ALIGNMENT: u64 = 256;

impl Dry {
    pub(super) fn new(architecture: Architecture) -> Self {
        // No block is at address 0.
        Self { architecture, state: Mutex::new(State { next: ALIGNMENT, launches: Vec::new() }) }
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Those of an A100 and of an H100 SXM5.
    pub(super) fn multiprocessors(&self) -> u32 {
        match self.architecture {
            Architecture::Ampere => 108,
            Architecture::Hopper => 132,
        }
    }

    pub(super) fn allocate(&self, capacity: usize) -> Result<u64, DeviceError> {
        let out_of_memory = || DeviceError::OutOfMemory { device: "dry".to_owned(), bytes: capacity };
        let mut state = self.state();
        let address = state.next;
        let end = address.checked_add(capacity as u64).ok_or_else(out_of_memory)?;
        state.next = end.checked_next_multiple_of(ALIGNMENT).ok_or_else(out_of_memory)?;
        Ok(address)
    }

    /// Notes a launch; of what the driver does itself, its bytes.
    pub(super) fn note(&self, command: &Command) {
        let of_driver = |bytes| Grid::linear(1, Grid::WARP).doing(Work::bytes(bytes));
        let (kernel, grid) = match command {
            Command::Launch { kernel, grid, .. } => (kernel.name, *grid),
            Command::Zero(memory) => ("zero", of_driver(memory.len)),
            Command::Copy { to, .. } => ("copy", of_driver(2 * to.len)),
            Command::Prepare(_) => return,
        };
        self.state().launches.push(Launched { kernel, grid });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A list is whole whatever has panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executor {
    /// A device of `architecture` that notes launches instead of running them.
    pub fn dry(architecture: Architecture) -> Self {
        Self::new(Kind::Dry(Dry::new(architecture)))
    }

    /// What a dry device has noted since it was last asked; nothing on others.
    pub fn take_launches(&self) -> Vec<Launched> {
        match &self.0.kind {
            Kind::Dry(dry) => std::mem::take(&mut dry.state().launches),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn memory_without_contents_is_counted() {
        let executor = Executor::dry(Architecture::Hopper);
        let mut huge = executor.allocate(1 << 45).unwrap();
        assert_eq!((huge.len_bytes(), executor.pool_stats().peak_bytes), (1 << 45, 1 << 45));
        let mut values = executor.upload(&[1.0f32, 2.0]).unwrap();
        assert!(huge.address() != values.address() && values.address().is_multiple_of(ALIGNMENT));
        assert_eq!(values.read::<f32>().unwrap(), [0.0, 0.0]);
        huge.zero().unwrap();
        values.copy_from(&huge.view(0..8)).unwrap();
        let noted: Vec<_> = executor.take_launches().iter().map(|l| (l.kernel, l.grid.work.bytes)).collect();
        assert_eq!(noted, [("zero", 1 << 45), ("copy", 16)]);
        assert!(executor.take_launches().is_empty());
        executor.synchronize().unwrap();
    }

    #[test]
    fn every_architecture_has_one() {
        for architecture in [Architecture::Ampere, Architecture::Hopper] {
            let executor = Executor::for_device(Device::Dry(architecture)).unwrap();
            assert_eq!((executor.architecture(), executor.device()), (architecture, Device::Dry(architecture)));
            assert!(matches!(executor.allocate(usize::MAX), Err(DeviceError::OutOfMemory { .. })));
        }
    }
}
