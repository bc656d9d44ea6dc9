//! Running the threads of one block.

use std::cell::RefCell;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

use super::mbarrier::Mbarrier;
use super::shared::Shared;
use super::thread::{Dim3, Exchange, Position, Site, Stop, Thread, WARP, set_current};
use super::units::Units;
use super::{Grid, Launch};
use crate::philox::Stream;

/// Bytes of a thread's stack: kernels keep tiles of a few KiB in registers, which are stack here.
const STACK_BYTES: usize = 128 << 10;
/// Exchanges that a warp goes through before another is drawn, at most: some warps run far ahead of others.
const RUN: u64 = 8;

/// What a host thread keeps from block to block.
#[derive(Default)]
pub(super) struct Worker {
    stacks: Vec<DefaultStack>,
    shared: Shared,
}

/// Where a thread stands between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    AtBarrier(Site),
    AtExchange(Site),
    AtPhase(*mut Mbarrier, u32, Site),
    Returned,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Ready => f.write_str("runs"),
            State::AtBarrier(site) => write!(f, "waits at __syncthreads ({site})"),
            State::AtExchange(site) => write!(f, "waits for its warp ({site})"),
            State::AtPhase(_, _, site) => write!(f, "waits at an mbarrier ({site})"),
            State::Returned => f.write_str("has returned"),
        }
    }
}

/// The threads of the block that is running.
struct Block<'a> {
    units: &'a RefCell<Units>,
    threads: Box<[Thread]>,
    coroutines: Vec<Coroutine<(), Stop, (), DefaultStack>>,
    states: Vec<State>,
}

impl Worker {
    /// Runs every thread of the block `at` to its end, or says what is wrong with them.
    ///
    /// # Safety
    /// As [`super::Emulated::launch`].
    pub(super) unsafe fn run(&mut self, launch: Launch<'_>, at: Dim3, order: Stream) -> Result<(), String> {
        let Grid { blocks: [x, y, z], threads, shared_bytes, .. } = launch.grid;
        self.shared.reset(shared_bytes as usize);
        let count = threads as usize;
        let mut exchanges: Vec<Exchange> = (0..count / WARP).map(|_| Exchange::EMPTY).collect();
        let (exchanges, shared) = (exchanges.as_mut_ptr(), self.shared.start());
        let units = RefCell::new(Units::new(shared, shared_bytes as usize));
        let threads: Box<[Thread]> = (0..count)
            .map(|i| Thread {
                position: Position {
                    thread: Dim3 { x: i as u32, y: 0, z: 0 },
                    block: at,
                    block_dim: Dim3 { x: threads, y: 1, z: 1 },
                    grid_dim: Dim3 { x, y, z },
                },
                exchange: exchanges.wrapping_add(i / WARP),
                shared,
                shared_len: shared_bytes as usize,
                yielder: std::cell::Cell::new(std::ptr::null()),
                exchanges: std::cell::Cell::new(0),
                copies: RefCell::default(),
                deferred: RefCell::default(),
                units: &raw const units,
            })
            .collect();
        let coroutines = threads.iter().map(|thread| self.coroutine(launch, thread)).collect::<Result<_, _>>()?;
        let mut block = Block { units: &units, states: vec![State::Ready; count], coroutines, threads };
        let result = block.run(order);
        self.stacks.extend(block.coroutines.into_iter().map(|mut coroutine| {
            // SAFETY: after a fault, frames of kernels are left behind; they own nothing that needs to be dropped.
            unsafe { coroutine.force_reset() };
            coroutine.into_stack()
        }));
        result.and_then(|()| self.shared.damage().map_or(Ok(()), Err))
    }

    fn coroutine(
        &mut self,
        launch: Launch<'_>,
        thread: *const Thread,
    ) -> Result<Coroutine<(), Stop, (), DefaultStack>, String> {
        let stack = match self.stacks.pop() {
            Some(stack) => stack,
            None => {
                DefaultStack::new(STACK_BYTES).map_err(|e| format!("the emulator has no stack for a thread: {e}"))?
            }
        };
        let (host, params) = (launch.host, launch.params());
        Ok(Coroutine::with_stack(stack, move |yielder, ()| {
            // SAFETY: threads and parameters outlive the coroutines that `Worker::run` makes and resets.
            unsafe {
                (*thread).yielder.set(yielder);
                host(params);
            }
        }))
    }
}

impl Block<'_> {
    fn run(&mut self, order: Stream) -> Result<(), String> {
        let mut draws = 0..;
        let mut draw = |bound: usize| order.below(draws.next().unwrap_or_default(), bound as u64);
        let warps = self.states.len() / WARP;
        loop {
            self.end_waits()?;
            let ready: Vec<usize> = (0..warps).filter(|&w| self.lanes(w).contains(&State::Ready)).collect();
            if ready.is_empty() {
                if self.release_barrier()? {
                    continue;
                }
                return Ok(());
            }
            let warp = ready[draw(ready.len()) as usize];
            for _ in 0..=draw(RUN as usize) {
                let first = draw(WARP) as usize;
                for lane in 0..WARP {
                    self.resume(warp * WARP + (first + lane) % WARP)?;
                }
                if !self.release_exchange(warp)? {
                    break;
                }
            }
        }
    }

    fn lanes(&self, warp: usize) -> &[State] {
        &self.states[warp * WARP..(warp + 1) * WARP]
    }

    /// Lets threads go on that wait for a phase which is over, once the copies that it waits for have landed.
    fn end_waits(&mut self) -> Result<(), String> {
        for (thread, state) in self.states.iter_mut().enumerate() {
            let State::AtPhase(barrier, parity, _) = *state else { continue };
            let landed = self.units.borrow_mut().land(barrier);
            // SAFETY: a place in shared memory, as was checked when the thread stopped.
            let over = landed.and_then(|()| unsafe { (*barrier).is_over(parity) });
            if over.map_err(|message| format!("thread {thread}: {message}"))? {
                *state = State::Ready;
            }
        }
        Ok(())
    }

    /// Runs a ready thread until it stops.
    fn resume(&mut self, thread: usize) -> Result<(), String> {
        if self.states[thread] != State::Ready {
            return Ok(());
        }
        set_current(&raw const self.threads[thread]);
        self.states[thread] = match self.coroutines[thread].resume(()) {
            CoroutineResult::Yield(Stop::Block(site)) => State::AtBarrier(site),
            CoroutineResult::Yield(Stop::Warp(site)) => State::AtExchange(site),
            CoroutineResult::Yield(Stop::Phase(barrier, parity, site)) => State::AtPhase(barrier, parity, site),
            CoroutineResult::Yield(Stop::Fault(message)) => return Err(format!("thread {thread}: {message}")),
            CoroutineResult::Return(()) => State::Returned,
        };
        Ok(())
    }

    /// After every lane of `warp` has stopped: lets them go on if they wait for each other.
    fn release_exchange(&mut self, warp: usize) -> Result<bool, String> {
        let first = warp * WARP;
        let lanes = self.lanes(warp);
        let Some(waiting) = lanes.iter().position(|state| matches!(state, State::AtExchange(_))) else {
            return Ok(false);
        };
        if lanes.iter().any(|state| matches!(state, State::AtPhase(..))) {
            return Ok(false);
        }
        if let Some(other) = lanes.iter().position(|state| *state != lanes[waiting]) {
            return Err(self.divergent(first + waiting, first + other));
        }
        self.states[first..first + WARP].fill(State::Ready);
        Ok(true)
    }

    /// After every thread has stopped: lets them go on if all wait at one barrier; `false` if all have returned.
    fn release_barrier(&mut self) -> Result<bool, String> {
        let Some(waiting) = self.states.iter().position(|state| *state != State::Returned) else {
            return Ok(false);
        };
        if let Some(stuck) = self.states.iter().position(|state| matches!(state, State::AtPhase(..))) {
            return Err(format!("threads wait for ever: thread {stuck} {}", self.states[stuck]));
        }
        if let Some(other) = self.states.iter().position(|state| *state != self.states[waiting]) {
            return Err(self.divergent(waiting, other));
        }
        self.states.fill(State::Ready);
        Ok(true)
    }

    fn divergent(&self, waiting: usize, other: usize) -> String {
        let [left, right] = [waiting, other].map(|thread| format!("thread {thread} {}", self.states[thread]));
        format!("threads diverge: {left} while {right}")
    }
}
