//! One emulated thread, and what `cuda/emulator/runtime.h` lets it ask for.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_void};

use corosensei::Yielder;

use super::copies::{Copies, Copy};
use super::deferred::{Deferred, Work};
use super::mbarrier::Mbarrier;
use super::units::Units;

/// Lanes of a warp.
pub(super) const WARP: usize = 32;
/// Bytes that a lane may give to a warp-wide exchange.
const SLOT: usize = 64;

/// `tunesmith_dim3`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Dim3 {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) z: u32,
}

/// `tunesmith_position`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Position {
    pub(super) thread: Dim3,
    pub(super) block: Dim3,
    pub(super) block_dim: Dim3,
    pub(super) grid_dim: Dim3,
}

/// A place in a kernel's source where threads meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    file: &'static CStr,
    line: u32,
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.file.to_string_lossy();
        let path = path.rfind("cuda/").map_or(&*path, |start| &path[start..]);
        write!(f, "{path}:{}", self.line)
    }
}

/// Why a thread stopped running.
#[derive(Debug)]
pub(super) enum Stop {
    /// At `__syncthreads`.
    Block(Site),
    /// At an exchange between the lanes of its warp.
    Warp(Site),
    /// Until the phase of an mbarrier with this parity is over.
    Phase(*mut Mbarrier, u32, Site),
    /// For good.
    Fault(String),
}

/// What the lanes of a warp give to each other, in two sets that take turns: a lane may give for the next exchange while
/// another still reads the last one.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Exchange(pub(super) [[[u8; SLOT]; WARP]; 2]);

impl Exchange {
    pub(super) const EMPTY: Self = Self([[[0; SLOT]; WARP]; 2]);
}

/// The running state of one thread, at a fixed address while its block runs.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) position: Position,
    pub(super) exchange: *mut Exchange,
    pub(super) shared: *mut u8,
    pub(super) shared_len: usize,
    pub(super) yielder: Cell<*const Yielder<(), Stop>>,
    pub(super) exchanges: Cell<usize>,
    pub(super) copies: RefCell<Copies>,
    pub(super) deferred: RefCell<Deferred>,
    pub(super) units: *const RefCell<Units>,
}

thread_local! {
    static CURRENT: Cell<*const Thread> = const { Cell::new(std::ptr::null()) };
}

/// Makes `thread` the one whose calls are answered.
pub(super) fn set_current(thread: *const Thread) {
    CURRENT.set(thread);
}

fn current() -> &'static Thread {
    // SAFETY: only kernels call in here, and they run between `set_current` with a live thread and the end of its block.
    // The reference does not leave the call it is made for.
    unsafe { &*CURRENT.get() }
}

fn stop(thread: &Thread, why: Stop) {
    // SAFETY: set when the thread's coroutine started, which is running now.
    unsafe { (*thread.yielder.get()).suspend(why) };
}

fn fault(message: String) -> ! {
    stop(current(), Stop::Fault(message));
    // A thread that stopped for good is not resumed.
    std::process::abort()
}

/// # Safety
/// `file` must be a string literal.
unsafe fn site(file: *const c_char, line: u32) -> Site {
    // SAFETY: the caller's promise; literals live as long as the program.
    Site { file: unsafe { CStr::from_ptr(file) }, line }
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_position() -> *const Position {
    &raw const current().position
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tunesmith_emulator_sync_threads(file: *const c_char, line: u32) {
    // SAFETY: the macro `__syncthreads` passes `__FILE__`.
    stop(current(), Stop::Block(unsafe { site(file, line) }));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tunesmith_emulator_warp_gather(
    value: *const u8,
    bytes: u32,
    file: *const c_char,
    line: u32,
) -> *const c_void {
    let thread = current();
    let bytes = bytes as usize;
    if bytes > SLOT {
        fault(format!("a warp exchange of {bytes} bytes is more than the emulator's {SLOT}"));
    }
    let turn = thread.exchanges.get() % 2;
    thread.exchanges.set(thread.exchanges.get() + 1);
    let lane = thread.position.thread.x as usize % WARP;
    // SAFETY: one warp's threads run one at a time and its exchange lives as long as they do. The caller gives `bytes`
    // readable bytes; the values lie one behind the other, the last within the set since `bytes` is at most a slot.
    let set = unsafe { (&raw mut (*thread.exchange).0[turn]).cast::<u8>() };
    if bytes > 0 {
        // SAFETY: as above.
        unsafe { set.add(lane * bytes).copy_from(value, bytes) };
    }
    // SAFETY: the macros and primitives pass literals.
    stop(thread, Stop::Warp(unsafe { site(file, line) }));
    set.cast()
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_shared_memory(bytes: u64) -> *mut c_void {
    let thread = current();
    if bytes > thread.shared_len as u64 {
        fault(format!("the kernel uses {bytes} bytes of shared memory, the launch gives {}", thread.shared_len));
    }
    thread.shared.cast()
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_async_copy(shared: *mut u8, global: *const u8, bytes: u32, zero_bytes: u32) {
    let thread = current();
    let (bytes, zero_bytes) = (bytes as usize, zero_bytes as usize);
    let offset = (shared as usize).wrapping_sub(thread.shared as usize);
    if offset.checked_add(bytes + zero_bytes).is_none_or(|end| end > thread.shared_len) {
        fault("an asynchronous copy lands outside of shared memory".to_owned());
    }
    // SAFETY: the destination was just checked; a source outside of its buffer is in a guard or the launch's caller broke
    // the promise about addresses.
    unsafe { thread.copies.borrow_mut().start(Copy { shared, global, bytes, zero_bytes }) };
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_async_commit() {
    current().copies.borrow_mut().commit();
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_async_wait(pending: u32) {
    current().copies.borrow_mut().wait(pending as usize);
}

/// The address in shared memory, of which `bytes` are used.
fn in_shared<T>(thread: &Thread, address: *mut T, bytes: usize) -> *mut T {
    let offset = (address as usize).wrapping_sub(thread.shared as usize);
    if offset.checked_add(bytes).is_none_or(|end| end > thread.shared_len) || !address.is_aligned() {
        fault("an mbarrier or the destination of a bulk copy is no place in shared memory".to_owned());
    }
    address
}

fn mbarrier(thread: &Thread, address: *mut Mbarrier) -> *mut Mbarrier {
    // The hardware wants eight bytes at a multiple of eight.
    in_shared(thread, address.cast::<u64>(), size_of::<Mbarrier>()).cast()
}

fn or_fault<T>(result: Result<T, &'static str>) -> T {
    result.unwrap_or_else(|message| fault(message.to_owned()))
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_mbarrier_init(address: *mut Mbarrier, count: u32) {
    let barrier = mbarrier(current(), address);
    // SAFETY: the place was just checked.
    unsafe { barrier.write(Mbarrier::new(count as u16)) };
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_mbarrier_arrive(address: *mut Mbarrier, bytes: u32) {
    let barrier = mbarrier(current(), address);
    // SAFETY: the place was just checked; threads run one at a time.
    or_fault(unsafe { (*barrier).arrive(bytes) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tunesmith_emulator_mbarrier_wait(
    address: *mut Mbarrier,
    parity: u32,
    file: *const c_char,
    line: u32,
) {
    let thread = current();
    // SAFETY: the primitive passes `__FILE__`.
    stop(thread, Stop::Phase(mbarrier(thread, address), parity, unsafe { site(file, line) }));
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_bulk_copy(
    address: *mut Mbarrier,
    shared: *mut u8,
    global: *const u8,
    bytes: u32,
    zero_bytes: u32,
) {
    let thread = current();
    let (bytes, zero_bytes) = (bytes as usize, zero_bytes as usize);
    let (barrier, shared) = (mbarrier(thread, address), in_shared(thread, shared, bytes + zero_bytes));
    // SAFETY: the block's copies live as long as its threads. The destination was just checked; a source outside of its
    // buffer is in a guard or the launch's caller broke the promise about addresses.
    unsafe { (*thread.units).borrow_mut().start(barrier, Copy { shared, global, bytes, zero_bytes }) };
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_seen_memory() -> *mut c_void {
    // SAFETY: a block's units live as long as its threads.
    unsafe { (*current().units).borrow_mut().seen().cast() }
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_show_shared() {
    // SAFETY: as above, and threads run one at a time.
    unsafe { (*current().units).borrow_mut().show() };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tunesmith_emulator_defer(work: *const Work) {
    // SAFETY: the primitive passes one piece of work.
    current().deferred.borrow_mut().start(unsafe { *work });
}

#[unsafe(no_mangle)]
extern "C" fn tunesmith_emulator_defer_commit() {
    current().deferred.borrow_mut().commit();
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tunesmith_emulator_deferred(pending: u32, work: *mut Work) -> bool {
    let next = current().deferred.borrow_mut().next(pending as usize);
    if let Some(next) = next {
        // SAFETY: the primitive passes room for one piece.
        unsafe { work.write(next) };
    }
    next.is_some()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn tunesmith_emulator_fault(message: *const c_char) -> ! {
    // SAFETY: the primitives pass literals.
    fault(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}
