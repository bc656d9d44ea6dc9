//! One test for each op.

use std::sync::Arc;

use device::DType;
use lora::Dropout;
use tunesmith_tensor::gradcheck::values;
use tunesmith_tensor::ops::{self, BottleneckOperands, EmbeddingOptions, LoraOperands, LoraProjection};
use tunesmith_tensor::{
    Activation, AttentionSpec, Layout, Nf4Matrix, RelativeBuckets, RopeTable, Sequences, Tensor, Weight,
};

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
        check("gated scaled", 4, &[values([5, 9], 1), values([5, 9], 2), values([9], 3)], |x| {
            ops::gated_activation_scaled(&x[0], &x[1], &x[2], function)
        });
        check("fused scaled", 4, &[values([5, 18], 1), values([9], 3)], |x| {
            ops::gated_activation_fused_scaled(&x[0], &x[1], function)
        });
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
    let unequal: Arc<[std::ops::Range<usize>]> = [7..12, 0..2, 3..3, 4..5].into();
    check("columns at unequal distances", 3, &[values([5, 12], 1)], |x| ops::columns(&x[0], &unequal));
    check("concat_columns", 3, &[values([5, 3], 1), values([5, 8], 2)], |x| ops::concat_columns(&x[0], &x[1]));
}

#[test]
fn sequences() {
    let sequences = Arc::new(Sequences::packed(&[0, 2, 2, 7]).unwrap());
    check("mean_rows", 3, &[values([7, 12], 1)], |x| ops::mean_rows(&x[0], &sequences));
    check("prepend", 3, &[values([3, 12], 1), values([7, 12], 2)], |x| ops::prepend(&x[0], &x[1], &sequences));
    // A prompt that is trained is f32 before activations of another type.
    let inputs = [values([3, 12], 1), values([7, 12], 2)];
    check("prepend in f32", 3, &inputs, |x| ops::prepend(&ops::convert(&x[0], DType::F32)?, &x[1], &sequences));
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
    // Three of one input, one launch each way; the second drops.
    let dropout = Some(Dropout::new(0.3, device::philox::Stream::new(5, 1, 2)).unwrap());
    let sizes = [(24, 8, None), (40, 4, dropout), (16, 8, None)];
    let mut inputs = vec![values([9, 24], 1)];
    for (outputs, rank, _) in sizes {
        inputs.extend([values([outputs, 24], 2), values([rank, 24], 3), values([outputs, rank], 4)]);
    }
    check("lora_linears", 6, &inputs, |x| {
        let operands = |i: usize| (x[3 * i + 1].clone(), x[3 * i + 2].clone(), x[3 * i + 3].clone(), sizes[i].2);
        let parts = [0, 1, 2].map(operands).map(|(weight, a, b, dropout)| {
            (Weight::dense(weight, Layout::OutIn), LoraOperands { a, b, bias: None, scaling: 0.75, dropout })
        });
        let weights = parts.each_ref().map(|(weight, _)| weight.as_ref().expect("a matrix"));
        let projections = [0, 1, 2].map(|i| LoraProjection { weight: weights[i], bias: None, adapter: &parts[i].1 });
        let y = ops::lora_linears(&x[0], &projections)?;
        ops::concat_columns(&ops::concat_columns(&y[0], &y[1])?, &y[2])
    });
    // A base that is trained takes the ops one by one; a frozen one is scaled by its product.
    let inputs = [values([9, 24], 1), values([40, 24], 2), values([40], 3), values([40], 4)];
    check("linear_scaled", 4, &inputs, |x| {
        ops::linear_scaled(&x[0], &Weight::dense(x[1].detach(), Layout::OutIn)?, Some(&x[2].detach()), &x[3])
    });
    check("ia3_scale", 4, &[values([9, 20], 1), values([20], 2)], |x| ops::ia3_scale(&x[0], &x[1]));
}

/// The values are those that both sides dequantize: the bounds are those of a dense weight.
#[test]
fn projections_of_quantized_weights() {
    for (double_quant, inputs) in [(false, 24), (true, 24), (true, 21)] {
        let weight = Weight::Nf4(quantized([40, inputs], 2, double_quant));
        // A few tokens, which stream the weight, and more.
        for tokens in [5, 19] {
            check("linear", 4, &[values([tokens, inputs], 1), values([40], 3)], |x| {
                ops::linear(&x[0], &weight, Some(&x[1]))
            });
            let operands = [values([tokens, inputs], 1), values([40], 3), values([8, inputs], 4), values([40, 8], 5)];
            check("lora_linear", 6, &operands, |x| {
                let (a, b) = (x[2].clone(), x[3].clone());
                let operands = LoraOperands { a, b, bias: None, scaling: 0.75, dropout: None };
                ops::lora_linear(&x[0], &weight, Some(&x[1]), &operands)
            });
        }
    }
}

#[test]
fn adapters() {
    let inputs = [values([9, 24], 1), values([6, 24], 2), values([24, 6], 3), values([6], 4), values([24], 5)];
    for (bias, adds) in [(true, true), (true, false), (false, true), (false, false)] {
        check("bottleneck", 6, &inputs, |x| {
            let operands = BottleneckOperands {
                down: x[1].clone(),
                down_bias: bias.then(|| x[3].clone()),
                up: x[2].clone(),
                up_bias: bias.then(|| x[4].clone()),
                activation: Activation::Tanh,
                scaling: 0.75,
            };
            ops::bottleneck(&x[0], adds.then_some(&x[0]), &operands)
        });
    }
    let inputs = [values([2, 2, 2], 1), values([2, 33, 2], 2), values([2, 2, 5], 3)];
    check("phm_weight", 3, &inputs, |x| ops::phm_weight(&x[0], &x[1], &x[2]));
    for reverse in [false, true] {
        check("lstm", 3, &[values([5, 28], 1), values([28, 7], 2)], |x| ops::lstm(&x[0], &x[1], reverse));
    }
}

#[test]
fn weights_brought_to_norms() {
    for bias in [false, true] {
        let inputs = [values([9, 20], 1), values([20], 2), values([20], 3)];
        check("dora_scale", 4, &inputs, |x| {
            let norm = Tensor::from_f32([20], &[1.5; 20])?.to_device(x[0].device(), DType::F32)?;
            ops::dora_scale(&x[0], &x[1], &norm, bias.then_some(&x[2]))
        });
    }
    for (layout, shape) in [(Layout::OutIn, [40, 24]), (Layout::InOut, [24, 40])] {
        let inputs = [values([9, 40], 1), values(shape, 2), values([4, 24], 3), values([40, 4], 4), values([40], 5)];
        check("low_rank_norm", 4, &inputs, |x| {
            let weight = Weight::dense(x[1].clone(), layout)?;
            let squares = ops::output_squares(&weight, x[0].device())?;
            let norm = ops::low_rank_norm(&weight, &squares, &x[2], &x[3], 0.75)?;
            ops::dora_scale(&x[0], &x[4], &norm, None)
        });
    }
    for double_quant in [false, true] {
        let weight = Weight::Nf4(quantized([40, 24], 2, double_quant));
        let inputs = [values([9, 40], 1), values([4, 24], 3), values([40, 4], 4), values([40], 5)];
        check("low_rank_norm of quantized weights", 4, &inputs, |x| {
            let squares = ops::output_squares(&weight, x[0].device())?;
            let norm = ops::low_rank_norm(&weight, &squares, &x[1], &x[2], 0.75)?;
            ops::dora_scale(&x[0], &x[3], &norm, None)
        });
    }
    for (layout, shape) in [(Layout::OutIn, [4, 24]), (Layout::InOut, [24, 4])] {
        // The penalty of what is f32 on every device: leaves.
        check("orthogonality", 4, &[values(shape, 1)], |x| {
            ops::orthogonality(&ops::convert(&x[0], DType::F32)?, layout)
        });
    }
}

fn quantized(shape: [usize; 2], seed: u64, double_quant: bool) -> Nf4Matrix {
    let (shape, values) = values(shape, seed);
    Nf4Matrix::quantize(&Tensor::from_f32(shape, &values).unwrap(), DType::BF16, double_quant).unwrap()
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
    let buckets = RelativeBuckets::new(8, 6, true).unwrap();
    let spec = AttentionSpec { causal: false, ..spec };
    let inputs = [&inputs[..3], &[values([8, 4], 6)], &inputs[3..]].concat();
    // The table is a leaf, which is f32 on every device.
    let bias = |x: &Tensor| ops::convert(x, DType::F32);
    check("attention with a bias", 8, &inputs[..4], |x| {
        ops::attention_with_bias(&x[0], &x[1], &x[2], &spec, &sequences, None, Some((&bias(&x[3])?, buckets)))
    });
    check("attention with a bias and a prefix", 8, &inputs, |x| {
        let (prefix, bias) = (Some((&x[4], &x[5])), bias(&x[3])?);
        ops::attention_with_bias(&x[0], &x[1], &x[2], &spec, &sequences, prefix, Some((&bias, buckets)))
    });
}

#[test]
fn losses() {
    let labels = [4, -100, 0, 12, 3];
    check("squared_error", 4, &[values([5, 3], 1)], |x| ops::squared_error(&x[0], &[0.25; 15]));
    check("softcap", 4, &[values([41], 1)], |x| ops::softcap(&x[0], 0.5));
    for softcap in [None, Some(2.0)] {
        // Logits and their gradients are rounded, and their differences are smaller than they are.
        check("cross_entropy", 6, &[values([5, 13], 1)], |x| ops::cross_entropy(&x[0], &labels, softcap));
        check("linear_cross_entropy", 8, &[values([5, 16], 1), values([13, 16], 2)], |x| {
            ops::linear_cross_entropy(&x[0], &Weight::dense(x[1].clone(), Layout::OutIn)?, &labels, softcap)
        });
        let head = Weight::Nf4(quantized([13, 16], 2, true));
        check("linear_cross_entropy of a quantized head", 8, &[values([5, 16], 1)], |x| {
            ops::linear_cross_entropy(&x[0], &head, &labels, softcap)
        });
    }
}
