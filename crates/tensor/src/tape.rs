//! What is recorded while ops run.
//!
//! Every recorded op becomes a node: its parents and a closure that turns the gradient of its output into gradients of
//! its inputs. Nodes are numbered as they are made, so a parent's number is always smaller than a child's, and walking the
//! numbers downwards is a topological order.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use device::{Buffer, DType, Device};

use crate::{Result, Shape, Sink, Tensor};

/// Takes the gradient of the output and gives gradients to the inputs.
pub(crate) type Backward = Box<dyn FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send>;

/// One recorded op.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) op: &'static str,
    pub(crate) parents: Vec<Parent>,
    /// Taken when it runs, which frees what it saved.
    pub(crate) backward: Mutex<Option<Backward>>,
}

impl Node {
    pub(crate) fn new(
        op: &'static str,
        parents: &[&Tensor],
        backward: impl FnOnce(Buffer, &mut Sink<'_>) -> Result<()> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: next_id(),
            op,
            parents: parents.iter().map(|p| p.as_parent()).collect(),
            backward: Mutex::new(Some(Box::new(backward))),
        })
    }
}

impl Drop for Node {
    /// Drops what lies behind this node one after the other: by itself each node would drop its parents inside its own drop,
    /// and the history of a deep model would exhaust the stack.
    fn drop(&mut self) {
        let mut behind = std::mem::take(&mut self.parents);
        while let Some(parent) = behind.pop() {
            if let Parent::Node { node, .. } = parent
                && let Some(mut node) = Arc::into_inner(node)
            {
                behind.append(&mut node.parents);
            }
        }
    }
}

/// Where the gradient of an input goes.
#[derive(Clone)]
pub(crate) enum Parent {
    /// The input needs none.
    None,
    /// A trainable leaf.
    Leaf { id: u64, shape: Shape },
    /// The output of a recorded op, whose gradient is like it.
    Node { node: Arc<Node>, like: Like },
}

/// What a buffer has in common with another.
#[derive(Clone, Copy)]
pub(crate) struct Like {
    pub(crate) count: usize,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
}

impl Like {
    pub(crate) fn scratch(self) -> Result<Buffer> {
        Ok(Buffer::scratch(self.device, self.dtype, self.count)?)
    }
}

/// Whether ops are recorded on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Ops are recorded: training.
    Record,
    /// Ops are recorded for a backward that follows at once, that of a block that is computed again. What they keep lives so
    /// shortly that nothing is computed a third time instead.
    RecordAgain,
    /// Ops are not recorded, and their outputs still tell whether they depend on a trainable value: the first pass
    /// through a block that is recomputed in backward.
    Track,
    /// Ops are not recorded: evaluation and generation.
    Off,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::Record) };
}

/// The mode of this thread.
pub fn mode() -> Mode {
    MODE.get()
}

/// Whether ops keep what their backward needs.
pub(crate) fn is_recording() -> bool {
    matches!(mode(), Mode::Record | Mode::RecordAgain)
}

/// Runs `body` in `mode`.
pub fn with_mode<R>(mode: Mode, body: impl FnOnce() -> R) -> R {
    struct Restore(Mode);
    impl Drop for Restore {
        fn drop(&mut self) {
            MODE.set(self.0);
        }
    }
    let _restore = Restore(MODE.replace(mode));
    body()
}

/// Runs `body` without recording.
pub fn no_grad<R>(body: impl FnOnce() -> R) -> R {
    with_mode(Mode::Off, body)
}

/// The next number, for a node or a leaf.
pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use crate::{Tensor, ops};

    #[test]
    fn a_long_history_is_dropped_on_a_small_stack() {
        let drop_history = || {
            let mut x = Tensor::leaf([1], &[1.0]).unwrap();
            for _ in 0..100_000 {
                x = ops::scale(&x, 1.0).unwrap();
            }
        };
        std::thread::Builder::new().stack_size(256 << 10).spawn(drop_history).unwrap().join().unwrap();
    }
}
