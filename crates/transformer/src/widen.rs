//! Operands that are stored in fewer bits than loops compute with: small weights, widened to f32 once for a whole call, and
//! activations, widened a block at a time.

use std::cell::RefCell;
use std::ops::Range;

use device::{Buffer, DType, Device, Elements};

use crate::Result;

/// The vector that a norm or a bias is computed with.
pub(crate) enum Widened<'a> {
    /// It is stored as f32.
    Borrowed(&'a [f32]),
    /// It is stored otherwise, or was changed.
    Owned(Buffer),
}

impl<'a> Widened<'a> {
    /// `elements + offset`.
    pub(crate) fn new(elements: Elements<'a>, offset: f32) -> Result<Self> {
        match elements {
            Elements::F32(slice) if offset == 0.0 => Ok(Widened::Borrowed(slice)),
            _ => {
                let mut buffer = Buffer::scratch(Device::Cpu, DType::F32, elements.len())?;
                let values = buffer.f32_mut()?;
                elements.widen_into(values);
                if offset != 0.0 {
                    values.iter_mut().for_each(|w| *w += offset);
                }
                Ok(Widened::Owned(buffer))
            }
        }
    }

    pub(crate) fn as_slice(&self) -> Result<&[f32]> {
        match self {
            Widened::Borrowed(slice) => Ok(slice),
            Widened::Owned(buffer) => Ok(buffer.f32()?),
        }
    }
}

/// Calls `body` with a part of `elements` in f32: as it is, or widened in memory of this thread, which a block of rows is small
/// enough to keep in the cache.
pub(crate) fn with_f32<R>(elements: Elements<'_>, part: Range<usize>, body: impl FnOnce(&[f32]) -> R) -> R {
    thread_local! {
        /// What was lent before: as many as parts are widened at a time.
        static ROOMS: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
    }
    if let Elements::F32(values) = elements {
        return body(&values[part]);
    }
    let mut room = ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if room.len() < part.len() {
        room.resize(part.len(), 0.0);
    }
    let values = &mut room[..part.len()];
    elements.slice(part.start, part.len()).widen_into(values);
    let result = body(values);
    ROOMS.with_borrow_mut(|rooms| rooms.push(room));
    result
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn parts_are_widened_side_by_side() {
        let [a, b] = [1.0, -0.5].map(|step: f32| (0..9).map(|i| bf16::from_f32(step * i as f32)).collect::<Vec<_>>());
        let stored = [3.0f32, 4.0, 5.0];
        // Twice: what was lent is lent again, and longer parts get more of it.
        for part in [2..5, 1..9] {
            with_f32(a[..].into(), part.clone(), |a| {
                with_f32(b[..].into(), part.clone(), |b| {
                    let expected: Vec<f32> = part.clone().map(|i| i as f32).collect();
                    assert_eq!(a, expected);
                    assert!(b.iter().zip(&expected).all(|(b, a)| *b == -0.5 * a) && b.len() == a.len());
                });
            });
        }
        with_f32(stored[..].into(), 1..3, |x| assert_eq!(x.as_ptr(), stored[1..].as_ptr()));
    }
}
