//! What a launch is said to do.

use device::DType;
use device::launch::{Architecture, Executor};
use tunesmith_prefix_attention::launch::{Batch, Forward, Prefix, TokenRows, forward};
use tunesmith_prefix_attention::{AttentionShape, AttentionSpec};

/// Two products over the channels for every pair of a query and a key that it sees.
#[test]
fn flops_are_those_of_visible_pairs() {
    for (causal, window, own) in [(true, None, 3 + 10), (true, Some(2), 3 + 7), (false, None, 4 + 16)] {
        let spec = AttentionSpec {
            num_heads: 4,
            num_kv_heads: 2,
            head_dim: 64,
            softmax_scale: 0.125,
            causal,
            window,
            softcap: None,
        };
        // Two sequences, of 2 and of 4 tokens, and a prefix of 3.
        let starts = [0, 2, 6];
        for architecture in [Architecture::Ampere, Architecture::Hopper] {
            let executor = Executor::dry(architecture);
            let batch =
                Batch::new(&executor, AttentionShape::new(spec, &starts, &starts, 3).unwrap(), DType::BF16).unwrap();
            let make = |rows: usize, columns: usize, bytes: usize| executor.allocate(rows * columns * bytes).unwrap();
            let (q, kv, prefix) = (make(6, 256, 2), make(6, 128, 2), make(3, 128, 2));
            let (mut o, mut softmax_lse) = (make(6, 256, 2), make(6, 4, 4));
            let [k, prefix] = [&kv, &prefix].map(|buffer| TokenRows::contiguous(buffer, 128));
            let args = Forward {
                q: TokenRows::contiguous(&q, 256),
                k,
                v: k,
                prefix: Some(Prefix { k: prefix, v: prefix }),
                o: &mut o,
                softmax_lse: &mut softmax_lse,
            };
            forward(&batch, args).unwrap();
            let [launched] = executor.take_launches().try_into().unwrap();
            let pairs = 4 * (own + 6 * 3);
            assert_eq!(launched.grid.work.flops, 2 * 2 * 64 * pairs, "{causal} {window:?} on {architecture:?}");
        }
    }
}
