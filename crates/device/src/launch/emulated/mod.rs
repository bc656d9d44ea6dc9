//! Kernels on the host, thread by thread: the meaning of a kernel, and a checker that hardware is not.
//!
//! - Memory that was never written, on the device and in a block's shared memory, reads as NaN ([`memory`], [`shared`]).
//! - A buffer lies between guards: a write beyond it fails the launch, a read beyond it gives NaN.
//! - A copy started with `cp.async` lands when it is waited for ([`copies`]).
//! - Warps run in an order drawn from the seed, so a missing barrier shows as a result that changes with it ([`block`]).
//! - A product started with `wgmma` is computed when it is waited for ([`deferred`]), and a bulk copy lands when its barrier
//!   is waited for ([`mbarrier`]). Both see of what threads wrote to shared memory what a fence has shown ([`units`]).
//! - A copy between the device and the host happens when kernels wait for it ([`transfer`]).
//! - Threads that wait for each other at different places, or for ever, fail the launch ([`block`]).

mod block;
mod copies;
mod deferred;
mod mbarrier;
mod memory;
mod shared;
mod thread;
mod transfer;
mod units;

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::buffer::Memory;
use super::command::Command;
use super::kernel::Entry;
use super::{Architecture, Grid, HostFunction, TensorMap, TiledMatrix};
use crate::DeviceError;
use crate::philox::Stream;
use block::Worker;
use memory::Allocations;
use thread::Dim3;

pub(super) use transfer::Transfer;

/// The emulated device.
#[derive(Debug)]
pub(super) struct Emulated {
    architecture: Architecture,
    seed: u64,
    launches: AtomicU64,
    allocations: Mutex<Allocations>,
}

/// Few, so that a block that takes one tile after the other takes several.
pub(super) const MULTIPROCESSORS: u32 = 3;

/// A matrix as `cuda/emulator/tensor_map.h` reads it.
pub(super) fn tensor_map(address: u64, matrix: TiledMatrix) -> TensorMap {
    let mut map = [0; 16];
    let TiledMatrix { rows, cols, row_stride, box_rows } = matrix;
    map[..5].copy_from_slice(&[address, rows as u64, cols as u64, row_stride as u64, u64::from(box_rows)]);
    map
}

/// What every block of a launch shares.
#[derive(Clone, Copy)]
struct Launch<'a> {
    host: HostFunction,
    params: &'a [u64],
    grid: Grid,
}

/// What the emulator calls for each thread of `kernel`.
pub(super) fn host(kernel: &Entry) -> Result<HostFunction, DeviceError> {
    kernel.host.ok_or_else(|| kernel.not_built("its crate was built without the feature `emulator`"))
}

thread_local! {
    /// Stacks and shared memory, kept from block to block.
    static WORKER: RefCell<Worker> = RefCell::default();
}

impl Emulated {
    pub(super) fn new(architecture: Architecture, seed: u64) -> Self {
        Self { architecture, seed, launches: AtomicU64::new(0), allocations: Mutex::default() }
    }

    pub(super) fn architecture(&self) -> Architecture {
        self.architecture
    }

    fn allocations(&self) -> MutexGuard<'_, Allocations> {
        self.allocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn allocate(&self, capacity: usize) -> Result<u64, DeviceError> {
        let address = self.allocations().allocate(capacity);
        address.ok_or_else(|| DeviceError::OutOfMemory { device: "emulated".to_owned(), bytes: capacity })
    }

    pub(super) fn free(&self, address: u64) {
        self.allocations().free(address);
    }

    pub(super) fn write(&self, to: Memory, bytes: &[u8]) {
        self.allocations().write(to.address, bytes);
    }

    pub(super) fn read(&self, from: Memory, bytes: &mut [u8]) {
        self.allocations().read(from.address, bytes);
    }

    /// # Safety
    /// As [`super::kind::Kind::run`].
    pub(super) unsafe fn run(&self, command: &Command) -> Result<(), DeviceError> {
        match command {
            Command::Launch { kernel, grid, params } => {
                // SAFETY: the caller's promise.
                return unsafe { self.launch(kernel, *grid, params.words()) };
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

    /// # Safety
    /// As [`Emulated::run`].
    unsafe fn launch(&self, kernel: &Entry, grid: Grid, words: &[u64]) -> Result<(), DeviceError> {
        let host = host(kernel)?;
        let launch = Launch { host, params: words, grid };
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
        let fault = fault.map(|(_, fault)| fault).or(self.allocations().damage(words));
        fault.map_or(Ok(()), |fault| Err(DeviceError::KernelFault { kernel: kernel.name, fault }))
    }
}

impl Launch<'_> {
    fn params(&self) -> *const c_void {
        self.params.as_ptr().cast()
    }
}
