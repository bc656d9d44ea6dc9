//! What can be done now, or recorded and done later.

use std::sync::PoisonError;

use super::{Emulated, HostFunction, Line};
use crate::DeviceError;
use crate::launch::Grid;
use crate::launch::buffer::Memory;

/// One entry of a recorded graph.
#[derive(Debug)]
pub(in crate::launch) enum Command {
    /// A kernel with its parameters.
    Launch { kernel: &'static str, host: HostFunction, grid: Grid, params: Vec<Line> },
    /// A buffer set to zero.
    Zero(Memory),
    /// One buffer copied into another.
    Copy { from: Memory, to: Memory },
    /// A block taken for a buffer that nothing was written to.
    Prepare(Memory),
}

impl Emulated {
    /// Runs `command`, or adds it to the graph that is being recorded.
    ///
    /// # Safety
    /// For a kernel, as [`crate::launch::Executor::launch`].
    pub(super) unsafe fn perform(&self, command: Command) -> Result<(), DeviceError> {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commands) = &mut *recording {
            if let Command::Prepare(memory) = command {
                // Also at once: the buffer may outlive the recording.
                self.allocations().prepare(memory.address, memory.len);
            }
            commands.push(command);
            return Ok(());
        }
        drop(recording);
        // SAFETY: the caller's promise.
        unsafe { self.run(&command) }
    }

    pub(in crate::launch) fn begin_recording(&self) {
        *self.recording.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    pub(in crate::launch) fn end_recording(&self) -> Vec<Command> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// # Safety
    /// As [`crate::launch::Graph::replay`].
    pub(in crate::launch) unsafe fn replay(&self, commands: &[Command]) -> Result<(), DeviceError> {
        // SAFETY: the caller's promise.
        commands.iter().try_for_each(|command| unsafe { self.run(command) })
    }

    /// # Safety
    /// As [`Emulated::perform`].
    unsafe fn run(&self, command: &Command) -> Result<(), DeviceError> {
        match command {
            Command::Launch { kernel, host, grid, params } => {
                // SAFETY: the caller's promise.
                return unsafe { self.run_kernel(kernel, *host, *grid, params) };
            }
            Command::Zero(memory) => self.allocations().write(memory.address, &vec![0; memory.len]),
            Command::Copy { from, to } => {
                let mut bytes = vec![0; from.len];
                let mut allocations = self.allocations();
                allocations.read(from.address, &mut bytes);
                allocations.write(to.address, &bytes);
            }
            Command::Prepare(memory) => self.allocations().prepare(memory.address, memory.len),
        }
        Ok(())
    }
}
