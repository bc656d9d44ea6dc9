//! A value with a shape and, if an op made it from trainable values, a history.

mod record;
mod transfer;

use std::sync::{Arc, OnceLock};

use device::{Buffer, DType, Device, Elements, SharedBytes};

use crate::saved::Recipe;
use crate::storage::{Memory, Read, Storage};
use crate::tape::{self, Like, Node, Parent};
use crate::{Result, Shape, TensorError};

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
    /// Depends on a trainable value, made under [`tape::Mode::Track`].
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
