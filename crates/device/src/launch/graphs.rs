//! Launches that are collected and started together.
//!
//! A launch costs the host some microseconds, which is longer than small kernels take. A training step launches the same kernels
//! on the same buffers again and again, so its launches are [collected](Executor::in_graphs) instead of started, and what has the
//! shape of something that was started before is started with one call, as a CUDA graph.
//!
//! Nothing has to be promised of what comes again. The host goes through the whole step each time, and before a graph is started
//! every node whose parameters are others than the last time is set to the new ones: a seed, a learning rate, an address. So a
//! graph is never run on what is stale, whatever a method does, and a step gives the bits of single launches. That the host goes
//! through the step costs what its own code takes, about a tenth of what its launches take; which nodes are to be set, few if
//! shapes repeat, because the pool gives the same addresses to the same requests.
//!
//! | what comes | what is done |
//! |---|---|
//! | launches of a shape that is new | they are started one by one |
//! | the same shape once more | a graph is made of them |
//! | and again | the graph is brought up to date and started |
//! | a copy from the host to memory in use, a wait, a copy to the host | what was collected is started first |
//! | the device has no more memory | all graphs are let go |

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::command::{Command, Shape};
use super::kind::{Executable, Kind};
use super::{Executor, Inner};
use crate::DeviceError;

/// Commands of one graph, at most: the device starts while the host goes on to the next.
const COMMANDS: usize = 512;
/// Graphs that are kept, and shapes that are waited for to come again: those of some micro-batches of different lengths.
const KEPT: usize = 256;

/// Memory of the device that a node of a graph takes in the driver, about: what CUDASTF reckons with for CUDA 12
/// (NVIDIA/cccl, pull request 3768). Drivers before 550 take 64 KiB for a kernel.
pub const GRAPH_NODE_BYTES: usize = 10 << 10;

/// What was collected, and the graphs that were made.
#[derive(Debug, Default)]
pub(super) struct Graphs(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Calls of [`Executor::in_graphs`] that run.
    collecting: usize,
    collected: Vec<Command>,
    /// How often commands were started since they began to be collected.
    ordinal: usize,
    known: HashMap<Key, Known>,
    /// Counts what was started, to tell what has not been used for longest.
    clock: u64,
    stats: GraphStats,
}

/// What comes again: the commands that are started at the same place of a step, by their shapes. At another place the same
/// shapes are those of another layer, which reads other weights.
type Key = (usize, Box<[Shape]>);

/// Commands that were started before.
#[derive(Debug)]
struct Known {
    used: u64,
    graph: Option<Graph>,
}

/// Commands as they were last started, and what starts them.
#[derive(Debug)]
struct Graph {
    commands: Vec<Command>,
    executable: Executable,
}

/// What an executor's graphs have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphStats {
    /// Graphs that were made.
    pub made: u64,
    /// How often one was started.
    pub started: u64,
    /// Launches, fills and copies that were started with them.
    pub nodes: u64,
    /// Of these, how many had other parameters than the time before.
    pub updated: u64,
}

impl Executor {
    /// Runs `work` and starts what it launches in graphs. Everything has been started when it returns, in the order of the calls
    /// and with the results of single launches. What cannot be part of a graph, as copies from and to the host, may happen in
    /// `work`. Launches of other threads meanwhile become part of the graphs.
    ///
    /// # Errors
    /// What `work` returns; those of [`Executor::launch`], which may come from a later call.
    pub fn in_graphs<R, E: From<DeviceError>>(&self, work: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        if !self.0.kind.has_graphs() || self.is_profiled() {
            return work();
        }
        let collecting = Collecting::begin(&self.0);
        let worked = work();
        let started = collecting.end();
        let result = worked?;
        started?;
        Ok(result)
    }

    /// What graphs have done so far.
    pub fn graph_stats(&self) -> GraphStats {
        self.0.graphs.state().stats
    }

    /// Does `command`, or collects it.
    ///
    /// # Safety
    /// As [`Executor::launch`].
    pub(super) unsafe fn perform(&self, command: Command) -> Result<(), DeviceError> {
        let inner = &*self.0;
        let mut state = inner.graphs.state();
        if state.collecting == 0 {
            drop(state);
            return match &command {
                // SAFETY: the caller's promise.
                Command::Launch { kernel, .. } => self.timing(kernel.name, || unsafe { inner.kind.run(&command) }),
                // SAFETY: likewise.
                _ => unsafe { inner.kind.run(&command) },
            };
        }
        if let Command::Launch { kernel, params, .. } = &command {
            inner.kind.check(kernel, params)?;
        }
        state.collected.push(command);
        if state.collected.len() < COMMANDS { Ok(()) } else { state.start(inner) }
    }

    /// Starts what was collected so far.
    pub(super) fn start_collected(&self) -> Result<(), DeviceError> {
        self.0.graphs.state().start(&self.0)
    }
}

impl Graphs {
    fn state(&self) -> MutexGuard<'_, State> {
        // Whole between any two commands, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all graphs go, for the memory that they take on the device.
    pub(super) fn forget(&self) {
        self.state().known.clear();
    }
}

impl State {
    /// Starts what was collected. The lock is held meanwhile, so that nothing that comes later overtakes it.
    fn start(&mut self, inner: &Inner) -> Result<(), DeviceError> {
        let commands = mem::take(&mut self.collected);
        let started = if commands.is_empty() { Ok(()) } else { self.start_all(&inner.kind, commands) };
        inner.pool.settle();
        started
    }

    fn start_all(&mut self, kind: &Kind, commands: Vec<Command>) -> Result<(), DeviceError> {
        let key: Key = (self.ordinal, commands.iter().map(Command::shape).collect());
        (self.ordinal, self.clock) = (self.ordinal + 1, self.clock + 1);
        let Some(known) = self.known.get_mut(&key) else {
            self.make_room();
            self.known.insert(key, Known { used: self.clock, graph: None });
            return run(kind, &commands);
        };
        known.used = self.clock;
        let (stats, count) = (&mut self.stats, commands.len() as u64);
        // A driver that refuses a graph or a change of one may still take the launches, or says more of what is wrong.
        let graph = match known.graph.take() {
            Some(graph) => graph.updated(kind, commands, stats),
            None => Graph::new(kind, commands, stats),
        };
        match graph {
            Ok(graph) => {
                (stats.started, stats.nodes) = (stats.started + 1, stats.nodes + count);
                // SAFETY: what was collected was promised to be run in this order, and was not until now.
                unsafe { kind.start(&known.graph.insert(graph).executable) }
            }
            Err(commands) => run(kind, &commands),
        }
    }

    /// Forgets what was not used for longest, if there is no room for one more.
    fn make_room(&mut self) {
        if self.known.len() >= KEPT {
            let oldest = self.known.values().map(|known| known.used).min();
            self.known.retain(|_, known| Some(known.used) != oldest);
        }
    }
}

impl Graph {
    /// A graph of `commands`, or them where there is none.
    fn new(kind: &Kind, commands: Vec<Command>, stats: &mut GraphStats) -> Result<Self, Vec<Command>> {
        match kind.graph(&commands) {
            Ok(executable) => {
                stats.made += 1;
                Ok(Self { commands, executable })
            }
            Err(_) => Err(commands),
        }
    }

    /// The same graph of `commands`, which have its shape.
    fn updated(mut self, kind: &Kind, commands: Vec<Command>, stats: &mut GraphStats) -> Result<Self, Vec<Command>> {
        for (index, (now, last)) in commands.iter().zip(&self.commands).enumerate() {
            if !now.is(last) {
                if kind.update(&mut self.executable, index, now).is_err() {
                    return Err(commands);
                }
                stats.updated += 1;
            }
        }
        self.commands = commands;
        Ok(self)
    }
}

/// Starts `commands` one by one.
fn run(kind: &Kind, commands: &[Command]) -> Result<(), DeviceError> {
    // SAFETY: what was collected was promised to be run in this order, and was not until now.
    commands.iter().try_for_each(|command| unsafe { kind.run(command) })
}

/// The time in which commands are collected; ends when dropped, whatever happens in it.
struct Collecting<'a> {
    inner: &'a Inner,
    has_ended: bool,
}

impl<'a> Collecting<'a> {
    fn begin(inner: &'a Inner) -> Self {
        let mut state = inner.graphs.state();
        if state.collecting == 0 {
            inner.pool.begin_collecting();
            state.ordinal = 0;
        }
        state.collecting += 1;
        Self { inner, has_ended: false }
    }

    fn end(mut self) -> Result<(), DeviceError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.has_ended = true;
        let mut state = self.inner.graphs.state();
        let started = state.start(self.inner);
        state.collecting -= 1;
        if state.collecting == 0 {
            self.inner.pool.end_collecting();
        }
        started
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            // Only a panic of the work comes here, and is what is told.
            let _ = self.finish();
        }
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests;
