//! Named references to the operands of each entry point.

use device::DType;

use crate::{AttentionError, AttentionShape, RelativeBias};

/// A matrix with a row for each token, `[num_tokens, num_heads * head_dim]`, whose rows may lie apart: a block of the
/// columns of a fused projection, or of a prompt embedding.
#[derive(Clone, Copy, Debug)]
pub struct TokenRows<'a> {
    /// The first row's first element up to the last row's last one, or more.
    pub data: &'a [f32],
    /// From row to row.
    pub row_stride: usize,
}

/// Keys and values set before the tokens' own: `[prefix_len, num_kv_heads * head_dim]` each, shared by all sequences,
/// visible to every query, without position.
#[derive(Clone, Copy, Debug)]
pub struct Prefix<'a> {
    /// Keys.
    pub k: TokenRows<'a>,
    /// Values.
    pub v: TokenRows<'a>,
}

/// Operands of [`crate::forward()`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// Queries `[num_q_tokens, num_heads * head_dim]`.
    pub q: TokenRows<'a>,
    /// Keys `[num_kv_tokens, num_kv_heads * head_dim]`.
    pub k: TokenRows<'a>,
    /// Values, as `k`.
    pub v: TokenRows<'a>,
    /// Prefix keys and values, where the shape has some.
    pub prefix: Option<Prefix<'a>>,
    /// What is added to the scores by the distance of key and query.
    pub bias: Option<RelativeBias<'a>>,
    /// What operands of products may be rounded to. In bf16 queries, keys, values and probabilities may be read as the nearest bf16,
    /// which tiles multiply at six times the rate; in any other they are read as they are.
    pub precision: DType,
    /// Result `[num_q_tokens, num_heads * head_dim]`, without gaps. Overwritten.
    pub o: &'a mut [f32],
    /// `ln sum_j exp(s_ij)` as `[num_heads, num_q_tokens]`, for the backward. Overwritten.
    pub softmax_lse: &'a mut [f32],
}

/// Gradients of keys and values, without gaps. Overwritten.
#[derive(Debug)]
pub struct GradKeyValue<'a> {
    /// Of the keys.
    pub k: &'a mut [f32],
    /// Of the values.
    pub v: &'a mut [f32],
}

/// Operands of [`crate::backward()`]. A gradient that is `None` is not computed, and the work only it needs is left out.
#[derive(Debug)]
pub struct Backward<'a> {
    /// As in [`Forward`].
    pub q: TokenRows<'a>,
    /// As in [`Forward`].
    pub k: TokenRows<'a>,
    /// As in [`Forward`].
    pub v: TokenRows<'a>,
    /// As in [`Forward`].
    pub prefix: Option<Prefix<'a>>,
    /// As in [`Forward`].
    pub bias: Option<RelativeBias<'a>>,
    /// As in [`Forward`], for the gradients of `o` and of the scores too.
    pub precision: DType,
    /// What [`crate::forward()`] wrote.
    pub o: &'a [f32],
    /// What [`crate::forward()`] wrote.
    pub softmax_lse: &'a [f32],
    /// Gradient of `o`.
    pub grad_o: &'a [f32],
    /// Gradient of `q`, `[num_q_tokens, num_heads * head_dim]` without gaps. Overwritten.
    pub grad_q: Option<&'a mut [f32]>,
    /// Gradients of `k` and `v`, `[num_kv_tokens, num_kv_heads * head_dim]`.
    pub grad_kv: Option<GradKeyValue<'a>>,
    /// Gradients of the prefix, `[prefix_len, num_kv_heads * head_dim]`, summed over sequences in order.
    pub grad_prefix: Option<GradKeyValue<'a>>,
    /// Gradient of the bias, `[num_buckets, num_heads]`, summed over sequences in order. Overwritten.
    pub grad_bias: Option<&'a mut [f32]>,
}

impl<'a> TokenRows<'a> {
    /// Rows without gaps.
    pub fn contiguous(data: &'a [f32], row_len: usize) -> Self {
        Self { data, row_stride: row_len }
    }

    fn check(&self, argument: &'static str, num_rows: usize, row_len: usize) -> Result<(), AttentionError> {
        if num_rows == 0 {
            return Ok(());
        }
        if num_rows > 1 && self.row_stride < row_len {
            return Err(AttentionError::RowStride { argument, row_stride: self.row_stride, row_len });
        }
        let expected = self.row_stride.saturating_mul(num_rows - 1).saturating_add(row_len);
        let got = self.data.len();
        if got < expected { Err(AttentionError::Length { argument, expected, got }) } else { Ok(()) }
    }

    /// The elements from column `column` of row `row` on.
    pub(crate) fn from(&self, row: usize, column: usize) -> &'a [f32] {
        &self.data[row * self.row_stride + column..]
    }
}

fn check_len(argument: &'static str, slice: &[f32], expected: usize) -> Result<(), AttentionError> {
    let got = slice.len();
    if got == expected { Ok(()) } else { Err(AttentionError::Length { argument, expected, got }) }
}

fn check_inputs(
    shape: &AttentionShape<'_>,
    [q, k, v]: [&TokenRows<'_>; 3],
    prefix: Option<&Prefix<'_>>,
    bias: Option<&RelativeBias<'_>>,
) -> Result<(), AttentionError> {
    bias.map_or(Ok(()), |bias| bias.check(shape))?;
    let (q_len, kv_len) = row_lens(shape);
    q.check("q", shape.num_q_tokens(), q_len)?;
    k.check("k", shape.num_kv_tokens(), kv_len)?;
    v.check("v", shape.num_kv_tokens(), kv_len)?;
    match prefix {
        None if shape.prefix_len() > 0 => Err(AttentionError::PrefixMissing { prefix_len: shape.prefix_len() }),
        None => Ok(()),
        Some(prefix) => {
            prefix.k.check("prefix.k", shape.prefix_len(), kv_len)?;
            prefix.v.check("prefix.v", shape.prefix_len(), kv_len)
        }
    }
}

/// Elements of a token's queries and of its keys.
fn row_lens(shape: &AttentionShape<'_>) -> (usize, usize) {
    let spec = shape.spec();
    (spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim)
}

impl Forward<'_> {
    pub(crate) fn check(&self, shape: &AttentionShape<'_>) -> Result<(), AttentionError> {
        check_inputs(shape, [&self.q, &self.k, &self.v], self.prefix.as_ref(), self.bias.as_ref())?;
        check_len("o", self.o, shape.num_q_tokens() * row_lens(shape).0)?;
        check_len("softmax_lse", self.softmax_lse, shape.num_q_tokens() * shape.spec().num_heads)
    }
}

impl Backward<'_> {
    pub(crate) fn check(&self, shape: &AttentionShape<'_>) -> Result<(), AttentionError> {
        check_inputs(shape, [&self.q, &self.k, &self.v], self.prefix.as_ref(), self.bias.as_ref())?;
        let (q_len, kv_len) = row_lens(shape);
        let q_count = shape.num_q_tokens() * q_len;
        check_len("o", self.o, q_count)?;
        check_len("softmax_lse", self.softmax_lse, shape.num_q_tokens() * shape.spec().num_heads)?;
        check_len("grad_o", self.grad_o, q_count)?;
        if let Some(grad_q) = &self.grad_q {
            check_len("grad_q", grad_q, q_count)?;
        }
        if let Some(grad) = &self.grad_kv {
            check_len("grad_kv.k", grad.k, shape.num_kv_tokens() * kv_len)?;
            check_len("grad_kv.v", grad.v, shape.num_kv_tokens() * kv_len)?;
        }
        if let Some(grad) = &self.grad_prefix {
            check_len("grad_prefix.k", grad.k, shape.prefix_len() * kv_len)?;
            check_len("grad_prefix.v", grad.v, shape.prefix_len() * kv_len)?;
        }
        if let Some(grad) = &self.grad_bias {
            check_len("grad_bias", grad, self.bias.map_or(0, |bias| bias.table.len()))?;
        }
        Ok(())
    }
}
