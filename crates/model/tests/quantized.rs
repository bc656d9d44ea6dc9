//! A quantized base computes what a dense base with its dequantized weights computes.

mod support;

use std::sync::Arc;

use checkpoint::Checkpoint;
use device::DType;
use support::{data, logits, relative_error, variants};
use tensor::Tensor;
use tunesmith_model::{Adapter, Base, Decoder, DecoderConfig, ParameterId, Pass};

/// The base's own values, dense and in f32, in place of all parameters.
struct Dense(Vec<Tensor>);

impl Dense {
    fn of(base: &Base) -> Self {
        let dense = |id: ParameterId| {
            let tensor = base.parameter(id).unwrap();
            Tensor::from_f32(tensor.shape(), &tensor.to_vec()).unwrap()
        };
        Self(base.modules().parameters().map(|parameter| dense(parameter.id)).collect())
    }
}

impl Adapter for Dense {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.0.get(id.index())
    }
}

fn quantized(variant: &str, dtype: DType, double_quant: bool) -> (Decoder, Decoder) {
    let dir = data("families").join(variant);
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let load = || Decoder::from_checkpoint(DecoderConfig::read(&dir).unwrap(), &checkpoint, dtype).unwrap();
    let (dense, mut quantized) = (load(), load());
    quantized.base_mut().quantize(&checkpoint, double_quant).unwrap();
    (dense, quantized)
}

#[test]
fn it_computes_with_its_dequantized_weights() {
    let tokens: Vec<u32> = (0..13).map(|i| i * 5 % 51).collect();
    for variant in variants() {
        for (dtype, double_quant) in [(DType::F32, false), (DType::F32, true), (DType::BF16, true)] {
            let (_, model) = quantized(&variant, dtype, double_quant);
            let dense = Pass::evaluation(Arc::new(Dense::of(model.base())));
            let (got, expected) = (logits(&model, &[&tokens], &Pass::base()), logits(&model, &[&tokens], &dense));
            // Weights that are bf16 take fewer pieces in products by tiles than the same numbers in f32, and a transposed
            // weight other panels: the order of the sums, which f32 keeps to 1e-6 a layer.
            let error = relative_error(&got, &expected);
            assert!(error <= 1e-5, "{variant} {dtype} {double_quant}: {error}");
        }
    }
}

#[test]
fn linear_modules_of_blocks_are_quantized_and_no_others() {
    for variant in ["llama-gqa", "gpt2", "phi3"] {
        let (dense, model) = quantized(variant, DType::F32, true);
        let mut count = 0;
        for module in model.base().modules().iter() {
            let quantized = model.base().quantized(module.weight).is_some();
            assert_eq!(quantized, module.is_quantizable(), "{}", module.path);
            count += usize::from(quantized);
            let (before, after) = (dense.base().parameter(module.weight), model.base().parameter(module.weight));
            let (before, after) = (before.unwrap(), after.unwrap());
            assert_eq!(before.shape(), after.shape(), "{}", module.path);
            let largest = before.to_vec().iter().fold(0.0f32, |max, x| max.max(x.abs()));
            // Half the widest gap of the codebook and of the second quantization.
            let bound = if quantized { 0.16 * largest } else { 0.0 };
            for (before, after) in before.to_vec().iter().zip(after.to_vec()) {
                assert!((before - after).abs() <= bound, "{}: {before} {after}", module.path);
            }
        }
        assert!(count >= 8 && model.base().is_quantized() && !dense.base().is_quantized(), "{variant}");
        assert!(model.base().size_bytes() < dense.base().size_bytes());
        model.base().check_finite().unwrap();
    }
}
