//! Operands that both directions read.

use device::DType;
use device::launch::DeviceBuffer;

use super::batch::Batch;
use super::params::{AttentionInputs, AttentionRows};
use crate::AttentionError;

/// A matrix with a row for each token, `[num_tokens, num_heads * head_dim]`, whose rows may lie apart: a block of the
/// columns of a fused projection, or of a prompt embedding.
#[derive(Clone, Copy, Debug)]
pub struct TokenRows<'a> {
    /// Where it lies.
    pub buffer: &'a DeviceBuffer,
    /// Elements of the buffer before the first row.
    pub offset: usize,
    /// Elements from row to row.
    pub row_stride: usize,
}

/// As [`crate::Prefix`], of the type of the keys.
#[derive(Clone, Copy, Debug)]
pub struct Prefix<'a> {
    /// Keys.
    pub k: TokenRows<'a>,
    /// Values.
    pub v: TokenRows<'a>,
}

impl<'a> TokenRows<'a> {
    /// Rows without gaps that are all of a buffer.
    pub fn contiguous(buffer: &'a DeviceBuffer, row_len: usize) -> Self {
        Self { buffer, offset: 0, row_stride: row_len }
    }

    /// Checks the rows and returns where they are.
    fn resolve(
        &self,
        argument: &'static str,
        num_rows: usize,
        row_len: usize,
        dtype: DType,
    ) -> Result<AttentionRows, AttentionError> {
        let stride = self.row_stride as u64;
        if num_rows == 0 {
            return Ok(AttentionRows { data: self.buffer.address(), stride });
        }
        if num_rows > 1 && self.row_stride < row_len {
            return Err(AttentionError::RowStride { argument, row_stride: self.row_stride, row_len });
        }
        let expected = self.row_stride.saturating_mul(num_rows - 1).saturating_add(row_len);
        let got = (self.buffer.len_bytes() / dtype.size_bytes()).saturating_sub(self.offset);
        if got < expected {
            return Err(AttentionError::Length { argument, expected, got });
        }
        Ok(AttentionRows { data: self.buffer.address() + (self.offset * dtype.size_bytes()) as u64, stride })
    }
}

/// Operands as they were given.
pub(super) struct Operands<'a> {
    pub(super) q: TokenRows<'a>,
    pub(super) k: TokenRows<'a>,
    pub(super) v: TokenRows<'a>,
    pub(super) prefix: Option<Prefix<'a>>,
}

impl<'a> Operands<'a> {
    /// Checks every operand against the batch.
    pub(super) fn resolve(&self, batch: &Batch<'_>) -> Result<AttentionInputs, AttentionError> {
        let shape = batch.shape();
        let (spec, dtype, kv_len) = (shape.spec(), batch.dtype(), batch.kv_row_len());
        let none = AttentionRows { data: 0, stride: 0 };
        let (prefix_k, prefix_v) = match &self.prefix {
            None if shape.prefix_len() > 0 => {
                return Err(AttentionError::PrefixMissing { prefix_len: shape.prefix_len() });
            }
            None => (none, none),
            Some(prefix) => (
                prefix.k.resolve("prefix.k", shape.prefix_len(), kv_len, dtype)?,
                prefix.v.resolve("prefix.v", shape.prefix_len(), kv_len, dtype)?,
            ),
        };
        // `Batch::new` has checked that these fit 32 bits.
        let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(AttentionInputs {
            q: self.q.resolve("q", shape.num_q_tokens(), batch.q_row_len(), dtype)?,
            k: self.k.resolve("k", shape.num_kv_tokens(), kv_len, dtype)?,
            v: self.v.resolve("v", shape.num_kv_tokens(), kv_len, dtype)?,
            prefix_k,
            prefix_v,
            bias: batch.bias.as_ref().map_or(0, |bias| bias.values.address()),
            bias_len: batch.bias.as_ref().map_or(0, |bias| bias.len as u64),
            bias_behind: batch.bias.as_ref().map_or(0, |bias| bias.behind as u64),
            num_q_tokens: shape.num_q_tokens() as u64,
            prefix_len: size(shape.prefix_len()),
            num_kv_heads: size(spec.num_kv_heads),
            group: size(shape.group()),
            head_dim: size(spec.head_dim),
            causal: u32::from(spec.causal),
            // No sequence is longer.
            window: spec.window.map_or(u32::MAX, size),
            softmax_scale: spec.softmax_scale,
            softcap: spec.softcap.unwrap_or(0.0),
        })
    }

    pub(super) fn buffers(&self) -> impl Iterator<Item = &'a DeviceBuffer> {
        let prefix = self.prefix.into_iter().flat_map(|prefix| [prefix.k, prefix.v]);
        [self.q, self.k, self.v].into_iter().chain(prefix).map(|rows| rows.buffer)
    }
}

/// Checks an array without gaps.
pub(super) fn check_len(
    argument: &'static str,
    buffer: &DeviceBuffer,
    dtype: DType,
    expected: usize,
) -> Result<(), AttentionError> {
    buffer.expect_elements(dtype, expected).map_err(|got| AttentionError::Length { argument, expected, got })
}
