//! Outputs of ops, with what leads back to their inputs.

use std::ops::Range;
use std::sync::Arc;

use device::{Buffer, DType, Device};

use super::{History, Inner, Keeping, Tensor, check_count};
use crate::saved::{Recipe, narrowed};
use crate::storage::Storage;
use crate::tape::{self, Mode, Node};
use crate::{Result, Shape, Sink, TensorError};

impl Tensor {
    /// The same tensor, which `compute` can make again from what ops keep anyway: those that need it in their backward keep
    /// it in that way. Nothing changes unless ops are [recorded](Tensor::is_worth_a_recipe).
    pub(crate) fn with_recipe(self, compute: impl Fn() -> Result<Tensor> + Send + Sync + 'static) -> Self {
        if !self.is_worth_a_recipe() {
            return self;
        }
        let Inner { shape, storage, history, keeping } = &*self.0;
        let keeping = Keeping::new(keeping.precision, Some(Recipe::new(compute)));
        Self::make_kept(*shape, storage.clone(), history.clone(), keeping)
    }

    /// Whether ops are recorded, and not those of a block that is computed again, which keep the elements: unless they would keep
    /// fewer bits of them, as recomputing a block changes none.
    pub(crate) fn is_worth_a_recipe(&self) -> bool {
        match tape::mode() {
            Mode::Record => true,
            Mode::RecordAgain => self.is_narrowed(),
            Mode::Track | Mode::Off => false,
        }
    }

    pub(crate) fn recipe(&self) -> Option<Arc<Recipe>> {
        self.0.keeping.recipe.clone()
    }

    /// Whether it is kept in fewer bits than it has.
    fn is_narrowed(&self) -> bool {
        self.precision() == DType::BF16 && self.dtype() == DType::F32 && self.device() == Device::Cpu
    }

    /// The elements without history, in bf16 if they are f32 that a model computed in bf16.
    pub(crate) fn kept(&self) -> Result<Tensor> {
        let keeping = &self.0.keeping;
        if !self.is_narrowed() {
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
            Mode::Record | Mode::RecordAgain if needed => History::Node(Node::new(op, parents, backward)),
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
}
