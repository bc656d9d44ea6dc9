//! The forward for Hopper, and the operands that it leaves to the others.

use device::DType;
use device::launch::{Architecture, testing};
use proptest::prelude::*;
use tunesmith_prefix_attention::AttentionSpec;

use crate::agreement::check_on;
use crate::problem::{Case, Problem, cases};

/// Cases with heads that the kernels take; some with a bound, a bias or rows off 16 bytes, which they do not.
fn hopper_cases() -> impl Strategy<Value = Case> {
    (cases(), prop_oneof![Just(64usize), Just(128)]).prop_map(|(case, head_dim)| {
        let softmax_scale = (head_dim as f32).powf(-0.5);
        Case { spec: AttentionSpec { head_dim, softmax_scale, ..case.spec }, dtype: DType::BF16, ..case }
    })
}

/// A case of full blocks of keys, several tiles and a few heads.
fn long(head_dim: usize, causal: bool, window: Option<usize>) -> Case {
    let softmax_scale = (head_dim as f32).powf(-0.5);
    Case {
        spec: AttentionSpec { num_heads: 6, num_kv_heads: 2, head_dim, softmax_scale, causal, window, softcap: None },
        q_lens: vec![150, 20, 9],
        kv_lens: vec![300, 400, 0],
        prefix_len: 130,
        dtype: DType::BF16,
        gap: 0,
        buckets: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn agrees_with_the_cpu(case in hopper_cases(), seed: u64) {
        if testing::runs(Architecture::Hopper) {
            check_on(&testing::executor_as(Architecture::Hopper, seed), &case, seed);
        }
    }
}

#[test]
fn long_sequences_and_every_mask() {
    if !testing::runs(Architecture::Hopper) {
        return;
    }
    for (head_dim, causal, window) in [(64, true, None), (64, false, None), (128, true, Some(100)), (128, true, None)] {
        check_on(&testing::executor_as(Architecture::Hopper, 7), &long(head_dim, causal, window), 7);
    }
}

/// A ring that is given back too early, or read before it is full, would differ between schedules.
#[test]
fn the_order_of_warps_and_neighbours_change_nothing() {
    if !testing::runs(Architecture::Hopper) {
        return;
    }
    let problem = long(64, true, None).problem(1);
    let run = |seed| problem.launch(&testing::executor_as(Architecture::Hopper, seed)).o;
    let first = run(0);
    assert!((1..3).all(|seed| run(seed) == first));
    let alone = problem.sequence(0).launch(&testing::executor_as(Architecture::Hopper, 0)).o;
    assert_eq!(first[..alone.len()], alone);
}

/// What is no number in one sequence stays there, though the copies of its neighbours' last keys bring it along.
#[test]
fn a_sequence_never_sees_another() {
    if !testing::runs(Architecture::Hopper) {
        return;
    }
    for head_dim in [64, 128] {
        let case = Case { q_lens: vec![70, 40], kv_lens: vec![70, 40], ..long(head_dim, true, None) };
        let clean = case.problem(2);
        let mut dirty = clean.clone();
        let first_of_second = 70 * 2 * case.kv_row();
        dirty.kv[first_of_second..].fill(f32::NAN);
        let run = |problem: &Problem| problem.launch(&testing::executor_as(Architecture::Hopper, 0)).o;
        let (clean, dirty) = (run(&clean), run(&dirty));
        let of_first = 70 * case.q_row();
        assert_eq!(dirty[..of_first], clean[..of_first], "{head_dim}");
        assert!(dirty[of_first..].iter().all(|value| value.is_nan()), "{head_dim}");
    }
}
