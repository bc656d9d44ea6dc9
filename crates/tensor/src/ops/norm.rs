//! What the norms share.

use crate::{Result, Tensor};

/// Elements that are normalised together: the weight's, several times in a row of `x`.
pub(super) fn width(op: &'static str, x: &Tensor, weight: &Tensor) -> Result<usize> {
    let &[width] = weight.shape() else { return Err(weight.unexpected(op, "weight", "[hidden]")) };
    match x.shape().last() {
        Some(last) if width > 0 && last.is_multiple_of(width) => Ok(width),
        _ => Err(x.unexpected(op, "x", format!("rows of {width} or a multiple"))),
    }
}
