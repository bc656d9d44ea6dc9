//! A whole training step, forward, backward and optimizer, of LoRA (r 16, every linear layer) on the shape of
//! SmolLM2-135M with random weights: 4 sequences of 256 tokens, every position supervised.

use std::borrow::Cow;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use adamw::{AdamW, Group, Step};
use checkpoint::{CheckpointError, Dtype, Storage, TensorSpec, atomic_write, write_safetensors};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use device::{Buffer, DType, Device, pool};
use model::{Adapter, Decoder, DecoderConfig, Dropout, Input, Pass};
use peft::{AdapterConfig, Method};
use tensor::{Gradients, backward};
use tunesmith_benches::normal;

const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
    "rope_theta": 100000.0, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "hidden_act": "silu"}"#;
const ADAPTER: &str = r#"{"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}"#;
const BATCH: usize = 4;
const SEQ_LEN: usize = 256;
const TOKENS: usize = BATCH * SEQ_LEN;

/// Writes random bfloat16 weights of standard deviation 0.02 for every parameter of the configuration in `dir`.
fn write_weights(dir: &Path) {
    let modules = DecoderConfig::read(dir).unwrap().modules();
    let spec = |parameter: &model::Parameter| TensorSpec {
        name: parameter.name.clone(),
        dtype: Dtype::BF16,
        shape: parameter.shape.clone(),
    };
    let specs: Vec<TensorSpec> = modules.parameters().filter(|p| p.tied_to.is_none()).map(spec).collect();
    // One block of values is repeated: the time of a product does not depend on it, and drawing 135M would take longer
    // than the measurement.
    let block: Vec<u8> = normal(1 << 16, 1).iter().flat_map(|x| half::bf16::from_f32(0.02 * x).to_le_bytes()).collect();
    let data = |spec: &TensorSpec| {
        let len = 2 * spec.shape.iter().product::<usize>();
        Ok::<_, CheckpointError>(Cow::Owned(block.iter().copied().cycle().take(len).collect()))
    };
    write_safetensors(&Storage, &dir.join("model.safetensors"), &specs, &[], data).unwrap();
}

/// One run's state between its steps.
struct Run {
    base: Decoder,
    method: Arc<dyn Method>,
    gradients: Gradients,
    moments: [Buffer; 2],
    steps: u64,
}

impl Run {
    fn new(dir: &Path) -> Self {
        let base = Decoder::load(dir, DType::F32).unwrap();
        let (config, _) = AdapterConfig::read(Path::new("adapter_config.json"), ADAPTER).unwrap();
        let (method, _) = peft::attach(config, base.base(), 1).unwrap();
        let gradients = Gradients::new(method.parameters().tensors()).unwrap();
        let count = method.parameters().count();
        let moments = [(); 2].map(|()| Buffer::zeroed(Device::Cpu, DType::F32, count).unwrap());
        Self { base, method, gradients, moments, steps: 0 }
    }

    fn step(&mut self, input: &Input, targets: &[i64]) -> f32 {
        self.steps += 1;
        let pass = Pass {
            adapter: Arc::clone(&self.method) as Arc<dyn Adapter>,
            dropout: Some(Dropout { seed: 1, step: self.steps as u32 }),
            gradient_checkpointing: false,
            offload: None,
        };
        let hidden = self.base.forward(input, &pass).unwrap();
        let loss = self.base.loss(&hidden, targets, &pass).unwrap();
        self.gradients.zero().unwrap();
        backward(&loss, 1.0 / TOKENS as f32, &mut self.gradients).unwrap();
        let parameters = self.method.parameters();
        let groups = [Group { range: 0..parameters.count(), learning_rate: 1.0, weight_decay: 1.0 }];
        let [exp_avg, exp_avg_sq] = &mut self.moments;
        let update = |values: &mut [f32]| {
            let step = Step {
                step: self.steps,
                learning_rate: 1e-4,
                grad_scale: 1.0,
                groups: &groups,
                gradients: self.gradients.flat().unwrap(),
                parameters: values,
                exp_avg: exp_avg.f32_mut().unwrap(),
                exp_avg_sq: exp_avg_sq.f32_mut().unwrap(),
            };
            adamw::step(&AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }, step).unwrap();
        };
        parameters.update(update).unwrap();
        pool::advance();
        loss.item().unwrap()
    }
}

fn train_step(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    atomic_write(&Storage, &dir.path().join("config.json"), CONFIG.as_bytes()).unwrap();
    write_weights(dir.path());
    let mut run = Run::new(dir.path());
    let rows: Vec<Vec<u32>> =
        (0..BATCH).map(|row| (0..SEQ_LEN).map(|i| ((i * 7919 + row * 104_729) % 49_152) as u32).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let input = Input::from_sequences(&rows).unwrap();
    let targets: Vec<i64> = (0..TOKENS).map(|i| (i * 31 % 49_152) as i64).collect();
    let mut group = criterion.benchmark_group("train_step");
    // Elements are tokens.
    group.sample_size(10).throughput(Throughput::Elements(TOKENS as u64));
    group.bench_function("smollm2-135m lora r16 f32 batch 4 seq 256", |bencher| {
        bencher.iter(|| black_box(run.step(&input, &targets)));
    });
    group.finish();
}

criterion_group!(benches, train_step);
criterion_main!(benches);
