//! Folding a low-rank update into a weight.

use gemm::{Matrix, MatrixMut, Update, gemm};
use model::ModuleKind;
use tensor::{Layout, Tensor};

use crate::PeftError;

/// Adds `scaling B A` to the weight `values` of a module, in the layout it is stored in. `a` is `[r, in]`, of an embedding
/// `[vocab, r]`; `b` is `[out, r]`.
pub(crate) fn low_rank(
    scaling: f32,
    a: &Tensor,
    b: &Tensor,
    kind: ModuleKind,
    values: &mut [f32],
) -> Result<(), PeftError> {
    let ((a_rows, a_columns), (b_rows, b_columns)) = (a.matrix_shape("merge", "A")?, b.matrix_shape("merge", "B")?);
    let (a, b) = (a.read(), b.read());
    let (a, b) = (Matrix::new(a.elements(), a_rows, a_columns), Matrix::new(b.elements(), b_rows, b_columns));
    let (left, right) = match kind {
        ModuleKind::Linear { layout: Layout::OutIn, .. }
        | ModuleKind::Norm { .. }
        | ModuleKind::Conv2d { .. }
        | ModuleKind::Parameter => (b, a),
        ModuleKind::Linear { layout: Layout::InOut, .. } => (a.transposed(), b.transposed()),
        ModuleKind::Embedding { .. } => (a, b.transposed()),
    };
    let (rows, columns) = (left.rows(), right.cols());
    Ok(gemm(scaling, left, right, Update::Accumulate, MatrixMut::new(values, rows, columns))?)
}
