//! `y[i] = scale * table[ids[i]]`.
//!
//! `dtable[ids[i]] += scale dy[i]` where `ids[i] != padding_idx`

use std::sync::Arc;

use device::{Buffer, Device};
use transformer::embedding::{Shape, backward, forward};
use transformer::launch::rows::{Selected, gather, scatter_add};
use transformer::rows;

use crate::{Result, Tensor, TensorError};

/// What an embedding does beside looking up rows; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbeddingOptions {
    /// Factor of the rows: Gemma's `sqrt(hidden)`, rounded to the model's dtype by the caller.
    pub scale: Option<f32>,
    /// The token whose row gets no gradient, as in torch's `Embedding(padding_idx)`.
    pub padding_idx: Option<u32>,
}

/// Looks up the rows of `table`, `[vocab_size, hidden]` in any dtype, that `ids` name.
///
/// # Errors
/// [`TensorError::Kernel`] for an id outside the table, with its position; [`TensorError::Shape`].
pub fn embedding(ids: &Arc<[u32]>, table: &Tensor, options: EmbeddingOptions) -> Result<Tensor> {
    const OP: &str = "embedding";
    let (vocab_size, hidden) = table.matrix_shape(OP, "table")?;
    let EmbeddingOptions { scale, padding_idx } = options;
    let shape = Shape { vocab_size, hidden, scale: scale.unwrap_or(1.0), padding_idx };
    let dtype = table.compute_dtype();
    let mut y = Buffer::scratch(table.device(), dtype, ids.len() * hidden)?;
    if table.device() != Device::Cpu {
        let (memory, all_rows) =
            (table.on_device(OP, "table", dtype)?, rows::Shape { rows: vocab_size, width: hidden });
        let selected = Selected::new(memory.executor(), ids, vocab_size).map_err(TensorError::kernel(OP))?;
        gather(all_rows, shape.scale, (dtype, &memory), &selected, (dtype, y.memory_mut()?))
            .map_err(TensorError::kernel(OP))?;
        return Tensor::record(OP, [ids.len(), hidden], y, &[table], move |grad_y, sink| {
            sink.accumulate_on(0, dtype, |dtable, add| {
                if !add {
                    dtable.zero()?;
                }
                let (dy, dtable) = ((dtype, grad_y.memory()?), (dtype, dtable));
                scatter_add(all_rows, shape.scale, dy, &selected, dtable, padding_idx).map_err(TensorError::kernel(OP))
            })
        });
    }
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
        let worst = gradcheck(&[values([4, 3], 1)], |x| {
            embedding(&ids, &x[0], EmbeddingOptions { scale: Some(1.5), padding_idx: None })
        })
        .unwrap();
        // Linear: rounding only.
        assert!(worst <= 1e-4, "{worst}");
        // A table that is itself computed.
        let worst =
            gradcheck(&[values([4, 3], 1)], |x| embedding(&ids, &ops::scale(&x[0], 2.0)?, EmbeddingOptions::default()))
                .unwrap();
        assert!(worst <= 1e-4, "{worst}");
    }

    #[test]
    fn an_unknown_id_is_an_error() {
        let table = Tensor::from_f32([2, 1], &[0.0; 2]).unwrap();
        let error = embedding(&[0, 2].into(), &table, EmbeddingOptions::default()).unwrap_err();
        assert!(error.to_string().contains("token 1 has id 2"), "{error}");
    }
}
