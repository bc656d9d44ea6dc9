//! Graphs: commands in a row that are started with one call.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError, sys};

use super::{Cuda, argument};
use crate::DeviceError;
use crate::launch::POISON;
use crate::launch::command::Command;

/// An executable graph with a node for each command.
#[derive(Debug)]
pub(in crate::launch) struct Graph {
    context: Arc<CudaContext>,
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    nodes: Vec<sys::CUgraphNode>,
}

// SAFETY: handles are addresses inside the driver, which may be used from any thread.
unsafe impl Send for Graph {}

/// What the driver wants to know of a node.
enum Node {
    Kernel(sys::CUDA_KERNEL_NODE_PARAMS),
    Fill(sys::CUDA_MEMSET_NODE_PARAMS),
    Copy(Box<sys::CUDA_MEMCPY3D>),
}

impl Cuda {
    /// A graph of `commands`, each of which depends on the one before.
    pub(in crate::launch) fn graph(&self, commands: &[Command]) -> Result<Graph, DeviceError> {
        self.bind()?;
        let failed = |error| self.failed("making a graph", error);
        let mut graph = std::ptr::null_mut();
        // SAFETY: the handle is written before the call returns.
        unsafe { sys::cuGraphCreate(&raw mut graph, 0) }.result().map_err(failed)?;
        let nodes = Vec::with_capacity(commands.len());
        let mut made = Graph { context: Arc::clone(&self.context), graph, executable: std::ptr::null_mut(), nodes };
        for command in commands {
            self.add(&mut made, command)?;
        }
        // SAFETY: the graph is whole, and the handle is written before the call returns.
        unsafe { sys::cuGraphInstantiateWithFlags(&raw mut made.executable, graph, 0) }.result().map_err(failed)?;
        Ok(made)
    }

    fn add(&self, graph: &mut Graph, command: &Command) -> Result<(), DeviceError> {
        let mut arguments = std::ptr::null_mut();
        let node = self.node(command, &mut arguments)?;
        let (before, context) = (graph.nodes.last(), self.context.cu_ctx());
        let (dependencies, count) = (before.map_or(std::ptr::null(), std::ptr::from_ref), before.iter().len());
        let (graph_handle, mut added) = (graph.graph, std::ptr::null_mut());
        // SAFETY: the graph and the node before are live; what the parameters point to is copied before the call returns.
        let result = unsafe {
            match &node {
                Node::Kernel(params) => {
                    sys::cuGraphAddKernelNode_v2(&raw mut added, graph_handle, dependencies, count, params)
                }
                Node::Fill(params) => {
                    sys::cuGraphAddMemsetNode(&raw mut added, graph_handle, dependencies, count, params, context)
                }
                Node::Copy(params) => sys::cuGraphAddMemcpyNode(
                    &raw mut added,
                    graph_handle,
                    dependencies,
                    count,
                    &raw const **params,
                    context,
                ),
            }
        };
        result.result().map_err(|error| self.failed("adding to a graph", error))?;
        graph.nodes.push(added);
        Ok(())
    }

    /// Makes `command`, of the same shape, the one at `index`, for what is started from now on.
    pub(in crate::launch) fn update(
        &self,
        graph: &mut Graph,
        index: usize,
        command: &Command,
    ) -> Result<(), DeviceError> {
        self.bind()?;
        let mut arguments = std::ptr::null_mut();
        let node = self.node(command, &mut arguments)?;
        let (executable, place, context) = (graph.executable, graph.nodes[index], self.context.cu_ctx());
        // SAFETY: the graph and its node are live; what the parameters point to is copied before the call returns.
        let result = unsafe {
            match &node {
                Node::Kernel(params) => sys::cuGraphExecKernelNodeSetParams_v2(executable, place, params),
                Node::Fill(params) => sys::cuGraphExecMemsetNodeSetParams(executable, place, params, context),
                Node::Copy(params) => {
                    sys::cuGraphExecMemcpyNodeSetParams(executable, place, &raw const **params, context)
                }
            }
        };
        result.result().map_err(|error| self.failed("updating a graph", error))
    }

    /// Starts the commands of `graph`.
    pub(in crate::launch) fn start(&self, graph: &Graph) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the graph is live; that its commands may run is the promise of whoever collected them.
        let started = unsafe { sys::cuGraphLaunch(graph.executable, self.stream.cu_stream()) };
        started.result().map_err(|error| self.failed("starting a graph", error))
    }

    /// The node of `command`, whose arguments are to be at `arguments`.
    fn node(&self, command: &Command, arguments: &mut *mut c_void) -> Result<Node, DeviceError> {
        let fill = |dst, value: u8, len| {
            Node::Fill(sys::CUDA_MEMSET_NODE_PARAMS {
                dst,
                pitch: 0,
                value: value.into(),
                elementSize: 1,
                width: len,
                height: 1,
            })
        };
        Ok(match command {
            Command::Launch { kernel, grid, params } => {
                let func = self.function(kernel, *grid, params)?;
                self.modules().launching(kernel.name);
                *arguments = argument(params);
                let [x, y, z] = grid.blocks;
                Node::Kernel(sys::CUDA_KERNEL_NODE_PARAMS {
                    func,
                    gridDimX: x,
                    gridDimY: y,
                    gridDimZ: z,
                    blockDimX: grid.threads,
                    blockDimY: 1,
                    blockDimZ: 1,
                    sharedMemBytes: grid.shared_bytes,
                    kernelParams: arguments,
                    extra: std::ptr::null_mut(),
                    kern: std::ptr::null_mut(),
                    ctx: std::ptr::null_mut(),
                })
            }
            Command::Zero(memory) => fill(memory.address, 0, memory.len),
            // A node fills something: of an empty buffer, a byte of the block that is its own.
            Command::Prepare(memory) => fill(memory.address, POISON, memory.len.max(1)),
            Command::Copy { from, to } => {
                let device = sys::CUmemorytype::CU_MEMORYTYPE_DEVICE;
                Node::Copy(Box::new(sys::CUDA_MEMCPY3D {
                    srcXInBytes: 0,
                    srcY: 0,
                    srcZ: 0,
                    srcLOD: 0,
                    srcMemoryType: device,
                    srcHost: std::ptr::null(),
                    srcDevice: from.address,
                    srcArray: std::ptr::null_mut(),
                    reserved0: std::ptr::null_mut(),
                    srcPitch: to.len,
                    srcHeight: 1,
                    dstXInBytes: 0,
                    dstY: 0,
                    dstZ: 0,
                    dstLOD: 0,
                    dstMemoryType: device,
                    dstHost: std::ptr::null_mut(),
                    dstDevice: to.address,
                    dstArray: std::ptr::null_mut(),
                    reserved1: std::ptr::null_mut(),
                    dstPitch: to.len,
                    dstHeight: 1,
                    WidthInBytes: to.len,
                    Height: 1,
                    Depth: 1,
                }))
            }
        })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_err() {
            return;
        }
        // An error here is an earlier launch's, which the next call reports.
        // SAFETY: both were made by `Cuda::graph` and are dropped once; the driver keeps what still runs.
        let _: [Result<(), DriverError>; 2] = unsafe {
            let executable = match self.executable.is_null() {
                true => Ok(()),
                false => sys::cuGraphExecDestroy(self.executable).result(),
            };
            [executable, sys::cuGraphDestroy(self.graph).result()]
        };
    }
}
