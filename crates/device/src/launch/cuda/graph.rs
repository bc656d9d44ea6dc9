//! Recording what happens on the stream, to repeat it with one call.

use cudarc::driver::{CudaGraph, DriverError, sys};

use super::{Cuda, allocate_on};
use crate::DeviceError;

/// A recorded sequence, ready to run.
pub(in crate::launch) struct Graph(CudaGraph);

impl Cuda {
    pub(in crate::launch) fn begin_recording(&self) -> Result<(), DeviceError> {
        // Relaxed, so that a kernel may be loaded while it is recorded.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        self.stream.begin_capture(mode).map_err(|error| self.failed("beginning to record a graph", error))
    }

    pub(in crate::launch) fn end_recording(&self) -> Result<Graph, DeviceError> {
        let recorded = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        let invalid = DriverError(sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        match recorded {
            Ok(Some(graph)) => Ok(Graph(graph)),
            Ok(None) => Err(self.failed("recording a graph", invalid)),
            Err(error) => Err(self.failed("recording a graph", error)),
        }
    }

    pub(in crate::launch) fn replay(&self, graph: &Graph) -> Result<(), DeviceError> {
        graph.0.launch().map_err(|error| self.failed("replaying a graph", error))
    }

    pub(super) fn is_recording(&self) -> Result<bool, DriverError> {
        let status = self.stream.capture_status()?;
        Ok(status != sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    /// Memory that is no part of what is being recorded, so that it can outlive the graph: from a stream of its own, whose
    /// allocation has happened when this returns.
    pub(super) fn allocate_beside(&self, capacity: usize) -> Result<u64, DriverError> {
        let stream = self.context.new_stream()?;
        let address = allocate_on(&stream, capacity)?;
        stream.synchronize()?;
        Ok(address)
    }
}
