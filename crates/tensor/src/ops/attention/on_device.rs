//! Attention as kernels.

use device::launch::DeviceBuffer;
use device::{Buffer, DType};
use prefix_attention::launch::{
    Backward, Batch, Forward, GradKeyValue, Prefix, RelativeBias, TokenRows, backward, forward,
};
use prefix_attention::{AttentionShape, AttentionSpec};

use super::{OP, Operands};
use crate::{RelativeBuckets, Result, Sink, Tensor, TensorError};

/// As [`super::attention_with_bias`]. What is stored has the type of `q`; scores, statistics and the gradients of a prefix and
/// of a bias are f32.
pub(super) fn attention(
    operands: Operands,
    parents: &[&Tensor],
    bias: Option<(&Tensor, RelativeBuckets)>,
) -> Result<Tensor> {
    let dtype = operands.q.dtype();
    let memory = Memory::new(operands, bias)?;
    let (shape, q) = (memory.operands.shape()?, &memory.operands.q);
    let mut o = Buffer::scratch(q.device(), dtype, q.count())?;
    let mut softmax_lse =
        Buffer::scratch(q.device(), DType::F32, shape.num_q_tokens() * memory.operands.spec.num_heads)?;
    {
        let batch = memory.batch(shape)?;
        let (o, softmax_lse) = (o.memory_mut()?, softmax_lse.memory_mut()?);
        let args = Forward {
            q: memory.query(),
            k: memory.key(&memory.k),
            v: memory.key(&memory.v),
            prefix: memory.prefix(),
            o,
            softmax_lse,
        };
        forward(&batch, args).map_err(TensorError::kernel(OP))?;
    }
    let o = Tensor::new(q.shape(), o)?;
    let saved = o.clone();
    Ok(Tensor::record_output(OP, &o, parents, move |grad_o, sink| {
        memory.backward(&saved.on_device(OP, "o", dtype)?, &softmax_lse, &grad_o, sink)
    }))
}

/// The operands in one type.
struct Memory {
    operands: Operands,
    dtype: DType,
    q: DeviceBuffer,
    k: DeviceBuffer,
    v: DeviceBuffer,
    prefix: Option<(DeviceBuffer, DeviceBuffer)>,
    /// In f32.
    bias: Option<(DeviceBuffer, RelativeBuckets)>,
}

impl Memory {
    fn new(operands: Operands, bias: Option<(&Tensor, RelativeBuckets)>) -> Result<Self> {
        let dtype = operands.q.dtype();
        let of = |argument, tensor: &Tensor| tensor.on_device(OP, argument, dtype);
        let prefix = match &operands.prefix {
            Some((k, v)) => Some((of("prefix.k", k)?, of("prefix.v", v)?)),
            None => None,
        };
        let bias = match bias {
            Some((table, buckets)) => {
                super::expect("bias", table, [buckets.num_buckets(), operands.spec.num_heads])?;
                Some((table.on_device(OP, "bias", DType::F32)?, buckets))
            }
            None => None,
        };
        let (q, k, v) = (of("q", &operands.q)?, of("k", &operands.k)?, of("v", &operands.v)?);
        Ok(Self { operands, dtype, q, k, v, prefix, bias })
    }

    /// The sequences, cut into tiles for the kernels.
    fn batch<'a>(&self, shape: AttentionShape<'a>) -> Result<Batch<'a>> {
        let batch = Batch::new(self.q.executor(), shape, self.dtype);
        match &self.bias {
            None => batch,
            Some((table, buckets)) => {
                batch.and_then(|batch| batch.with_bias(RelativeBias { table, buckets: *buckets }))
            }
        }
        .map_err(TensorError::kernel(OP))
    }

    fn query(&self) -> TokenRows<'_> {
        let AttentionSpec { num_heads, head_dim, .. } = self.operands.spec;
        TokenRows::contiguous(&self.q, num_heads * head_dim)
    }

    fn key<'a>(&self, rows: &'a DeviceBuffer) -> TokenRows<'a> {
        let AttentionSpec { num_kv_heads, head_dim, .. } = self.operands.spec;
        TokenRows::contiguous(rows, num_kv_heads * head_dim)
    }

    fn prefix(&self) -> Option<Prefix<'_>> {
        self.prefix.as_ref().map(|(k, v)| Prefix { k: self.key(k), v: self.key(v) })
    }

    fn backward(&self, o: &DeviceBuffer, softmax_lse: &Buffer, grad_o: &Buffer, sink: &mut Sink<'_>) -> Result<()> {
        let Operands { q, k, v, prefix, .. } = &self.operands;
        let scratch = |of: &Tensor, dtype| Buffer::scratch(of.device(), dtype, of.count());
        let wants_kv = sink.needs(1) || sink.needs(2);
        let mut grad_q = if sink.needs(0) { Some(scratch(q, self.dtype)?) } else { None };
        let mut grad_kv = if wants_kv { Some((scratch(k, self.dtype)?, scratch(v, self.dtype)?)) } else { None };
        let mut grad_prefix = match prefix {
            Some((k, v)) if sink.needs(3) || sink.needs(4) => Some((scratch(k, DType::F32)?, scratch(v, DType::F32)?)),
            _ => None,
        };
        let of_bias = if prefix.is_some() { 5 } else { 3 };
        let mut grad_bias = match &self.bias {
            Some((_, buckets)) if sink.needs(of_bias) => {
                let count = buckets.num_buckets() * self.operands.spec.num_heads;
                Some(Buffer::scratch(q.device(), DType::F32, count)?)
            }
            _ => None,
        };
        let args = Backward {
            q: self.query(),
            k: self.key(&self.k),
            v: self.key(&self.v),
            prefix: self.prefix(),
            o,
            softmax_lse: softmax_lse.memory()?,
            grad_o: grad_o.memory()?,
            grad_q: grad_q.as_mut().map(Buffer::memory_mut).transpose()?,
            grad_kv: grad_kv.as_mut().map(key_value).transpose()?,
            grad_prefix: grad_prefix.as_mut().map(key_value).transpose()?,
            grad_bias: grad_bias.as_mut().map(Buffer::memory_mut).transpose()?,
        };
        backward(&self.batch(self.operands.shape()?)?, args).map_err(TensorError::kernel(OP))?;
        let (grad_k, grad_v) = grad_kv.unzip();
        let (grad_prefix_k, grad_prefix_v) = grad_prefix.unzip();
        super::give_wanted([grad_q, grad_k, grad_v, grad_prefix_k, grad_prefix_v], sink)?;
        grad_bias.map_or(Ok(()), |grad| sink.give(of_bias, grad))
    }
}

fn key_value((k, v): &mut (Buffer, Buffer)) -> Result<GradKeyValue<'_>> {
    Ok(GradKeyValue { k: k.memory_mut()?, v: v.memory_mut()? })
}
