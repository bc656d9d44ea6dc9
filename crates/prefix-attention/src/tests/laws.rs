//! What must hold whatever the numbers are.

use device::DType;
use proptest::prelude::*;

use super::{Case, Problem, Results, best, cases};
use crate::isa::InstructionSet;

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn same(a: &Results, b: &Results) -> bool {
    bits(&a.o) == bits(&b.o)
        && bits(&a.softmax_lse) == bits(&b.softmax_lse)
        && bits(&a.grad_q) == bits(&b.grad_q)
        && bits(&a.grad_k) == bits(&b.grad_k)
        && bits(&a.grad_v) == bits(&b.grad_v)
        && bits(&a.grad_prefix_k) == bits(&b.grad_prefix_k)
        && bits(&a.grad_prefix_v) == bits(&b.grad_prefix_v)
        && bits(&a.grad_bias) == bits(&b.grad_bias)
}

/// What operands of products may be rounded to.
const PRECISIONS: [DType; 2] = [DType::F32, DType::BF16];

/// The rows of each head, one sequence after another, from rows of one head after another.
fn join_heads(parts: &[Results], lens: &[usize], num_heads: usize) -> Vec<f32> {
    let of_head = |head: usize| {
        parts.iter().zip(lens).flat_map(move |(part, &len)| part.softmax_lse[head * len..(head + 1) * len].to_vec())
    };
    (0..num_heads).flat_map(of_head).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn packed_equals_each_sequence_alone(case in cases(), seed in any::<u64>()) {
        let problem = case.problem(seed);
        let packed = problem.run(best());
        let alone: Vec<_> = (0..case.q_lens.len()).map(|i| problem.sequence(i).run(best())).collect();
        let joined = |field: fn(&Results) -> &Vec<f32>| alone.iter().flat_map(|r| field(r).clone()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&packed.o), bits(&joined(|r| &r.o)));
        prop_assert_eq!(bits(&packed.softmax_lse), bits(&join_heads(&alone, &case.q_lens, case.spec.num_heads)));
        prop_assert_eq!(bits(&packed.grad_q), bits(&joined(|r| &r.grad_q)));
        prop_assert_eq!(bits(&packed.grad_k), bits(&joined(|r| &r.grad_k)));
        prop_assert_eq!(bits(&packed.grad_v), bits(&joined(|r| &r.grad_v)));
        // The prefix is shared: its gradient is the sum, rounded in another order.
        for (i, &got) in packed.grad_prefix_k.iter().enumerate() {
            let sum: f32 = alone.iter().map(|r| r.grad_prefix_k[i]).sum();
            prop_assert!((got - sum).abs() <= 1e-5 * (1.0 + sum.abs()));
        }
        for (i, &got) in packed.grad_bias.iter().enumerate() {
            let sum: f32 = alone.iter().map(|r| r.grad_bias[i]).sum();
            prop_assert!((got - sum).abs() <= 1e-5 * (1.0 + sum.abs()));
        }
    }

    #[test]
    fn permuting_the_batch_permutes_the_results(case in cases(), seed in any::<u64>()) {
        let problem = case.problem(seed);
        let order: Vec<usize> = (0..case.q_lens.len()).rev().collect();
        let parts: Vec<Problem> = order.iter().map(|&i| problem.sequence(i)).collect();
        let concat = |field: fn(&Problem) -> &Vec<f32>| parts.iter().flat_map(|p| field(p).clone()).collect::<Vec<_>>();
        let reversed = Problem {
            case: Case {
                q_lens: order.iter().map(|&i| case.q_lens[i]).collect(),
                kv_lens: order.iter().map(|&i| case.kv_lens[i]).collect(),
                ..case.clone()
            },
            q: concat(|p| &p.q),
            kv: concat(|p| &p.kv),
            grad_o: concat(|p| &p.grad_o),
            ..problem.clone()
        };
        let (one, other) = (problem.run(best()), reversed.run(best()));
        // The last sequence of one is the first of the other.
        let (last, row) = (case.q_lens[order[0]], case.q_row());
        prop_assert_eq!(bits(&one.o[one.o.len() - last * row..]), bits(&other.o[..last * row]));
        prop_assert_eq!(bits(&one.grad_q[one.o.len() - last * row..]), bits(&other.grad_q[..last * row]));
    }

    #[test]
    fn threads_change_nothing(case in cases(), seed in any::<u64>()) {
        let problem = case.problem(seed);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| problem.run(best()))
        };
        prop_assert!(same(&on(1), &on(4)));
    }

    #[test]
    fn a_prefix_equals_keys_in_front_of_a_bidirectional_sequence(case in cases(), seed in any::<u64>()) {
        let spec = crate::AttentionSpec { causal: false, window: None, ..case.spec };
        // Blocks of keys fall differently, so that probabilities are relative to other maxima: in bf16 they round to other numbers.
        let (q_lens, kv_lens) = (vec![case.q_lens[0]], vec![case.kv_lens[0]]);
        let case = Case { spec, q_lens, kv_lens, precision: DType::F32, ..case };
        let problem = case.problem(seed);
        let mut front = Vec::new();
        for (k, v) in problem.prefix_k.chunks(case.kv_row()).zip(problem.prefix_v.chunks(case.kv_row())) {
            front.extend_from_slice(k);
            front.extend_from_slice(v);
            front.extend_from_slice(&[0.0; super::GAP]);
        }
        front.extend_from_slice(&problem.kv);
        let merged = Problem {
            case: Case { kv_lens: vec![case.kv_lens[0] + case.prefix_len], prefix_len: 0, ..case.clone() },
            kv: front,
            prefix_k: Vec::new(),
            prefix_v: Vec::new(),
            ..problem.clone()
        };
        let (one, other) = (problem.run(best()), merged.run(best()));
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs()) || a == b);
        // Blocks of keys fall differently: rounding only.
        prop_assert!(near(&one.o, &other.o) && near(&one.softmax_lse, &other.softmax_lse));
        prop_assert!(near(&one.grad_q, &other.grad_q) && near(&one.grad_bias, &other.grad_bias));
        let (prefix, own) = other.grad_k.split_at(one.grad_prefix_k.len());
        prop_assert!(near(&one.grad_prefix_k, prefix) && near(&one.grad_k, own));
        let (prefix, own) = other.grad_v.split_at(one.grad_prefix_v.len());
        prop_assert!(near(&one.grad_prefix_v, prefix) && near(&one.grad_v, own));
    }
}

#[test]
fn tiles_that_share_blocks_change_no_bit() {
    // Nineteen tiles of queries: one thread packs a block of keys for five of them, eight threads for one. The windows begin within
    // blocks, and so do the last keys that the first tiles of a group see.
    for (window, precision) in [None, Some(90)].into_iter().flat_map(|w| PRECISIONS.map(|precision| (w, precision))) {
        let spec = crate::AttentionSpec {
            num_heads: 3,
            num_kv_heads: 1,
            head_dim: 40,
            softmax_scale: 0.2,
            causal: true,
            window,
            softcap: None,
        };
        let case = Case { spec, q_lens: vec![400], kv_lens: vec![430], prefix_len: 7, precision, buckets: None };
        let problem = case.problem(4);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| problem.forward(best()))
        };
        let ((o, lse), (others_o, others_lse)) = (on(1), on(8));
        assert!(bits(&o) == bits(&others_o) && bits(&lse) == bits(&others_lse), "{window:?}");
    }
}

#[test]
fn wide_registers_change_no_bit() {
    // A query is one lane of any register, and its sums run in the same order with the same fused operations.
    let named = |name: &str| InstructionSet::available().find(|isa| format!("{isa:?}") == name);
    let (Some(first), Some(second)) = (named("avx512"), named("avx2")) else { return };
    let spec = crate::AttentionSpec {
        num_heads: 6,
        num_kv_heads: 2,
        head_dim: 72,
        softmax_scale: 0.2,
        causal: true,
        window: Some(90),
        softcap: Some(20.0),
    };
    let case = Case {
        spec,
        q_lens: vec![150, 3],
        kv_lens: vec![200, 3],
        prefix_len: 10,
        precision: DType::F32,
        buckets: None,
    };
    let problem = case.problem(3);
    assert!(same(&problem.run(first), &problem.run(second)));
}

#[test]
fn a_query_that_sees_nothing_gives_nothing() {
    let spec = crate::AttentionSpec {
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 16,
        softmax_scale: 1.0,
        causal: true,
        window: None,
        softcap: Some(2.0),
    };
    // More queries than keys: the first stand before all keys. A sequence without keys; one without queries.
    let case = Case {
        spec,
        q_lens: vec![70, 5, 0],
        kv_lens: vec![1, 0, 4],
        prefix_len: 0,
        precision: DType::F32,
        buckets: None,
    };
    for isa in InstructionSet::available() {
        let got = case.problem(1).run(isa);
        let row = case.q_row();
        assert!(got.o[..69 * row].iter().chain(&got.o[70 * row..]).all(|&x| x == 0.0));
        assert!(got.grad_q[..69 * row].iter().all(|&x| x == 0.0));
        assert_eq!(got.softmax_lse.iter().filter(|&&x| x == f32::NEG_INFINITY).count(), 2 * 74);
        assert!(got.grad_k[case.kv_row()..].iter().chain(&got.grad_v[case.kv_row()..]).all(|&x| x == 0.0));
        assert!(got.grad_v[..case.kv_row()].iter().all(|x| x.is_finite() && *x != 0.0));
    }
}

#[test]
fn nan_reaches_the_result() {
    let spec = crate::AttentionSpec {
        num_heads: 1,
        num_kv_heads: 1,
        head_dim: 16,
        softmax_scale: 1.0,
        causal: true,
        window: None,
        softcap: None,
    };
    // One case of many queries, one of a single query.
    for (q_len, precision) in [40, 1].into_iter().flat_map(|q_len| PRECISIONS.map(|precision| (q_len, precision))) {
        let case = Case { spec, q_lens: vec![q_len], kv_lens: vec![40], prefix_len: 0, precision, buckets: None };
        for isa in InstructionSet::available() {
            let mut problem = case.problem(2);
            let last = problem.q.len() - 1;
            problem.q[last] = f32::NAN;
            let (o, lse) = problem.forward(isa);
            assert!(o[last - 15..].iter().all(|x| x.is_nan()) && lse[q_len - 1].is_nan(), "{isa:?} {q_len}");
            assert!(o[..last - 15].iter().all(|x| x.is_finite()));
            let results = problem.run(isa);
            let reached = [&results.grad_k, &results.grad_v, &results.grad_q[last - 15..].to_vec()];
            assert!(reached.iter().all(|gradient| gradient.iter().all(|x| x.is_nan())), "{isa:?} {q_len}");
            assert!(results.grad_q[..last - 15].iter().all(|x| x.is_finite()));
        }
    }
}

#[test]
fn operands_are_read_as_the_nearest_bf16() {
    let spec = crate::AttentionSpec {
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 40,
        softmax_scale: 0.2,
        causal: true,
        window: None,
        softcap: None,
    };
    let problem =
        Case { spec, q_lens: vec![90], kv_lens: vec![130], prefix_len: 7, precision: DType::BF16, buckets: None }
            .problem(6);
    // `delta` is no product of tiles, and takes the gradients of the result as they are.
    let rounded = problem.rounded();
    let of_rounded = Problem { grad_o: problem.grad_o.clone(), ..rounded.clone() }.run(best());
    let exact = Problem { case: Case { precision: DType::F32, ..problem.case.clone() }, ..problem.clone() }.run(best());
    let results = problem.run(best());
    // Where there are tiles: the precision is a permission.
    let tiles = best().amx().is_some();
    assert_eq!(same(&results, &of_rounded), tiles);
    assert_eq!(bits(&results.grad_v) == bits(&rounded.run(best()).grad_v), tiles);
    assert_eq!(same(&results, &exact), !tiles);
}
