//! The walk from a loss back to the leaves.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, PoisonError};

use device::launch::DeviceBuffer;
use device::{Buffer, DType, Device};

use crate::convert::convert_memory;
use crate::tape::{Node, Parent};
use crate::{Gradients, Result, Tensor, TensorError};

/// Adds `scale * d loss / d parameter` to `gradients` for every trainable leaf behind the scalar `loss`.
///
/// Nodes run from the newest to the oldest; each frees what it saved as soon as it has run. Nothing waits for a device.
///
/// # Errors
/// [`TensorError::NoHistory`] if nothing trainable is behind `loss`, [`TensorError::NotScalar`],
/// [`TensorError::Uncollected`] if a leaf is not in `gradients`, and the errors of the ops.
pub fn backward(loss: &Tensor, scale: f32, gradients: &mut Gradients) -> Result<()> {
    loss.expect_scalar()?;
    let Parent::Node { node, .. } = loss.as_parent() else { return Err(TensorError::NoHistory) };
    run(node, Buffer::from_f32(loss.device(), &[scale])?, gradients)
}

/// Runs `node` with the gradient of its output and everything behind it.
pub(crate) fn run(node: Arc<Node>, grad: Buffer, leaves: &mut dyn LeafSink) -> Result<()> {
    let mut pending = Pending::new();
    pending.insert(node.id, (node, grad));
    while let Some((_, (node, grad))) = pending.pop_last() {
        let backward = node.backward.lock().unwrap_or_else(PoisonError::into_inner).take();
        let backward = backward.ok_or(TensorError::BackwardTwice { op: node.op })?;
        backward(grad, &mut Sink { op: node.op, parents: &node.parents, pending: &mut pending, leaves })?;
    }
    Ok(())
}

type Pending = BTreeMap<u64, (Arc<Node>, Buffer)>;

/// Takes the gradients that an op's backward gives to its inputs.
///
/// Gradients of activations have their type, f32 on the CPU; those of leaves are f32 everywhere.
pub struct Sink<'a> {
    op: &'static str,
    parents: &'a [Parent],
    pending: &'a mut Pending,
    leaves: &'a mut dyn LeafSink,
}

/// Where gradients of leaves go.
pub(crate) trait LeafSink {
    /// Runs `write` on the gradient of leaf `id`.
    fn accumulate(&mut self, id: u64, count: usize, write: &mut Write<'_>) -> Result<Collected>;
}

/// Whether a leaf's gradient was wanted.
#[derive(PartialEq, Eq)]
pub(crate) enum Collected {
    Yes,
    Unknown,
}

/// Where a gradient is written.
pub(crate) enum Target<'a> {
    Host(&'a mut [f32]),
    Device(DType, &'a mut DeviceBuffer),
}

impl<'a> Target<'a> {
    /// All of `buffer`.
    fn of(buffer: &'a mut Buffer) -> Result<Self> {
        let dtype = buffer.dtype();
        Ok(match buffer.device() {
            Device::Cpu => Target::Host(buffer.f32_mut()?),
            _ => Target::Device(dtype, buffer.memory_mut()?),
        })
    }
}

/// Writes a gradient: over what is there, or added to it if the flag is set.
pub(crate) type Write<'a> = dyn FnMut(Target<'_>, bool) -> Result<()> + 'a;

impl Sink<'_> {
    /// Whether input `index` needs a gradient.
    pub fn needs(&self, index: usize) -> bool {
        !matches!(self.parents[index], Parent::None)
    }

    /// Lets `write` produce the gradient of input `index` in place on the CPU, if it needs one. The flag tells whether to add
    /// to the values that are there; if it is not set they are unspecified and every one must be written.
    ///
    /// # Errors
    /// Those of `write`; [`TensorError::Uncollected`]; [`TensorError::NoKernel`] for a gradient on another device;
    /// [`TensorError::Device`] without memory.
    pub fn accumulate(&mut self, index: usize, mut write: impl FnMut(&mut [f32], bool) -> Result<()>) -> Result<()> {
        let op = self.op;
        self.write(index, &mut |target, add| match target {
            Target::Host(values) => write(values, add),
            Target::Device(_, memory) => Err(TensorError::NoKernel { op, device: memory.executor().device() }),
        })
    }

    /// Lets `write` produce the gradient of input `index` in `dtype` on its device, if it needs one, as
    /// [`Sink::accumulate`] does on the CPU. A gradient of another type is converted from what `write` has made.
    ///
    /// # Errors
    /// As [`Sink::accumulate`]; [`TensorError::OnHost`] for a gradient on the CPU.
    pub fn accumulate_on(
        &mut self,
        index: usize,
        dtype: DType,
        mut write: impl FnMut(&mut DeviceBuffer, bool) -> Result<()>,
    ) -> Result<()> {
        let op = self.op;
        self.write(index, &mut |target, add| match target {
            Target::Host(_) => Err(TensorError::OnHost { op, argument: "gradient" }),
            Target::Device(wanted, memory) if wanted == dtype => write(memory, add),
            Target::Device(wanted, memory) => {
                let count = memory.len_bytes() / wanted.size_bytes();
                let mut made = memory.executor().allocate(count * dtype.size_bytes())?;
                write(&mut made, false)?;
                convert_memory(count, (dtype, &made), (wanted, memory), add)
            }
        })
    }

    /// As [`Sink::accumulate_on`] for several inputs, tensors apart from each other that all need a gradient: `write` is given the
    /// memory of each and whether to add to it.
    pub(crate) fn accumulate_all_on(
        &mut self,
        indices: &[usize],
        dtype: DType,
        write: impl FnOnce(&mut [(DeviceBuffer, bool)]) -> Result<()>,
    ) -> Result<()> {
        let (mut written, mut converted) = (Vec::new(), Vec::new());
        let op = self.op;
        for &index in indices {
            self.write(index, &mut |target, add| match target {
                Target::Host(_) => Err(TensorError::OnHost { op, argument: "gradient" }),
                Target::Device(wanted, memory) => {
                    // Shared, so that it can be written when all are at hand.
                    let shared = memory.view(0..memory.len_bytes());
                    if wanted == dtype {
                        written.push((shared, add));
                        return Ok(());
                    }
                    let count = memory.len_bytes() / wanted.size_bytes();
                    converted.push((written.len(), count, (wanted, shared), add));
                    written.push((memory.executor().allocate(count * dtype.size_bytes())?, false));
                    Ok(())
                }
            })?;
        }
        write(&mut written)?;
        for (at, count, (wanted, mut to), add) in converted {
            convert_memory(count, (dtype, &written[at].0), (wanted, &mut to), add)?;
        }
        Ok(())
    }

    /// Lets the backward of input `index`, which is empty, run.
    pub(crate) fn reach(&mut self, index: usize) -> Result<()> {
        self.write(index, &mut |_, _| Ok(()))
    }

    fn write(&mut self, index: usize, write: &mut Write<'_>) -> Result<()> {
        match &self.parents[index] {
            Parent::None => Ok(()),
            Parent::Leaf { id, shape } => match self.leaves.accumulate(*id, shape.count(), write)? {
                Collected::Yes => Ok(()),
                Collected::Unknown => Err(TensorError::Uncollected { shape: *shape }),
            },
            Parent::Node { node, like } => match self.pending.entry(node.id) {
                Entry::Occupied(mut entry) => write(Target::of(&mut entry.get_mut().1)?, true),
                Entry::Vacant(entry) => {
                    let mut buffer = like.scratch()?;
                    write(Target::of(&mut buffer)?, false)?;
                    entry.insert((Arc::clone(node), buffer));
                    Ok(())
                }
            },
        }
    }

    /// Gives `grad` to input `index`: moved where it is the first, added otherwise.
    ///
    /// # Errors
    /// As [`Sink::accumulate`].
    pub fn give(&mut self, index: usize, grad: Buffer) -> Result<()> {
        if let Parent::Node { node, like } = &self.parents[index]
            && like.dtype == grad.dtype()
            && let Entry::Vacant(entry) = self.pending.entry(node.id)
        {
            debug_assert_eq!(grad.len(), like.count, "{}: gradient of another size", node.op);
            entry.insert((Arc::clone(node), grad));
            return Ok(());
        }
        self.give_copy(index, &grad)
    }

    /// Gives a copy of `grad` to input `index`.
    ///
    /// # Errors
    /// As [`Sink::accumulate`].
    pub fn give_copy(&mut self, index: usize, grad: &Buffer) -> Result<()> {
        self.write(index, &mut |target, add| match target {
            Target::Host(out) => {
                assign(out, grad.f32()?, add);
                Ok(())
            }
            Target::Device(dtype, memory) => {
                convert_memory(grad.len(), (grad.dtype(), grad.memory()?), (dtype, memory), add)
            }
        })
    }

    /// Runs a recomputed part of the graph: gradients of `inputs` (leaves of it) go to this op's inputs of the same
    /// position, gradients of parameters where they always go.
    pub(crate) fn run_recomputed(&mut self, node: Arc<Node>, grad: Buffer, inputs: &[Tensor]) -> Result<()> {
        let ids: Vec<Option<u64>> = inputs.iter().map(Tensor::leaf_id).collect();
        run(node, grad, &mut Recomputed { inputs: &ids, outer: self })
    }
}

/// Leaves of a recomputed block: its inputs are the outer op's inputs.
struct Recomputed<'a, 'b> {
    inputs: &'a [Option<u64>],
    outer: &'a mut Sink<'b>,
}

impl LeafSink for Recomputed<'_, '_> {
    fn accumulate(&mut self, id: u64, count: usize, write: &mut Write<'_>) -> Result<Collected> {
        match self.inputs.iter().position(|&input| input == Some(id)) {
            Some(index) => self.outer.write(index, write).map(|()| Collected::Yes),
            None => self.outer.leaves.accumulate(id, count, write),
        }
    }
}

/// `out = grad` or `out += grad`.
pub(crate) fn assign(out: &mut [f32], grad: &[f32], add: bool) {
    const BLOCK: usize = 1 << 15;
    device::parallel::rows_mut(out, 1, BLOCK, |start, out| {
        let grad = &grad[start..start + out.len()];
        if add {
            out.iter_mut().zip(grad).for_each(|(y, x)| *y += x);
        } else {
            out.copy_from_slice(grad);
        }
    });
}
