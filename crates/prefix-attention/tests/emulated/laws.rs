//! What must hold bit for bit.

use device::launch::testing;
use proptest::prelude::*;

use crate::problem::{Results, cases};

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn all_bits(results: &Results) -> Vec<Vec<u32>> {
    let Results { o, softmax_lse, grad_q, grad_k, grad_v, grad_prefix_k, grad_prefix_v, grad_bias } = results;
    [o, softmax_lse, grad_q, grad_k, grad_v, grad_prefix_k, grad_prefix_v, grad_bias]
        .map(|values| bits(values))
        .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_order_of_warps_changes_nothing(case in cases(), seed: u64) {
        let problem = case.problem(seed);
        let one = problem.launch(&testing::executor(seed));
        let other = problem.launch(&testing::executor(!seed));
        prop_assert_eq!(all_bits(&one), all_bits(&other));
    }

    #[test]
    fn packed_equals_each_sequence_alone(case in cases(), seed: u64) {
        let problem = case.problem(seed);
        let packed = problem.launch(&testing::executor(seed));
        let alone: Vec<_> =
            (0..case.q_lens.len()).map(|i| problem.sequence(i).launch(&testing::executor(seed))).collect();
        let joined = |field: fn(&Results) -> &Vec<f32>| alone.iter().flat_map(|r| bits(field(r))).collect::<Vec<_>>();
        prop_assert_eq!(bits(&packed.o), joined(|r| &r.o));
        prop_assert_eq!(bits(&packed.grad_q), joined(|r| &r.grad_q));
        prop_assert_eq!(bits(&packed.grad_k), joined(|r| &r.grad_k));
        prop_assert_eq!(bits(&packed.grad_v), joined(|r| &r.grad_v));
    }
}
