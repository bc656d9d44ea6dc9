//! What a device does in the order of the calls: at once, or [collected](super::Executor::in_graphs) and done together.

use super::Grid;
use super::buffer::Memory;
use super::kernel::Entry;

/// One entry of that order.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// A kernel with its parameters.
    Launch { kernel: Entry, grid: Grid, params: Params },
    /// A buffer set to zero.
    Zero(Memory),
    /// One buffer copied into another.
    Copy { from: Memory, to: Memory },
    /// A block taken for a buffer that nothing was written to.
    Prepare(Memory),
}

/// What stays the same where commands come again: everything but what they are done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Launch { kernel: &'static str, blocks: [u32; 3], threads: u32, shared_bytes: u32 },
    Zero(usize),
    Copy(usize),
    Prepare(usize),
}

impl Command {
    pub(super) fn shape(&self) -> Shape {
        match self {
            Command::Launch { kernel, grid, .. } => {
                let Grid { blocks, threads, shared_bytes, .. } = *grid;
                Shape::Launch { kernel: kernel.name, blocks, threads, shared_bytes }
            }
            Command::Zero(memory) => Shape::Zero(memory.len),
            Command::Copy { to, .. } => Shape::Copy(to.len),
            Command::Prepare(memory) => Shape::Prepare(memory.len),
        }
    }

    /// Whether a command of the same shape is the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Command::Launch { params, .. }, Command::Launch { params: others, .. }) => params == others,
            (Command::Zero(memory), Command::Zero(others)) => memory == others,
            (Command::Copy { from, to }, Command::Copy { from: others_from, to: others_to }) => {
                from == others_from && to == others_to
            }
            (Command::Prepare(memory), Command::Prepare(others)) => memory == others,
            _ => false,
        }
    }
}

/// A kernel's parameter struct. Kernels may read it in place: tensor maps in it lie at multiples of 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params {
    lines: Box<[Line]>,
    len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

impl Params {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut lines = vec![Line([0; 8]); bytes.len().div_ceil(size_of::<Line>())];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        Self { lines: lines.into(), len: bytes.len() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    /// The same, filled up with zeros.
    #[cfg(feature = "emulator")]
    pub(super) fn words(&self) -> &[u64] {
        bytemuck::cast_slice(&self.lines)
    }
}
