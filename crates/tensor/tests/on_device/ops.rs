//! One test for each op.

use std::sync::Arc;

use lora::Dropout;
use tunesmith_tensor::gradcheck::values;
use tunesmith_tensor::ops::{self, EmbeddingOptions, LoraOperands};
use tunesmith_tensor::{Activation, AttentionSpec, Layout, RopeTable, Sequences, Weight};

use crate::check;

#[test]
fn sums_and_multiples() {
    check("add", 3, &[values([7, 5], 1), values([7, 5], 2)], |x| ops::add(&x[0], &x[1]));
    check("add of itself", 3, &[values([7, 5], 1)], |x| ops::add(&x[0], &x[0]));
    check("scale", 3, &[values([33], 1)], |x| ops::scale(&x[0], -1.75));
    check("slice_rows", 3, &[values([9, 5], 1)], |x| {
        ops::add(&ops::slice_rows(&x[0], 1..4)?, &ops::slice_rows(&x[0], 3..6)?)
    });
    let dropout = Dropout::new(0.3, device::philox::Stream::new(5, 1, 2)).unwrap();
    check("dropout", 3, &[values([7, 9], 1)], |x| ops::dropout(&x[0], dropout));
    check("reshape", 3, &[values([6, 4], 1)], |x| ops::scale(&ops::reshape(&x[0], [3, 8])?, 2.0));
}

#[test]
fn norms() {
    for unit_offset in [false, true] {
        check("rms_norm", 4, &[values([5, 72], 1), values([72], 2)], |x| {
            ops::rms_norm(&x[0], &x[1], 1e-5, unit_offset)
        });
    }
    check("layer_norm", 4, &[values([5, 33], 1), values([33], 2), values([33], 3)], |x| {
        ops::layer_norm(&x[0], &x[1], Some(&x[2]), 1e-5)
    });
    check("layer_norm without bias", 4, &[values([3, 8], 1), values([8], 2)], |x| {
        ops::layer_norm(&x[0], &x[1], None, 1e-5)
    });
}

#[test]
fn activations() {
    for function in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
        check("activation", 4, &[values([41], 1)], |x| ops::activation(&x[0], function));
        check("gated", 4, &[values([5, 9], 1), values([5, 9], 2)], |x| ops::gated_activation(&x[0], &x[1], function));
        check("fused", 4, &[values([5, 18], 1)], |x| ops::gated_activation_fused(&x[0], function));
    }
}

#[test]
fn rows_and_columns() {
    let ids: Arc<[u32]> = [2, 0, 2, 4].into();
    let options = EmbeddingOptions { scale: Some(1.5), padding_idx: Some(0) };
    check("embedding", 3, &[values([5, 12], 1)], |x| ops::embedding(&ids, &x[0], options));
    check("select_rows", 3, &[values([5, 12], 1)], |x| ops::select_rows(&x[0], &ids));
    let blocks: Arc<[std::ops::Range<usize>]> = [0..2, 6..8].into();
    check("columns", 3, &[values([5, 12], 1)], |x| ops::columns(&x[0], &blocks));
}

#[test]
fn rotation() {
    let table = Arc::new(RopeTable::from_frequencies(&[1.0, 0.3, 0.01], 1.0, 8).unwrap());
    let positions: Arc<[u32]> = [0, 1, 2, 7, 3].into();
    check("rope", 3, &[values([5, 16], 1)], |x| ops::rope(&x[0], &table, &positions, 8));
}

#[test]
fn projections() {
    for (layout, shape) in [(Layout::OutIn, [40, 24]), (Layout::InOut, [24, 40])] {
        check("linear", 4, &[values([9, 24], 1), values(shape, 2), values([40], 3)], |x| {
            ops::linear(&x[0], &Weight::dense(x[1].clone(), layout)?, Some(&x[2]))
        });
        for dropout in [None, Some(Dropout::new(0.3, device::philox::Stream::new(5, 1, 2)).unwrap())] {
            let inputs =
                [values([9, 24], 1), values(shape, 2), values([40], 3), values([8, 24], 4), values([40, 8], 5)];
            check("lora_linear", 6, &inputs, |x| {
                let operands = LoraOperands { a: x[3].clone(), b: x[4].clone(), bias: None, scaling: 0.75, dropout };
                ops::lora_linear(&x[0], &Weight::dense(x[1].clone(), layout)?, Some(&x[2]), &operands)
            });
        }
    }
    check("ia3_scale", 4, &[values([9, 20], 1), values([20], 2)], |x| ops::ia3_scale(&x[0], &x[1]));
}

#[test]
fn attention() {
    let spec = AttentionSpec {
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 8,
        softmax_scale: 0.5,
        causal: true,
        window: None,
        softcap: None,
    };
    let sequences = Arc::new(Sequences::packed(&[0, 5, 12]).unwrap());
    let inputs =
        [values([12, 32], 1), values([12, 16], 2), values([12, 16], 3), values([3, 16], 4), values([3, 16], 5)];
    // The probabilities and the gradients of the scores are rounded too.
    check("attention", 8, &inputs[..3], |x| ops::attention(&x[0], &x[1], &x[2], &spec, &sequences, None));
    check("attention with a prefix", 8, &inputs, |x| {
        ops::attention(&x[0], &x[1], &x[2], &spec, &sequences, Some((&x[3], &x[4])))
    });
}

#[test]
fn losses() {
    let labels = [4, -100, 0, 12, 3];
    for softcap in [None, Some(2.0)] {
        // Logits and their gradients are rounded, and their differences are smaller than they are.
        check("cross_entropy", 6, &[values([5, 13], 1)], |x| ops::cross_entropy(&x[0], &labels, softcap));
        check("linear_cross_entropy", 8, &[values([5, 16], 1), values([13, 16], 2)], |x| {
            ops::linear_cross_entropy(&x[0], &Weight::dense(x[1].clone(), Layout::OutIn)?, &labels, softcap)
        });
    }
}
