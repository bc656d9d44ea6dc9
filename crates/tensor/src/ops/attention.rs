//! Attention over packed sequences, with keys and values set before every sequence.
//!
//! o_i = sum_j p_ij v_j      p_i = softmax_j(softmax_scale q_i . k_j + table_bucket(j - i))
//!
//! dv_j = sum_i p_ij do_i      ds_ij = p_ij (do_i . v_j - do_i . o_i)
//! dq_i = softmax_scale sum_j ds_ij k_j      dk_j = softmax_scale sum_i ds_ij q_i
//! dtable_b = sum ds_ij over the pairs of bucket b
//!
//! The operands, the result and the log-sum-exp of each row are saved; probabilities are computed again from them.

mod on_device;

use std::sync::Arc;

use device::{Buffer, DType, Device};
use prefix_attention::{
    AttentionShape, AttentionSpec, Backward, Forward, GradKeyValue, Prefix, RelativeBias, RelativeBuckets, TokenRows,
    backward, forward,
};

use crate::saved::Saved;
use crate::{Read, Result, Sequences, Sink, Tensor, TensorError};

const OP: &str = "attention";

/// Attention of `q`, `[num_q_tokens, num_heads * head_dim]`, to `k` and `v`, `[num_kv_tokens, num_kv_heads * head_dim]`,
/// in the shape of `q`. `prefix` are keys and values, `[prefix_len, num_kv_heads * head_dim]` each, that every query sees
/// before those of its own sequence.
///
/// # Errors
/// [`TensorError::Shape`] or [`TensorError::Kernel`] if the operands do not fit `spec` and `sequences`;
/// [`TensorError::DType`] unless they are f32.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    spec: &AttentionSpec,
    sequences: &Arc<Sequences>,
    prefix: Option<(&Tensor, &Tensor)>,
) -> Result<Tensor> {
    attention_with_bias(q, k, v, spec, sequences, prefix, None)
}

/// As [`attention`], with a term for the scores that depends on the distance of key and query. `bias` is its table,
/// `[num_buckets, num_heads]` in any dtype, and the rule that finds a row of it.
///
/// # Errors
/// As [`attention`].
pub fn attention_with_bias(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    spec: &AttentionSpec,
    sequences: &Arc<Sequences>,
    prefix: Option<(&Tensor, &Tensor)>,
    bias: Option<(&Tensor, RelativeBuckets)>,
) -> Result<Tensor> {
    let operands = Operands {
        q: q.detach(),
        k: k.detach(),
        v: v.detach(),
        prefix: prefix.map(|(k, v)| (k.detach(), v.detach())),
        bias: None,
        spec: *spec,
        sequences: Arc::clone(sequences),
        precision: q.precision(),
    };
    let of_prefix = prefix.into_iter().flat_map(|(k, v)| [k, v]);
    let parents: Vec<&Tensor> = [q, k, v].into_iter().chain(of_prefix).chain(bias.map(|(table, _)| table)).collect();
    if q.device() != Device::Cpu {
        return on_device::attention(operands, &parents, bias);
    }
    let bias = bias.map(|(table, buckets)| Bias::new(table, buckets, spec)).transpose()?;
    let operands = Operands { bias, ..operands };
    let (shape, precision) = (operands.shape()?, operands.precision);
    let mut o = Buffer::scratch(q.device(), DType::F32, q.count())?;
    let mut softmax_lse = Buffer::scratch(q.device(), DType::F32, shape.num_q_tokens() * spec.num_heads)?;
    {
        let read = operands.read();
        let [q, k, v] = read.rows(spec)?;
        let (prefix, bias) = (read.prefix(spec)?, operands.bias());
        let (o, softmax_lse) = (o.f32_mut()?, softmax_lse.f32_mut()?);
        let args = Forward { q, k, v, prefix, bias, precision, o, softmax_lse };
        forward(&shape, args).map_err(TensorError::kernel(OP))?;
    }
    let o = Tensor::new(q.shape(), o)?.with_precision(precision);
    let (saved_q, saved_k, saved_v, saved_o) = (Saved::new(q)?, Saved::new(k)?, Saved::new(v)?, Saved::new(&o)?);
    let Operands { prefix, bias, spec, sequences, precision, .. } = operands;
    Ok(Tensor::record_output(OP, &o, &parents, move |grad_o, sink| {
        let (q, k, v) = (saved_q.get()?, saved_k.get()?, saved_v.get()?);
        let operands = Operands { q, k, v, prefix, bias, spec, sequences, precision };
        operands.backward(&saved_o.get()?, &softmax_lse, &grad_o, sink)
    }))
}

/// What the op computes with, without its history.
struct Operands {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prefix: Option<(Tensor, Tensor)>,
    bias: Option<Bias>,
    spec: AttentionSpec,
    sequences: Arc<Sequences>,
    /// What products on the CPU round their operands to.
    precision: DType,
}

/// A table of biases, widened.
struct Bias {
    table: Vec<f32>,
    buckets: RelativeBuckets,
}

impl Bias {
    fn new(table: &Tensor, buckets: RelativeBuckets, spec: &AttentionSpec) -> Result<Self> {
        expect("bias", table, [buckets.num_buckets(), spec.num_heads])?;
        Ok(Self { table: table.to_vec(), buckets })
    }
}

impl Operands {
    /// Checks every operand against the others.
    fn shape(&self) -> Result<AttentionShape<'_>> {
        let prefix_len = self.prefix.as_ref().map_or(0, |(k, _)| k.shape()[0]);
        let sequences = &self.sequences;
        let shape = AttentionShape::new(self.spec, sequences.cu_seqlens_q(), sequences.cu_seqlens_kv(), prefix_len)
            .map_err(TensorError::kernel(OP))?;
        let AttentionSpec { num_heads, num_kv_heads, head_dim, .. } = self.spec;
        let (queries, keys) = (shape.num_q_tokens(), shape.num_kv_tokens());
        let prefix = self.prefix.iter().flat_map(|(k, v)| [("prefix.k", k, prefix_len), ("prefix.v", v, prefix_len)]);
        expect("q", &self.q, [queries, num_heads * head_dim])?;
        [("k", &self.k, keys), ("v", &self.v, keys)]
            .into_iter()
            .chain(prefix)
            .try_for_each(|(argument, tensor, rows)| expect(argument, tensor, [rows, num_kv_heads * head_dim]))?;
        Ok(shape)
    }

    fn bias(&self) -> Option<RelativeBias<'_>> {
        self.bias.as_ref().map(|bias| RelativeBias { table: &bias.table, buckets: bias.buckets })
    }

    fn read(&self) -> Reading<'_> {
        Reading {
            q: self.q.read(),
            k: self.k.read(),
            v: self.v.read(),
            prefix: self.prefix.as_ref().map(|(k, v)| (k.read(), v.read())),
        }
    }

    fn backward(&self, o: &Tensor, softmax_lse: &Buffer, grad_o: &Buffer, sink: &mut Sink<'_>) -> Result<()> {
        let scratch = |of: &Tensor| Buffer::scratch(of.device(), DType::F32, of.count());
        let wants_kv = sink.needs(1) || sink.needs(2);
        let mut grad_q = if sink.needs(0) { Some(scratch(&self.q)?) } else { None };
        let mut grad_kv = if wants_kv { Some((scratch(&self.k)?, scratch(&self.v)?)) } else { None };
        let mut grad_prefix = match &self.prefix {
            Some((k, v)) if sink.needs(3) || sink.needs(4) => Some((scratch(k)?, scratch(v)?)),
            _ => None,
        };
        let of_bias = if self.prefix.is_some() { 5 } else { 3 };
        let mut grad_bias = match &self.bias {
            Some(bias) if sink.needs(of_bias) => Some(Buffer::scratch(o.device(), DType::F32, bias.table.len())?),
            _ => None,
        };
        {
            let (read, o) = (self.read(), o.read());
            let [q, k, v] = read.rows(&self.spec)?;
            let args = Backward {
                q,
                k,
                v,
                prefix: read.prefix(&self.spec)?,
                bias: self.bias(),
                precision: self.precision,
                o: o.f32(OP, "o")?,
                softmax_lse: softmax_lse.f32()?,
                grad_o: grad_o.f32()?,
                grad_q: grad_q.as_mut().map(Buffer::f32_mut).transpose()?,
                grad_kv: grad_kv.as_mut().map(key_value).transpose()?,
                grad_prefix: grad_prefix.as_mut().map(key_value).transpose()?,
                grad_bias: grad_bias.as_mut().map(Buffer::f32_mut).transpose()?,
            };
            backward(&self.shape()?, args).map_err(TensorError::kernel(OP))?;
        }
        let (grad_k, grad_v) = grad_kv.unzip();
        let (grad_prefix_k, grad_prefix_v) = grad_prefix.unzip();
        give_wanted([grad_q, grad_k, grad_v, grad_prefix_k, grad_prefix_v], sink)?;
        grad_bias.map_or(Ok(()), |grad| sink.give(of_bias, grad))
    }
}

/// Operands, to read.
struct Reading<'a> {
    q: Read<'a>,
    k: Read<'a>,
    v: Read<'a>,
    prefix: Option<(Read<'a>, Read<'a>)>,
}

impl Reading<'_> {
    fn rows(&self, spec: &AttentionSpec) -> Result<[TokenRows<'_>; 3]> {
        let key_size = spec.num_kv_heads * spec.head_dim;
        Ok([
            TokenRows::contiguous(self.q.f32(OP, "q")?, spec.num_heads * spec.head_dim),
            TokenRows::contiguous(self.k.f32(OP, "k")?, key_size),
            TokenRows::contiguous(self.v.f32(OP, "v")?, key_size),
        ])
    }

    fn prefix(&self, spec: &AttentionSpec) -> Result<Option<Prefix<'_>>> {
        let Some((k, v)) = &self.prefix else { return Ok(None) };
        let key_size = spec.num_kv_heads * spec.head_dim;
        Ok(Some(Prefix {
            k: TokenRows::contiguous(k.f32(OP, "prefix.k")?, key_size),
            v: TokenRows::contiguous(v.f32(OP, "prefix.v")?, key_size),
        }))
    }
}

/// Gives the gradients of the operands, by position, to those that need one.
fn give_wanted(gradients: [Option<Buffer>; 5], sink: &mut Sink<'_>) -> Result<()> {
    for (index, gradient) in gradients.into_iter().enumerate() {
        match gradient {
            Some(gradient) if sink.needs(index) => sink.give(index, gradient)?,
            _ => {}
        }
    }
    Ok(())
}

fn key_value((k, v): &mut (Buffer, Buffer)) -> Result<GradKeyValue<'_>> {
    Ok(GradKeyValue { k: k.f32_mut()?, v: v.f32_mut()? })
}

fn expect(argument: &'static str, tensor: &Tensor, expected: [usize; 2]) -> Result<()> {
    if tensor.shape() == expected { Ok(()) } else { Err(tensor.unexpected(OP, argument, format!("{expected:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{gradcheck, values};

    const SPEC: AttentionSpec = AttentionSpec {
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 3,
        softmax_scale: 0.6,
        causal: true,
        window: None,
        softcap: None,
    };

    fn sequences() -> Arc<Sequences> {
        Arc::new(Sequences::packed(&[0, 4, 5, 7]).unwrap())
    }

    #[test]
    fn gradients() {
        let specs = [SPEC, AttentionSpec { window: Some(2), ..SPEC }, AttentionSpec { softcap: Some(1.5), ..SPEC }];
        for spec in specs {
            let inputs =
                [values([7, 12], 1), values([7, 6], 2), values([7, 6], 3), values([2, 6], 4), values([2, 6], 5)];
            let worst =
                gradcheck(&inputs, |x| attention(&x[0], &x[1], &x[2], &spec, &sequences(), Some((&x[3], &x[4]))))
                    .unwrap();
            // Smooth: the error of the central difference.
            assert!(worst <= 2e-3, "{spec:?}: {worst}");
            let worst = gradcheck(&inputs[..3], |x| attention(&x[0], &x[1], &x[2], &spec, &sequences(), None)).unwrap();
            assert!(worst <= 2e-3, "{spec:?}: {worst}");
        }
    }

    #[test]
    fn gradients_of_one_operand_alone() {
        let inputs = [values([7, 12], 1), values([7, 6], 2), values([7, 6], 3)];
        for trained in 0..3 {
            let worst = gradcheck(&inputs[trained..=trained], |x| {
                let frozen = |i: usize| Tensor::from_f32(inputs[i].0, &inputs[i].1);
                let operand = |i: usize| if i == trained { Ok(x[0].clone()) } else { frozen(i) };
                attention(&operand(0)?, &operand(1)?, &operand(2)?, &SPEC, &sequences(), None)
            })
            .unwrap();
            assert!(worst <= 2e-3, "{trained}: {worst}");
        }
    }

    #[test]
    fn gradients_with_a_bias() {
        for bidirectional in [false, true] {
            let spec = AttentionSpec { causal: !bidirectional, ..SPEC };
            let bias = RelativeBuckets::new(6, 5, bidirectional).unwrap();
            let inputs = [
                values([7, 12], 1),
                values([7, 6], 2),
                values([7, 6], 3),
                values([6, 4], 6),
                values([2, 6], 4),
                values([2, 6], 5),
            ];
            let attend = |x: &[Tensor], prefixed: bool| {
                let prefix = prefixed.then(|| (&x[4], &x[5]));
                attention_with_bias(&x[0], &x[1], &x[2], &spec, &sequences(), prefix, Some((&x[3], bias)))
            };
            let worst = gradcheck(&inputs, |x| attend(x, true)).unwrap();
            assert!(worst <= 2e-3, "{worst}");
            let worst = gradcheck(&inputs[..4], |x| attend(x, false)).unwrap();
            assert!(worst <= 2e-3, "{worst}");
        }
    }

    #[test]
    fn queries_of_one_sequence_see_the_keys_of_another() {
        // Two rows of a decoder, three and one tokens, over encoders of one and four tokens.
        let sequences = Arc::new(Sequences::cached(&[0, 3, 4], &[0, 1, 5]).unwrap());
        let spec = AttentionSpec { causal: false, ..SPEC };
        let inputs = [values([4, 12], 1), values([5, 6], 2), values([5, 6], 3)];
        let worst = gradcheck(&inputs, |x| attention(&x[0], &x[1], &x[2], &spec, &sequences, None)).unwrap();
        assert!(worst <= 2e-3, "{worst}");
        let [q, k, v] = inputs.map(|(shape, values)| Tensor::from_f32(shape, &values).unwrap());
        let o = attention(&q, &k, &v, &spec, &sequences, None).unwrap().to_vec();
        // One key: its value, for every query and for both heads that share it.
        let (first, v) = (&v.to_vec()[..6], &o[..36]);
        let expected: Vec<f32> = [&first[..3], &first[..3], &first[3..], &first[3..]].concat().repeat(3);
        assert!(v.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-6), "{v:?}");
    }

    #[test]
    fn both_directions_take_the_precision_of_the_queries() {
        // In bf16, so that nothing is lost where they are kept.
        let rounded = |values: Vec<f32>| values.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect::<Vec<_>>();
        let [q, k, v] = [([7, 12], 1), ([7, 6], 2), ([7, 6], 3)].map(|(shape, seed)| rounded(values(shape, seed).1));
        let leaves = [([7, 12], &q), ([7, 6], &k), ([7, 6], &v)].map(|(shape, x)| Tensor::leaf(shape, x).unwrap());
        let computed = leaves[0].with_precision(DType::BF16);
        let y = attention(&computed, &leaves[1], &leaves[2], &SPEC, &sequences(), None).unwrap();
        let mut gradients = crate::Gradients::new(&leaves).unwrap();
        let grad_o = values([7, 12], 4).1;
        crate::backward(&crate::ops::weighted_sum(&y, &grad_o).unwrap(), 1.0, &mut gradients).unwrap();

        let (sequences, precision) = (sequences(), DType::BF16);
        let shape = AttentionShape::new(SPEC, sequences.cu_seqlens_q(), sequences.cu_seqlens_kv(), 0).unwrap();
        let [q, k, v] = [(&q, 12), (&k, 6), (&v, 6)].map(|(rows, len)| TokenRows::contiguous(rows, len));
        let (mut o, mut softmax_lse) = ([0.0; 84], [0.0; 28]);
        let args = Forward { q, k, v, prefix: None, bias: None, precision, o: &mut o, softmax_lse: &mut softmax_lse };
        forward(&shape, args).unwrap();
        assert_eq!(y.to_vec(), o);
        let (mut grad_k, mut grad_v) = ([0.0; 42], [0.0; 42]);
        let args = Backward {
            q,
            k,
            v,
            prefix: None,
            bias: None,
            precision,
            o: &o,
            softmax_lse: &softmax_lse,
            grad_o: &grad_o,
            grad_q: None,
            grad_kv: Some(GradKeyValue { k: &mut grad_k, v: &mut grad_v }),
            grad_prefix: None,
            grad_bias: None,
        };
        backward(&shape, args).unwrap();
        // The other gradients depend on the result as it was kept.
        assert_eq!(gradients.of(&leaves[2]).unwrap(), grad_v);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let zeros = |shape: [usize; 2]| Tensor::from_f32(shape, &vec![0.0; shape[0] * shape[1]]).unwrap();
        let (q, k, v) = (zeros([7, 12]), zeros([7, 6]), zeros([6, 6]));
        let error = attention(&q, &k, &v, &SPEC, &sequences(), None).unwrap_err().to_string();
        assert_eq!(error, "attention: `v` has shape [6, 6], expected [7, 6]");
        assert!(attention(&q, &k, &k, &AttentionSpec { num_kv_heads: 3, ..SPEC }, &sequences(), None).is_err());
        assert!(attention(&q, &k, &k, &SPEC, &sequences(), Some((&k, &v))).is_err());
        let bias = Some((&q, RelativeBuckets::new(6, 5, false).unwrap()));
        let error = attention_with_bias(&q, &k, &k, &SPEC, &sequences(), None, bias).unwrap_err().to_string();
        assert_eq!(error, "attention: `bias` has shape [7, 12], expected [6, 4]");
    }
}
