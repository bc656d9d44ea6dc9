//! A sequence of launches that is recorded once and run again with one call.
//!
//! A launch costs the host some microseconds, which is longer than small kernels take. Where the same launches on the same
//! buffers come again and again, as in a training step of fixed shapes, a graph starts all of them at once.

use std::sync::atomic::Ordering;

use super::kind::Recorded;
use super::{Executor, Inner};
use crate::DeviceError;

/// Launches in their order, with the addresses and sizes that they had. Memory that was taken and given back while it was
/// recorded stays the graph's own.
pub struct Graph {
    executor: Executor,
    recorded: Recorded,
    /// Address and capacity.
    blocks: Vec<(u64, usize)>,
}

impl Executor {
    /// Records what `work` launches, without running it.
    ///
    /// Launches, copies within the device, and fills can be recorded; copies from or to the host, waits and events cannot.
    /// Buffers may be allocated. While a graph is recorded, nobody else may use the executor.
    ///
    /// # Errors
    /// What `work` returns, and as an error of its own [`DeviceError::Recording`] for what cannot be recorded and
    /// [`DeviceError::Driver`] if the driver refuses.
    pub fn record_graph<E: From<DeviceError>>(&self, work: impl FnOnce() -> Result<(), E>) -> Result<Graph, E> {
        let recording = Recording::begin(self)?;
        work()?;
        let (recorded, blocks) = recording.end();
        let recorded = recorded.inspect_err(|_| give_back(&self.0, &blocks))?;
        Ok(Graph { executor: self.clone(), recorded, blocks })
    }

    /// Refuses what a graph cannot hold.
    pub(super) fn refuse_while_recording(&self, action: &'static str) -> Result<(), DeviceError> {
        if self.is_recording() { Err(DeviceError::Recording { action }) } else { Ok(()) }
    }

    pub(super) fn is_recording(&self) -> bool {
        self.0.recording.load(Ordering::Acquire)
    }
}

impl Graph {
    /// Starts everything that was recorded.
    ///
    /// # Safety
    /// Every buffer that was used while it was recorded, but for those that were allocated and dropped in it, must be live, and
    /// what the launches write must not be borrowed.
    ///
    /// # Errors
    /// As [`Executor::launch`].
    pub unsafe fn replay(&self) -> Result<(), DeviceError> {
        self.executor.refuse_while_recording("a graph")?;
        // SAFETY: the caller's promise.
        unsafe { self.executor.0.kind.replay(&self.recorded) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        give_back(&self.executor.0, &self.blocks);
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Graph(on {}, {} blocks of its own)", self.executor.device(), self.blocks.len())
    }
}

fn give_back(inner: &Inner, blocks: &[(u64, usize)]) {
    blocks.iter().for_each(|&(address, capacity)| inner.pool.give(address, capacity));
}

/// The time in which a graph is recorded; ends when dropped, whatever happens in it.
struct Recording<'a> {
    executor: &'a Executor,
    ended: bool,
}

impl<'a> Recording<'a> {
    fn begin(executor: &'a Executor) -> Result<Self, DeviceError> {
        let Inner { kind, pool, recording, .. } = &*executor.0;
        if recording.swap(true, Ordering::AcqRel) {
            return Err(DeviceError::Recording { action: "another graph" });
        }
        if let Err(error) = kind.begin_recording() {
            recording.store(false, Ordering::Release);
            return Err(error);
        }
        pool.begin_recording();
        Ok(Self { executor, ended: false })
    }

    fn end(mut self) -> (Result<Recorded, DeviceError>, Vec<(u64, usize)>) {
        self.finish()
    }

    fn finish(&mut self) -> (Result<Recorded, DeviceError>, Vec<(u64, usize)>) {
        let Inner { kind, pool, recording, .. } = &*self.executor.0;
        self.ended = true;
        let recorded = kind.end_recording();
        let blocks = pool.end_recording();
        recording.store(false, Ordering::Release);
        (recorded, blocks)
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let (_, blocks) = self.finish();
            give_back(&self.executor.0, &blocks);
        }
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;
    use crate::launch::DeviceBuffer;

    /// `to = from`, through memory of its own.
    fn copy(executor: &Executor, from: &DeviceBuffer, to: &mut DeviceBuffer) -> Result<(), DeviceError> {
        let mut between = executor.allocate(from.len_bytes())?;
        between.copy_from(from)?;
        to.copy_from(&between)
    }

    #[test]
    fn what_was_recorded_runs_when_it_is_replayed() {
        let executor = Executor::emulated(0);
        let (mut from, mut to) = (executor.upload(&[1.0f32, 2.0]).unwrap(), executor.upload(&[0.0f32; 2]).unwrap());
        let graph = executor.record_graph(|| copy(&executor, &from, &mut to)).unwrap();
        assert_eq!(to.read::<f32>().unwrap(), [0.0, 0.0]);
        for values in [[1.0f32, 2.0], [3.0, 4.0]] {
            from.write(&values).unwrap();
            // SAFETY: both buffers are live.
            unsafe { graph.replay() }.unwrap();
            assert_eq!(to.read::<f32>().unwrap(), values);
        }
    }

    #[test]
    fn memory_of_a_graph_is_its_own_until_it_is_dropped() {
        let executor = Executor::emulated(0);
        let (from, mut to) = (executor.upload(&[1.0f32, 2.0]).unwrap(), executor.upload(&[0.0f32; 2]).unwrap());
        let graph = executor.record_graph(|| copy(&executor, &from, &mut to)).unwrap();
        // As long as what the graph copies through, and so the block it would be given.
        let other = executor.upload(&[7.0f32, 8.0]).unwrap();
        // SAFETY: both buffers are live.
        unsafe { graph.replay() }.unwrap();
        assert_eq!(other.read::<f32>().unwrap(), [7.0, 8.0]);
        let live = executor.pool_stats().live_bytes;
        drop(graph);
        assert!(executor.pool_stats().live_bytes < live);
    }

    #[test]
    fn what_a_graph_cannot_hold_is_refused_and_recording_ends() {
        let executor = Executor::emulated(0);
        let mut buffer = executor.upload(&[1.0f32]).unwrap();
        let action = |work: &mut dyn FnMut() -> Result<(), DeviceError>| match executor.record_graph(work) {
            Err(DeviceError::Recording { action }) => action,
            other => panic!("{other:?}"),
        };
        assert_eq!(action(&mut || buffer.write(&[2.0f32])), "a copy from the host");
        assert_eq!(action(&mut || buffer.read::<f32>().map(drop)), "a copy to the host");
        assert_eq!(action(&mut || executor.synchronize()), "a wait");
        assert_eq!(action(&mut || executor.record().map(drop)), "an event");
        assert_eq!(action(&mut || executor.record_graph(|| Ok::<_, DeviceError>(())).map(drop)), "another graph");
        assert_eq!(buffer.read::<f32>().unwrap(), [1.0]);
    }
}
