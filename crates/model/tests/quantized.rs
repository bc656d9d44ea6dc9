//! A quantized base computes what a dense base with its dequantized weights computes; files of bitsandbytes are read, and
//! those that contradict themselves refused.

mod support;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use checkpoint::{Checkpoint, CheckpointError, Dtype, SafetensorsFile, Storage, TensorSpec, write_safetensors};
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
            // In bf16 a difference in the last bit of an f32 may round to the other side: 2^-8 of a few elements.
            let bound = if dtype == DType::BF16 { 2e-3 } else { 1e-5 };
            let error = relative_error(&got, &expected);
            assert!(error <= bound, "{variant} {dtype} {double_quant}: {error}");
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
            if quantized {
                let through = dense.base().through_nf4(module.weight, &before.to_vec(), true).unwrap();
                assert_eq!(through.to_vec(), after.to_vec(), "{}", module.path);
            }
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

/// A tensor of a file.
struct Entry {
    spec: TensorSpec,
    bytes: Vec<u8>,
}

/// Writes the model that bitsandbytes quantized to `dir`, its tensors changed.
fn write_changed(dir: &Path, change: impl FnOnce(&mut Vec<Entry>)) {
    let from = data("peft/base-llama_nf4");
    std::fs::copy(from.join("config.json"), dir.join("config.json")).unwrap();
    let file = SafetensorsFile::open(from.join("model.safetensors")).unwrap();
    let entry = |tensor: checkpoint::MappedTensor| {
        let (name, dtype, shape) = (tensor.name().to_owned(), tensor.dtype(), tensor.shape().to_vec());
        Entry { spec: TensorSpec { name, dtype, shape }, bytes: tensor.bytes().to_vec() }
    };
    let mut entries: Vec<Entry> = file.tensors().map(entry).collect();
    change(&mut entries);
    let specs: Vec<TensorSpec> = entries.iter().map(|entry| entry.spec.clone()).collect();
    write_safetensors(&Storage, &dir.join("model.safetensors"), &specs, &[("format", "pt")], |spec| {
        let entry = entries.iter().find(|entry| entry.spec.name == spec.name).unwrap();
        Ok::<_, CheckpointError>(Cow::Borrowed(&entry.bytes[..]))
    })
    .unwrap();
}

const WEIGHT: &str = "model.layers.0.self_attn.q_proj.weight";

/// The error of loading the model with one tensor of [`WEIGHT`] changed.
fn refused(suffix: &str, change: impl FnOnce(&mut Entry)) -> String {
    let dir = tempfile::tempdir().unwrap();
    write_changed(dir.path(), |entries| {
        let name = format!("{WEIGHT}{suffix}");
        change(entries.iter_mut().find(|entry| entry.spec.name == name).unwrap());
    });
    let error = Decoder::load(dir.path(), DType::F32).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("q_proj.weight"), "{error}");
    error
}

fn set_state(json: &str) -> impl FnOnce(&mut Entry) {
    let bytes = json.as_bytes().to_vec();
    |entry| {
        entry.spec.shape = vec![bytes.len()];
        entry.bytes = bytes;
    }
}

const STATE: &str = ".quant_state.bitsandbytes__nf4";

#[test]
fn descriptions_that_contradict_the_weight_are_refused() {
    let state = |shape: &str, block: usize, nested: &str| {
        format!(r#"{{"quant_type": "nf4", "blocksize": {block}, "dtype": "float32", "shape": {shape}{nested}}}"#)
    };
    let nested = r#", "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.05"#;
    for (json, expected) in [
        (state("[64, 64]", 64, nested)[..40].to_owned(), "its description: EOF"),
        ("[]".to_owned(), "its description: invalid length 0"),
        (state("[64, 65]", 64, nested), "its `shape` is [64, 65], expected [64, 64]"),
        (state("[64]", 64, nested), "its `shape` is [64], expected [64, 64]"),
        (state("[64, 64]", 48, nested), "blocks of 48 elements"),
        (state("[64, 64]", 32, nested), "`codes` holds 64 elements, expected 128"),
        (state("[64, 64]", 64, ""), "its `absmax` is U8, expected F32"),
        (state("[64, 64]", 64, &nested.replace("256", "0")), "nested blocks hold 0 values"),
        (state("[64, 64]", 64, &nested.replace("256", "1")), "`nested_absmax` holds 1 elements, expected 64"),
        (state("[64, 64]", 64, &nested.replace("float32", "float16")), "its `nested_dtype` is not float32"),
        (state("[64, 64]", 64, &nested.replace("0.05", "null")), "it has no `nested_offset`"),
    ] {
        let error = refused(STATE, set_state(&json));
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn parts_that_are_missing_or_of_another_size_are_refused() {
    let rename = |name: &'static str| move |entry: &mut Entry| entry.spec.name = format!("{WEIGHT}{name}");
    let error = refused(STATE, rename(".quant_state.bitsandbytes__fp4"));
    assert!(error.contains("its type is fp4, and nf4 alone is computed"), "{error}");
    assert!(refused(".quant_map", rename(".quant_map2")).contains("quant_map2"));
    let shorten = |entry: &mut Entry| {
        entry.spec.shape = vec![entry.bytes.len() - 1];
        entry.bytes.pop();
    };
    assert!(refused("", shorten).contains("`packed` holds 2047 elements, expected 2048"));
    assert!(refused(".absmax", shorten).contains("`codes` holds 63 elements, expected 64"));
    let other_map = |entry: &mut Entry| entry.bytes[3] ^= 1;
    assert!(refused(".quant_map", other_map).contains("holds other values than NF4's"));
    let fewer = |entry: &mut Entry| {
        entry.spec.shape = vec![255];
        entry.bytes.truncate(255 * 4);
    };
    assert!(refused(".nested_quant_map", fewer).contains("holds 255 values, expected 256"));
    let half = |entry: &mut Entry| entry.spec = TensorSpec { dtype: Dtype::F16, shape: vec![2], ..entry.spec.clone() };
    assert!(refused(".nested_absmax", half).contains("its `nested_absmax` is F16, expected F32"));
}

#[test]
fn scales_that_are_no_numbers_are_found() {
    let dir = tempfile::tempdir().unwrap();
    write_changed(dir.path(), |entries| {
        let name = format!("{WEIGHT}.nested_absmax");
        let entry = entries.iter_mut().find(|entry| entry.spec.name == name).unwrap();
        entry.bytes = f32::NAN.to_le_bytes().to_vec();
    });
    let error = Decoder::load(dir.path(), DType::F32).unwrap().base().check_finite().unwrap_err().to_string();
    assert!(error.contains("q_proj.weight") && error.contains("holds NaN at element 0"), "{error}");
}

#[test]
fn quantized_files_of_other_kinds_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    write_changed(dir.path(), |_| {});
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    for (from, to, expected) in [
        ("\"bitsandbytes\"", "\"gptq\"", "`quantization_config.quant_method` is `\"gptq\"`"),
        ("\"load_in_8bit\": false", "\"load_in_8bit\": true", "`quantization_config.load_in_8bit` is "),
        ("\"nf4\"", "\"fp4\"", "`quantization_config.bnb_4bit_quant_type` is `\"fp4\"`"),
    ] {
        assert!(config.contains(from));
        std::fs::write(dir.path().join("config.json"), config.replace(from, to)).unwrap();
        let error = Decoder::load(dir.path(), DType::F32).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
