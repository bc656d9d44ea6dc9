//! Arguments that do not fit, gradients that are not asked for, and sizes of zero.

use device::DType;

use super::Case;
use crate::{
    AttentionError, AttentionShape, AttentionSpec, Backward, Forward, GradKeyValue, RelativeBias, RelativeBuckets,
    TokenRows, backward, forward,
};

const SPEC: AttentionSpec = AttentionSpec {
    num_heads: 2,
    num_kv_heads: 1,
    head_dim: 16,
    softmax_scale: 0.25,
    causal: true,
    window: None,
    softcap: None,
};

fn rows(data: &[f32], row_stride: usize) -> TokenRows<'_> {
    TokenRows { data, row_stride }
}

#[test]
fn arguments_are_checked_before_anything_is_written() {
    let starts = [0, 4];
    let shape = AttentionShape::new(SPEC, &starts, &starts, 0).unwrap();
    let with_prefix = AttentionShape::new(SPEC, &starts, &starts, 2).unwrap();
    let (q, kv) = ([0.5; 4 * 32], [0.5; 4 * 16]);
    let run = |shape: &AttentionShape<'_>, q, k, o_len, lse_len| {
        let (mut o, mut lse) = (vec![7.0; o_len], vec![7.0; lse_len]);
        let (v, precision) = (rows(&kv, 16), DType::F32);
        let args = Forward { q, k, v, prefix: None, bias: None, precision, o: &mut o, softmax_lse: &mut lse };
        let error = forward(shape, args).unwrap_err();
        assert!(o.iter().chain(&lse).all(|&x| x == 7.0));
        error
    };
    let (q, k) = (rows(&q, 32), rows(&kv, 16));
    let short = run(&shape, rows(&q.data[1..], 32), k, 128, 8);
    assert_eq!(short.to_string(), "attention: `q` holds 127 elements, expected 128");
    let overlapping = run(&shape, q, rows(&kv, 15), 128, 8);
    assert!(matches!(overlapping, AttentionError::RowStride { argument: "k", row_stride: 15, row_len: 16 }));
    assert!(matches!(run(&shape, q, rows(&kv, usize::MAX), 128, 8), AttentionError::Length { argument: "k", .. }));
    assert!(matches!(run(&shape, q, k, 127, 8), AttentionError::Length { argument: "o", .. }));
    assert!(matches!(run(&shape, q, k, 128, 9), AttentionError::Length { argument: "softmax_lse", got: 9, .. }));
    assert!(matches!(run(&with_prefix, q, k, 128, 8), AttentionError::PrefixMissing { prefix_len: 2 }));
}

#[test]
fn a_bias_has_a_row_for_each_bucket_and_goes_with_no_bound() {
    let starts = [0, 2];
    let buckets = RelativeBuckets::new(4, 5, true).unwrap();
    let refused = |table: &[f32], softcap| {
        let shape = AttentionShape::new(AttentionSpec { softcap, ..SPEC }, &starts, &starts, 0).unwrap();
        let (q, kv) = ([0.5; 2 * 32], [0.5; 2 * 16]);
        let (q, k, v, bias) = (rows(&q, 32), rows(&kv, 16), rows(&kv, 16), Some(RelativeBias { table, buckets }));
        let (mut o, mut lse) = ([0.0; 64], [0.0; 4]);
        let precision = DType::F32;
        forward(&shape, Forward { q, k, v, prefix: None, bias, precision, o: &mut o, softmax_lse: &mut lse })
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused(&[0.0; 7], None), "attention: `bias.table` holds 7 elements, expected 8");
    assert!(refused(&[0.0; 8], Some(3.0)).contains("softcap = 3"));
}

#[test]
fn gradients_that_are_not_asked_for_do_not_change_the_others() {
    let buckets = RelativeBuckets::new(32, 128, false).ok();
    let (q_lens, kv_lens) = (vec![70, 9], vec![70, 20]);
    let in_f32 = Case { spec: SPEC, q_lens, kv_lens, prefix_len: 3, precision: DType::F32, buckets };
    for case in [Case { precision: DType::BF16, ..in_f32.clone() }, in_f32] {
        let problem = case.problem(5);
        let all = problem.run(super::best());
        let [q, k, v] = problem.rows();
        let run = |mask: [bool; 4]| {
            let (mut grad_q, mut grad_k, mut grad_v) = (all.grad_q.clone(), all.grad_k.clone(), all.grad_v.clone());
            let (mut grad_pk, mut grad_pv) = (all.grad_prefix_k.clone(), all.grad_prefix_v.clone());
            let mut grad_bias = all.grad_bias.clone();
            for (buffer, wanted) in [
                (&mut grad_q, mask[0]),
                (&mut grad_k, mask[1]),
                (&mut grad_v, mask[1]),
                (&mut grad_pk, mask[2]),
                (&mut grad_pv, mask[2]),
                (&mut grad_bias, mask[3]),
            ] {
                if wanted {
                    buffer.fill(f32::NAN);
                }
            }
            let args = Backward {
                q,
                k,
                v,
                prefix: problem.prefix(),
                bias: problem.bias(),
                precision: case.precision,
                o: &all.o,
                softmax_lse: &all.softmax_lse,
                grad_o: &problem.grad_o,
                grad_q: mask[0].then_some(&mut grad_q[..]),
                grad_kv: mask[1].then_some(GradKeyValue { k: &mut grad_k, v: &mut grad_v }),
                grad_prefix: mask[2].then_some(GradKeyValue { k: &mut grad_pk, v: &mut grad_pv }),
                grad_bias: mask[3].then_some(&mut grad_bias[..]),
            };
            case.with_shape(|shape| backward(shape, args)).unwrap();
            let same =
                grad_bias == all.grad_bias && grad_q == all.grad_q && grad_k == all.grad_k && grad_v == all.grad_v;
            assert!(same && grad_pk == all.grad_prefix_k && grad_pv == all.grad_prefix_v, "{mask:?}");
        };
        for bits in 0..16 {
            run([bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0]);
        }
    }
}

#[test]
fn nothing_to_do_is_done() {
    for starts in [&[][..], &[0][..], &[0, 0, 0][..]] {
        let shape = AttentionShape::new(SPEC, starts, starts, 0).unwrap();
        let empty = rows(&[], 32);
        let (o, softmax_lse, precision) = (&mut [], &mut [], DType::F32);
        let args = Forward { q: empty, k: empty, v: empty, prefix: None, bias: None, precision, o, softmax_lse };
        forward(&shape, args).unwrap();
    }
    // Keys and a prefix, but no query: their gradients are zero.
    let case = Case {
        spec: SPEC,
        q_lens: vec![0],
        kv_lens: vec![3],
        prefix_len: 2,
        precision: DType::F32,
        buckets: RelativeBuckets::new(4, 5, true).ok(),
    };
    let got = case.problem(0).run(super::best());
    assert!(got.o.is_empty() && got.grad_k == [0.0; 48] && got.grad_prefix_v == [0.0; 32]);
    assert!(got.grad_bias == [0.0; 8]);
}
