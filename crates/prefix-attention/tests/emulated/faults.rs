//! Arguments that do not fit, gradients that are not asked for, and sizes of zero.

use device::launch::{DeviceBuffer, Executor, testing};
use device::{DType, DeviceError};
use tunesmith_prefix_attention::launch::{
    Backward, Batch, Forward, GradKeyValue, Prefix, RelativeBias, TokenRows, backward, forward,
};
use tunesmith_prefix_attention::{AttentionError, AttentionShape, AttentionSpec, RelativeBuckets};

use crate::problem::Case;

const SPEC: AttentionSpec = AttentionSpec {
    num_heads: 2,
    num_kv_heads: 1,
    head_dim: 16,
    softmax_scale: 0.25,
    causal: true,
    window: None,
    softcap: None,
};

#[test]
fn arguments_are_checked_before_a_launch() {
    let executor = testing::executor(0);
    let starts = [0, 4];
    let batch = |prefix_len| {
        Batch::new(&executor, AttentionShape::new(SPEC, &starts, &starts, prefix_len).unwrap(), DType::F32).unwrap()
    };
    let ones = |len: usize| executor.upload(&vec![1.0f32; len]).unwrap();
    let (q, kv) = (ones(4 * 32), ones(4 * 16));
    let run = |batch: &Batch<'_>, q, k, o_len, lse: &mut DeviceBuffer| {
        let mut o = ones(o_len);
        let args = Forward { q, k, v: TokenRows::contiguous(&kv, 16), prefix: None, o: &mut o, softmax_lse: lse };
        let error = forward(batch, args).unwrap_err();
        assert_eq!(o.read::<f32>().unwrap(), vec![1.0; o_len]);
        error
    };
    let (q, k) = (TokenRows::contiguous(&q, 32), TokenRows::contiguous(&kv, 16));
    let lse = &mut ones(8);
    let batch_of_four = batch(0);
    let short = run(&batch_of_four, TokenRows { offset: 1, ..q }, k, 128, lse);
    assert_eq!(short.to_string(), "attention: `q` holds 127 elements, expected 128");
    let beyond = run(&batch_of_four, TokenRows { offset: usize::MAX, ..q }, k, 128, lse);
    assert!(matches!(beyond, AttentionError::Length { argument: "q", got: 0, .. }));
    let overlapping = run(&batch_of_four, q, TokenRows { row_stride: 15, ..k }, 128, lse);
    assert!(matches!(overlapping, AttentionError::RowStride { argument: "k", row_stride: 15, row_len: 16 }));
    let far = run(&batch_of_four, q, TokenRows { row_stride: usize::MAX, ..k }, 128, lse);
    assert!(matches!(far, AttentionError::Length { argument: "k", .. }));
    assert!(matches!(run(&batch_of_four, q, k, 127, lse), AttentionError::Length { argument: "o", .. }));
    let lengths = run(&batch_of_four, q, k, 128, &mut ones(9));
    assert!(matches!(lengths, AttentionError::Length { argument: "softmax_lse", got: 9, .. }));
    assert!(matches!(run(&batch(2), q, k, 128, lse), AttentionError::PrefixMissing { prefix_len: 2 }));
    let elsewhere = &mut Executor::emulated(0).upload(&[1.0f32; 8]).unwrap();
    let mixed = run(&batch_of_four, q, k, 128, elsewhere);
    assert!(matches!(mixed, AttentionError::Device(DeviceError::MixedExecutors)));
}

#[test]
fn what_the_kernels_do_not_know_is_refused() {
    let executor = testing::executor(0);
    let refused = |head_dim, dtype| {
        let shape = AttentionShape::new(AttentionSpec { head_dim, ..SPEC }, &[], &[], 0).unwrap();
        Batch::new(&executor, shape, dtype).unwrap_err()
    };
    assert!(matches!(refused(16, DType::F16), AttentionError::KernelDType { got: DType::F16 }));
    let long = refused(257, DType::BF16);
    assert_eq!(long.to_string(), "attention: head_dim is 257, the kernels take up to 256; use cpu");
    let shape = |spec| AttentionShape::new(spec, &[], &[], 0).unwrap();
    let with_bias = |spec, len: usize| {
        let table = executor.upload(&vec![0.0f32; len]).unwrap();
        let bias = RelativeBias { table: &table, buckets: RelativeBuckets::new(8, 16, true).unwrap() };
        Batch::new(&executor, shape(spec), DType::BF16).unwrap().with_bias(bias).unwrap_err()
    };
    let long = with_bias(AttentionSpec { head_dim: 129, ..SPEC }, 16);
    assert!(matches!(long, AttentionError::KernelHeadDim { head_dim: 129, max: 128 }));
    let bounded = with_bias(AttentionSpec { softcap: Some(30.0), ..SPEC }, 16);
    assert!(matches!(bounded, AttentionError::BiasWithSoftcap { .. }));
    let short = with_bias(SPEC, 15);
    assert!(matches!(short, AttentionError::Length { argument: "bias.table", expected: 16, got: 15 }));
    let starts = [0, u32::MAX];
    let shape = AttentionShape::new(SPEC, &starts, &starts, 0).unwrap();
    assert!(matches!(Batch::new(&executor, shape, DType::F32).unwrap_err(), AttentionError::TooLarge { .. }));
}

#[test]
fn gradients_that_are_not_asked_for_do_not_change_the_others() {
    let case = Case {
        spec: SPEC,
        q_lens: vec![70, 9],
        kv_lens: vec![70, 20],
        prefix_len: 3,
        dtype: DType::F32,
        gap: 0,
        buckets: None,
    };
    let problem = case.problem(5);
    let executor = testing::executor(5);
    let all = problem.launch(&executor);
    let upload = |values: &[f32]| executor.upload(values).unwrap();
    let [q, kv, prefix_k, prefix_v, grad_o] =
        [&problem.q, &problem.kv, &problem.prefix_k, &problem.prefix_v, &problem.grad_o].map(|x| upload(x));
    let (o, softmax_lse) = (upload(&all.o), upload(&all.softmax_lse));
    let columns = |offset| TokenRows { buffer: &kv, offset, row_stride: 32 };
    let expected = [&all.grad_q, &all.grad_k, &all.grad_v, &all.grad_prefix_k, &all.grad_prefix_v];
    for wanted in (0..8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0]) {
        let [mut grad_q, mut grad_k, mut grad_v, mut grad_pk, mut grad_pv] =
            expected.map(|values| executor.allocate(4 * values.len()).unwrap());
        let prefix = Prefix { k: TokenRows::contiguous(&prefix_k, 16), v: TokenRows::contiguous(&prefix_v, 16) };
        let args = Backward {
            q: TokenRows::contiguous(&q, 32),
            k: columns(0),
            v: columns(16),
            prefix: Some(prefix),
            o: &o,
            softmax_lse: &softmax_lse,
            grad_o: &grad_o,
            grad_q: wanted[0].then_some(&mut grad_q),
            grad_kv: wanted[1].then_some(GradKeyValue { k: &mut grad_k, v: &mut grad_v }),
            grad_prefix: wanted[2].then_some(GradKeyValue { k: &mut grad_pk, v: &mut grad_pv }),
            grad_bias: None,
        };
        case.with_shape(|shape| backward(&Batch::new(&executor, *shape, DType::F32).unwrap(), args)).unwrap();
        let got = [grad_q, grad_k, grad_v, grad_pk, grad_pv].map(|buffer| buffer.read::<f32>().unwrap());
        for (i, wanted) in [wanted[0], wanted[1], wanted[1], wanted[2], wanted[2]].into_iter().enumerate() {
            // What was not asked for is as it was allocated.
            assert!(if wanted { got[i] == *expected[i] } else { got[i].iter().all(|x| x.is_nan()) }, "{i}");
        }
    }
}

#[test]
fn nothing_to_do_is_done() {
    for (q_lens, kv_lens) in [(vec![], vec![]), (vec![0, 0], vec![0, 0])] {
        let case = Case { spec: SPEC, q_lens, kv_lens, prefix_len: 0, dtype: DType::BF16, gap: 0, buckets: None };
        let got = case.problem(0).launch(&testing::executor(0));
        assert!(got.o.is_empty() && got.grad_k.is_empty() && got.grad_prefix_k.is_empty());
    }
    // Keys and a prefix, but no query: their gradients are zero.
    let case =
        Case { spec: SPEC, q_lens: vec![0], kv_lens: vec![3], prefix_len: 2, dtype: DType::F32, gap: 0, buckets: None };
    let got = case.problem(0).launch(&testing::executor(0));
    assert!(got.o.is_empty() && got.grad_k == [0.0; 48] && got.grad_prefix_v == [0.0; 32]);
}
