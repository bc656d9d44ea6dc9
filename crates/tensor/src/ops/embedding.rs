//! `y[i] = scale * table[ids[i]]`.
//!
//! dtable[ids[i]] += scale dy[i]

use std::sync::Arc;

use device::{Buffer, DType};
use transformer::embedding::{Shape, backward, forward};

use crate::{Result, Tensor, TensorError};

/// Looks up the rows of `table`, `[vocab_size, hidden]` in any dtype, that `ids` name. `scale` is Gemma's
/// `sqrt(hidden)`, rounded to the model's dtype by the caller.
///
/// # Errors
/// [`TensorError::Kernel`] for an id outside the table, with its position; [`TensorError::Shape`].
pub fn embedding(ids: &Arc<[u32]>, table: &Tensor, scale: Option<f32>) -> Result<Tensor> {
    const OP: &str = "embedding";
    let (vocab_size, hidden) = table.matrix_shape(OP, "table")?;
    let shape = Shape { vocab_size, hidden, scale: scale.unwrap_or(1.0) };
    let mut y = Buffer::scratch(table.device(), DType::F32, ids.len() * hidden)?;
    forward(shape, table.read().elements(), ids, y.f32_mut()?).map_err(TensorError::kernel(OP))?;
    let saved = Arc::clone(ids);
    Tensor::record(OP, [ids.len(), hidden], y, &[table], move |grad_y, sink| {
        sink.accumulate(0, |dtable, add| {
            if !add {
                dtable.fill(0.0);
            }
            backward(shape, grad_y.f32()?, &saved, dtable).map_err(TensorError::kernel(OP))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};
    use crate::ops;

    #[test]
    fn gradients() {
        let ids: Arc<[u32]> = [2, 0, 2].into();
        let worst = gradcheck(&[values([4, 3], 1)], |x| embedding(&ids, &x[0], Some(1.5))).unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        // A table that is itself computed.
        let worst = gradcheck(&[values([4, 3], 1)], |x| embedding(&ids, &ops::scale(&x[0], 2.0)?, None)).unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn an_unknown_id_is_an_error() {
        let table = Tensor::from_f32([2, 1], &[0.0; 2]).unwrap();
        let error = embedding(&[0, 2].into(), &table, None).unwrap_err();
        assert!(error.to_string().contains("token 1 has id 2"), "{error}");
    }
}
