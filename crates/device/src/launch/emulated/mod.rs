//! Kernels on the host, thread by thread: the meaning of a kernel, and a checker that hardware is not.
//!
//! - Memory that was never written, on the device and in a block's shared memory, reads as NaN ([`memory`], [`shared`]).
//! - A buffer lies between guards: a write beyond it fails the launch, a read beyond it gives NaN.
//! - A copy started with `cp.async` lands when it is waited for ([`copies`]).
//! - Warps run in an order drawn from the seed, so a missing barrier shows as a result that changes with it ([`block`]).
//! - Threads that wait for each other at different places fail the launch ([`block`]).

mod block;
mod copies;
mod memory;
mod shared;
mod thread;

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::buffer::Memory;
use super::{Grid, HostFunction, Kernel};
use crate::DeviceError;
use crate::philox::Stream;
use block::Worker;
use memory::Allocations;
use thread::Dim3;

/// The emulated device.
#[derive(Debug)]
pub(super) struct Emulated {
    seed: u64,
    launches: AtomicU64,
    allocations: Mutex<Allocations>,
}

/// What every block of a launch shares.
#[derive(Clone, Copy)]
struct Launch<'a> {
    host: HostFunction,
    params: &'a [u64],
    grid: Grid,
}

thread_local! {
    /// Stacks and shared memory, kept from block to block.
    static WORKER: RefCell<Worker> = RefCell::default();
}

impl Emulated {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, launches: AtomicU64::new(0), allocations: Mutex::default() }
    }

    fn allocations(&self) -> MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn allocate(&self, len: usize) -> Result<Memory, DeviceError> {
        let address = self.allocations().allocate(len);
        let address = address.ok_or_else(|| DeviceError::OutOfMemory { device: "emulated".to_owned(), bytes: len })?;
        Ok(Memory { address, len })
    }

    pub(super) fn free(&self, memory: Memory) {
        self.allocations().free(memory.address);
    }

    pub(super) fn write(&self, memory: Memory, bytes: &[u8]) {
        self.allocations().write(memory.address, bytes);
    }

    pub(super) fn read(&self, memory: Memory, bytes: &mut [u8]) {
        self.allocations().read(memory.address, bytes);
    }

    /// # Safety
    /// As [`super::Executor::launch`], with `params` the bytes of the struct that the kernel takes.
    pub(super) unsafe fn launch<P>(&self, kernel: &Kernel<P>, grid: Grid, params: &[u8]) -> Result<(), DeviceError> {
        let host =
            kernel.host().ok_or_else(|| kernel.not_built("its crate was built without the feature `emulator`"))?;
        // Kernels read 64-bit addresses in place.
        let mut words = vec![0u64; params.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..params.len()].copy_from_slice(params);
        let launch = Launch { host, params: &words, grid };
        let number = self.launches.fetch_add(1, Ordering::Relaxed);
        let [x, y, z] = grid.blocks.map(u64::from);
        let fault = (0..x * y * z)
            .into_par_iter()
            .filter_map(|index| {
                let at = Dim3 { x: (index % x) as u32, y: (index / x % y) as u32, z: (index / x / y) as u32 };
                let order = Stream::new(self.seed ^ index.rotate_left(32), number as u32, 0);
                // SAFETY: the caller's promise about the addresses in `params`.
                let ran = WORKER.with_borrow_mut(|worker| unsafe { worker.run(launch, at, order) });
                ran.err().map(|fault| (index, format!("in block ({}, {}, {}), {fault}", at.x, at.y, at.z)))
            })
            .min_by_key(|(index, _)| *index);
        let fault = fault.map(|(_, fault)| fault).or(self.allocations().damage(&words));
        fault.map_or(Ok(()), |fault| Err(DeviceError::KernelFault { kernel: kernel.name(), fault }))
    }
}

impl Launch<'_> {
    fn params(&self) -> *const c_void {
        self.params.as_ptr().cast()
    }
}
