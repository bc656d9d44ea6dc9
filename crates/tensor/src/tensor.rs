//! A value with a shape and, if an op made it from trainable values, a history.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use device::launch::{DeviceBuffer, Staging};
use device::{Buffer, DType, Device, DeviceError, Elements, SharedBytes};

use crate::convert::convert;
use crate::saved::{Recipe, narrowed};
use crate::storage::{Memory, Read, Storage};
use crate::tape::{self, Like, Mode, Node, Parent};
use crate::{Result, Shape, Sink, TensorError};

/// A tensor. Cloning shares the elements.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    shape: Shape,
    storage: Storage,
    history: History,
    keeping: Arc<Keeping>,
}

/// How an op that needs the elements in its backward keeps them. Tensors of the same elements share it.
struct Keeping {
    precision: DType,
    recipe: Option<Arc<Recipe>>,
    /// The elements in bf16, made when the first op keeps them.
    narrowed: OnceLock<Tensor>,
}

impl Keeping {
    fn new(precision: DType, recipe: Option<Arc<Recipe>>) -> Arc<Self> {
        Arc::new(Self { precision, recipe, narrowed: OnceLock::new() })
    }
}

#[derive(Clone)]
enum History {
    /// Nothing trainable is behind it.
    Constant,
    /// Trainable itself.
    Leaf { id: u64 },
    /// Made by a recorded op.
    Node(Arc<Node>),
    /// Depends on a trainable value, made under [`Mode::Track`].
    Tracked,
}

impl Tensor {
    /// A constant in `buffer`.
    ///
    /// # Errors
    /// [`TensorError::Count`] if the buffer does not fill the shape.
    pub fn new(shape: impl Into<Shape>, buffer: Buffer) -> Result<Self> {
        let shape = shape.into();
        check_count(&shape, buffer.len())?;
        Ok(Self::make(shape, Storage::own(buffer), History::Constant))
    }

    /// A constant copied from `values`.
    ///
    /// # Errors
    /// [`TensorError::Count`] if they do not fill the shape; [`TensorError::Device`] without memory.
    pub fn from_f32(shape: impl Into<Shape>, values: &[f32]) -> Result<Self> {
        Self::new(shape, Buffer::from_f32(Device::Cpu, values)?)
    }

    /// A trainable leaf of its own, copied from `values`. Training keeps its leaves in [`crate::Parameters`].
    ///
    /// # Errors
    /// As [`Tensor::from_f32`].
    pub fn leaf(shape: impl Into<Shape>, values: &[f32]) -> Result<Self> {
        let shape = shape.into();
        check_count(&shape, values.len())?;
        let storage = Storage::own(Buffer::from_f32(Device::Cpu, values)?);
        Ok(Self::make(shape, storage, History::Leaf { id: tape::next_id() }))
    }

    /// A frozen tensor over bytes that stay where they are, such as a mapped file. Bytes that are not aligned for `dtype`
    /// are copied once.
    ///
    /// # Errors
    /// [`TensorError::Count`] if they do not fill the shape; [`TensorError::Device`] without memory.
    pub fn frozen(shape: impl Into<Shape>, dtype: DType, bytes: SharedBytes) -> Result<Self> {
        let shape = shape.into();
        let slice = bytes.as_slice();
        check_count(&shape, slice.len() / dtype.size_bytes())?;
        let storage = match Elements::from_bytes(slice, dtype) {
            Ok(_) => Storage::Frozen { bytes, dtype },
            Err(_) => Storage::own(copy_unaligned(slice, dtype)?),
        };
        Ok(Self::make(shape, storage, History::Constant))
    }

    /// A trainable leaf that views a part of `memory`.
    pub(crate) fn leaf_in(memory: &Arc<Memory>, start: usize, shape: Shape) -> Self {
        let storage = Storage::Memory { memory: Arc::clone(memory), start, dtype: DType::F32 };
        Self::make(shape, storage, History::Leaf { id: tape::next_id() })
    }

    /// A constant that views a part of `memory`.
    pub(crate) fn constant_in(memory: &Arc<Memory>, start: usize, shape: Shape) -> Self {
        let storage = Storage::Memory { memory: Arc::clone(memory), start, dtype: memory.dtype() };
        Self::make(shape, storage, History::Constant)
    }

    fn make(shape: Shape, storage: Storage, history: History) -> Self {
        Self::make_kept(shape, storage, history, Keeping::new(DType::F32, None))
    }

    fn make_kept(shape: Shape, storage: Storage, history: History, keeping: Arc<Keeping>) -> Self {
        Self(Arc::new(Inner { shape, storage, history, keeping }))
    }

    /// The same tensor, computed with in `precision`: products of it and of what follows from it round their f32 operands
    /// to that, and what is kept of them for backward is kept in it. Sums, and what lies between ops, stay f32.
    pub fn with_precision(&self, precision: DType) -> Self {
        let Inner { shape, storage, history, .. } = &*self.0;
        Self::make_kept(*shape, storage.clone(), history.clone(), Keeping::new(precision, None))
    }

    /// What products of it round their operands to.
    pub fn precision(&self) -> DType {
        self.0.keeping.precision
    }

    /// The same tensor, which `compute` can make again from what ops keep anyway: those that need it in their backward keep
    /// it in that way. Nothing changes unless ops are being recorded.
    pub(crate) fn with_recipe(self, compute: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Self {
        if tape::mode() != Mode::Record {
            return self;
        }
        let Inner { shape, storage, history, keeping } = &*self.0;
        let keeping = Keeping::new(keeping.precision, Some(Recipe::new(compute)));
        Self::make_kept(*shape, storage.clone(), history.clone(), keeping)
    }

    pub(crate) fn recipe(&self) -> Option<Arc<Recipe>> {
        self.0.keeping.recipe.clone()
    }

    /// The elements without history, in bf16 if they are f32 that a model computed in bf16.
    pub(crate) fn kept(&self) -> Result<Tensor> {
        let keeping = &self.0.keeping;
        if keeping.precision != DType::BF16 || self.dtype() != DType::F32 || self.device() != Device::Cpu {
            return Ok(self.detach());
        }
        if let Some(narrowed) = keeping.narrowed.get() {
            return Ok(narrowed.clone());
        }
        let narrowed = Self::new(self.0.shape, narrowed(self.read().f32("kept", "x")?)?)?;
        Ok(keeping.narrowed.get_or_init(|| narrowed).clone())
    }

    /// The output of an op. `backward` gets the gradient of `buffer` and gives gradients to `parents`, by their position;
    /// it is kept only if one of them needs a gradient and the tape is recording.
    ///
    /// # Errors
    /// [`TensorError::Count`] if the buffer does not fill the shape.
    pub fn record(
        op: &'static str,
        shape: impl Into<Shape>,
        buffer: Buffer,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let shape = shape.into();
        check_count(&shape, buffer.len())?;
        Ok(Self::record_storage(op, shape, Storage::own(buffer), None, parents, backward))
    }

    /// The same elements in another shape, as an op.
    pub(crate) fn record_view(
        op: &'static str,
        shape: Shape,
        of: &Tensor,
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        check_count(&shape, of.count())?;
        Ok(Self::record_storage(op, shape, of.0.storage.clone(), Some(&of.0.keeping), &[of], backward))
    }

    /// The `elements` of `of`, which are there, under `shape`, as an op.
    pub(crate) fn record_slice(
        op: &'static str,
        shape: Shape,
        of: &Tensor,
        elements: Range<usize>,
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Self {
        Self::record_storage(op, shape, of.0.storage.slice(elements), None, &[of], backward)
    }

    /// The output of an op that saves its own result: the elements of `y`.
    pub(crate) fn record_output(
        op: &'static str,
        y: &Tensor,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Self {
        Self::record_storage(op, y.0.shape, y.0.storage.clone(), Some(&y.0.keeping), parents, backward)
    }

    /// The output of a recomputed block: the elements of `y`, needing a gradient whatever its inputs need, because `y`
    /// depends on a trainable value that the block captured.
    pub(crate) fn record_recomputed(
        op: &'static str,
        y: &Tensor,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let history = History::Node(Node::new(op, parents, backward));
        Ok(Self::make_kept(y.0.shape, y.0.storage.clone(), history, Keeping::new(y.precision(), None)))
    }

    fn record_storage(
        op: &'static str,
        shape: Shape,
        storage: Storage,
        keeping: Option<&Arc<Keeping>>,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Self {
        let is_reduced = parents.iter().any(|p| p.precision() == DType::BF16);
        let precision = if is_reduced { DType::BF16 } else { DType::F32 };
        let keeping = match keeping {
            Some(keeping) if keeping.precision == precision => Arc::clone(keeping),
            _ => Keeping::new(precision, None),
        };
        let needed = parents.iter().any(|p| p.requires_grad());
        let history = match tape::mode() {
            Mode::Record if needed => History::Node(Node::new(op, parents, backward)),
            Mode::Track if needed => History::Tracked,
            _ => History::Constant,
        };
        Self::make_kept(shape, storage, history, keeping)
    }

    /// The output of an op that has no backward.
    ///
    /// # Errors
    /// [`TensorError::NoBackward`] if an input needs a gradient: it would be cut silently.
    pub fn record_without_backward(
        op: &'static str,
        shape: impl Into<Shape>,
        buffer: Buffer,
        parents: &[&Tensor],
    ) -> Result<Self> {
        if tape::mode() != Mode::Off && parents.iter().any(|p| p.requires_grad()) {
            return Err(TensorError::NoBackward { op });
        }
        Self::new(shape, buffer)
    }

    /// The sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        self.0.shape.sizes()
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.0.shape.count()
    }

    /// The sizes of a matrix.
    ///
    /// # Errors
    /// [`TensorError::Shape`] naming `op` and `argument` if it has not two sizes.
    pub fn matrix_shape(&self, op: &'static str, argument: &'static str) -> Result<(usize, usize)> {
        match self.shape() {
            &[rows, columns] => Ok((rows, columns)),
            _ => Err(self.unexpected(op, argument, "[rows, columns]")),
        }
    }

    /// The error that this operand is not of the shape `expected`.
    pub fn unexpected(&self, op: &'static str, argument: &'static str, expected: impl ToString) -> TensorError {
        TensorError::Shape { op, argument, expected: expected.to_string(), got: self.0.shape }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.storage.dtype()
    }

    /// The type of what is computed from it: f32 on the CPU, its own on a device that runs kernels.
    pub(crate) fn compute_dtype(&self) -> DType {
        if self.device() == Device::Cpu { DType::F32 } else { self.dtype() }
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        self.0.storage.device()
    }

    /// Whether a gradient flows to it.
    pub fn requires_grad(&self) -> bool {
        !matches!(self.0.history, History::Constant)
    }

    /// The elements, to read on the CPU. Those on another device are copied, for what is done beside the ops, such as
    /// saving; if the device has failed they are NaN, and [`Tensor::to_host`] tells why.
    pub fn read(&self) -> Read<'_> {
        self.0.storage.read(self.count())
    }

    /// The elements, copied as by [`Tensor::read`] and widened.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.count()];
        self.read().elements().widen_into(&mut out);
        out
    }

    /// The only element. On a device other than the CPU this waits for everything that was started.
    ///
    /// # Errors
    /// [`TensorError::NotScalar`] if there are more or none; [`TensorError::Device`] if something that was started failed.
    pub fn item(&self) -> Result<f32> {
        self.expect_scalar()?;
        Ok(self.to_host()?.read().elements().get(0))
    }

    pub(crate) fn expect_scalar(&self) -> Result<()> {
        if self.count() == 1 { Ok(()) } else { Err(TensorError::NotScalar { shape: self.0.shape }) }
    }

    /// The same elements on the CPU, without history if they have to be copied. Copying waits for everything that was started.
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory, or if something that was started failed.
    pub fn to_host(&self) -> Result<Self> {
        match self.device() {
            Device::Cpu => Ok(self.clone()),
            _ => Self::new(self.0.shape, self.0.storage.to_host(self.count())?),
        }
    }

    /// The elements as a constant in `dtype` on `device`: how a frozen weight comes to a GPU. On the CPU, elements in their own
    /// dtype.
    ///
    /// # Errors
    /// [`TensorError::Device`] for a device that is not there, without memory, and if the copy fails;
    /// [`TensorError::Kernel`] for a dtype that no kernel computes in.
    pub fn to_device(&self, device: Device, dtype: DType) -> Result<Self> {
        match device {
            Device::Cpu => Ok(self.to_host()?.detach()),
            _ => self.copied(device, dtype, |bytes, memory| memory.write(bytes)),
        }
    }

    /// As [`Tensor::to_device`], through page-locked memory: the elements are read, from a mapped file perhaps, while those
    /// before them are on their way.
    ///
    /// # Errors
    /// As [`Tensor::to_device`].
    pub fn to_device_through(&self, staging: &mut Staging, dtype: DType) -> Result<Self> {
        self.copied(staging.device(), dtype, |bytes, memory| staging.upload(bytes, memory))
    }

    /// A copy on `device`, which runs kernels, by `copy`.
    fn copied(
        &self,
        device: Device,
        dtype: DType,
        copy: impl FnOnce(&[u8], &mut DeviceBuffer) -> Result<(), DeviceError>,
    ) -> Result<Self> {
        let host = self.to_host()?;
        let mut stored = Buffer::scratch(device, self.dtype(), self.count())?;
        copy(host.read().elements().as_bytes(), stored.memory_mut()?)?;
        if self.dtype() == dtype {
            return Self::new(self.0.shape, stored);
        }
        let mut converted = Buffer::scratch(device, dtype, self.count())?;
        convert(&stored, &mut converted, false)?;
        Self::new(self.0.shape, converted)
    }

    /// The elements in `dtype` for a kernel. Those of another type are converted and kept until the next change.
    ///
    /// # Errors
    /// [`TensorError::OnHost`] naming `op` and `argument` on the CPU; [`TensorError::Device`] without memory.
    pub(crate) fn on_device(&self, op: &'static str, argument: &'static str, dtype: DType) -> Result<DeviceBuffer> {
        match self.device() {
            Device::Cpu => Err(TensorError::OnHost { op, argument }),
            _ => self.0.storage.on_device(self.count(), dtype),
        }
    }

    /// Whether both are one tensor, and so share their elements.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The same elements without history.
    pub fn detach(&self) -> Self {
        let Inner { shape, storage, keeping, .. } = &*self.0;
        Self::make_kept(*shape, storage.clone(), History::Constant, Arc::clone(keeping))
    }

    /// The same elements as a leaf of their own, trainable if this tensor needs a gradient.
    pub(crate) fn detach_as_leaf(&self) -> Self {
        if self.requires_grad() { self.to_leaf() } else { self.with_history(History::Constant) }
    }

    /// The same elements, trainable.
    pub(crate) fn to_leaf(&self) -> Self {
        self.with_history(History::Leaf { id: tape::next_id() })
    }

    fn with_history(&self, history: History) -> Self {
        let Inner { shape, storage, keeping, .. } = &*self.0;
        Self::make_kept(*shape, storage.clone(), history, Keeping::new(keeping.precision, None))
    }

    pub(crate) fn leaf_id(&self) -> Option<u64> {
        match self.0.history {
            History::Leaf { id } => Some(id),
            _ => None,
        }
    }

    pub(crate) fn as_parent(&self) -> Parent {
        match &self.0.history {
            History::Constant | History::Tracked => Parent::None,
            History::Leaf { id } => Parent::Leaf { id: *id, shape: self.0.shape },
            History::Node(node) => {
                let (count, dtype, device) = (self.count(), self.dtype(), self.device());
                Parent::Node { node: Arc::clone(node), like: Like { count, dtype, device } }
            }
        }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let needs_grad = if self.requires_grad() { ", needs grad" } else { "" };
        write!(f, "Tensor({} {} on {}{needs_grad})", self.0.shape, self.dtype(), self.device())
    }
}

fn check_count(shape: &Shape, count: usize) -> Result<()> {
    if shape.count() == count { Ok(()) } else { Err(TensorError::Count { count, shape: *shape }) }
}

fn copy_unaligned(bytes: &[u8], dtype: DType) -> Result<Buffer> {
    let mut buffer = Buffer::scratch(Device::Cpu, dtype, bytes.len() / dtype.size_bytes())?;
    match dtype {
        DType::F32 => {
            let words = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            buffer.as_mut_slice::<f32>()?.iter_mut().zip(words).for_each(|(y, x)| *y = x);
        }
        DType::BF16 => {
            let words = bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]));
            buffer.as_mut_slice::<half::bf16>()?.iter_mut().zip(words).for_each(|(y, x)| *y = x);
        }
        DType::F16 => {
            let words = bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]));
            buffer.as_mut_slice::<half::f16>()?.iter_mut().zip(words).for_each(|(y, x)| *y = x);
        }
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unaligned_frozen_bytes_are_copied() {
        let mut bytes = vec![0u8; 13];
        let values = [1.5f32, -2.0, 3.25];
        for start in 0..2 {
            bytes[start..start + 12].copy_from_slice(bytemuck_bytes(&values).as_slice());
            let shared = SharedBytes::new(Arc::new(bytes.clone()), start, 12).unwrap();
            assert_eq!(Tensor::frozen([3], DType::F32, shared).unwrap().to_vec(), values);
        }
    }

    fn bytemuck_bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn an_op_without_backward_refuses_trainable_inputs() {
        let x = Tensor::leaf([1], &[1.0]).unwrap();
        let buffer = || Buffer::from_f32(Device::Cpu, &[2.0]).unwrap();
        let refused = Tensor::record_without_backward("argmax", [1], buffer(), &[&x]);
        assert!(matches!(refused, Err(TensorError::NoBackward { op: "argmax" })));
        assert!(tape::no_grad(|| Tensor::record_without_backward("argmax", [1], buffer(), &[&x])).is_ok());
    }

    #[test]
    fn shapes_must_be_filled() {
        assert!(matches!(Tensor::from_f32([2, 2], &[1.0; 3]), Err(TensorError::Count { count: 3, .. })));
        assert!(matches!(Tensor::from_f32([2], &[1.0; 2]).unwrap().item(), Err(TensorError::NotScalar { .. })));
    }
}
