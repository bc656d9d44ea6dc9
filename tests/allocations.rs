//! From the second training step on, no memory for activations, gradients or packed panels is asked of the system.
//!
//! A test binary of its own, because it counts what the whole process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adamw::{AdamW, Group, Step};
use device::{Buffer, DType, Device, pool};
use model::{Adapter, Decoder, Dropout, Input, Pass};
use peft::AdapterConfig;
use tensor::{Gradients, backward};

/// Bookkeeping of an op (its closure, its node, a list of parents) stays below this; an activation of the model below,
/// [`TOKENS`] rows of 32 floats, is eight times as large.
const LARGE: usize = 4096;
const TOKENS: usize = 256;

struct Counting;

static LARGE_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches two atomics only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGE_ALLOCATIONS.fetch_add(usize::from(layout.size() >= LARGE), Ordering::Relaxed);
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a step leaves behind: large allocations it made, blocks its pool asked for, bytes that are live after it.
#[derive(Debug, PartialEq)]
struct Footprint {
    large_allocations: usize,
    pool_blocks: u64,
    live_bytes: usize,
}

#[test]
fn the_second_step_allocates_nothing_new() {
    // One thread: which of two threads packs a panel first is not the same in every step, and each has its own panel.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    for gradient_checkpointing in [false, true] {
        let footprints = train(gradient_checkpointing, 6);
        for (index, footprint) in footprints.iter().enumerate().skip(1) {
            assert_eq!(footprint.large_allocations, 0, "step {}: {footprints:#?}", index + 1);
            assert_eq!(footprint.pool_blocks, 0, "step {}: {footprints:#?}", index + 1);
            assert_eq!(footprint.live_bytes, footprints[1].live_bytes, "step {}: {footprints:#?}", index + 1);
        }
        assert!(footprints[0].pool_blocks > 0, "the first step has to fill the pool");
    }
}

fn train(gradient_checkpointing: bool, steps: u64) -> Vec<Footprint> {
    pool::trim();
    let base = Decoder::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/families/llama"), DType::F32).unwrap();
    let config =
        r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": "all-linear"}"#;
    let (config, _) = AdapterConfig::read(Path::new("adapter_config.json"), config).unwrap();
    let (method, _) = peft::attach(config, base.base(), 1).unwrap();
    let parameters = method.parameters();
    let count = parameters.count();
    let mut gradients = Gradients::new(parameters.tensors()).unwrap();
    let mut moments = [(); 2].map(|()| Buffer::zeroed(Device::Cpu, DType::F32, count).unwrap());
    let groups = [Group { range: 0..count, learning_rate: 1.0, weight_decay: 1.0 }];
    let vocab = base.config().vocab_size;
    let rows: Vec<Vec<u32>> =
        (0..8).map(|row| (0..TOKENS / 8).map(|i| ((i * 7 + row) % vocab) as u32).collect()).collect();
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let targets: Vec<i64> = (0..TOKENS).map(|i| (i % vocab) as i64).collect();
    let mut footprints = Vec::with_capacity(steps as usize);
    for step in 1..=steps {
        let (large, blocks) = (LARGE_ALLOCATIONS.load(Ordering::Relaxed), pool::stats().blocks_allocated);
        let input = Input::from_sequences(&rows).unwrap();
        let adapter = Arc::clone(&method) as Arc<dyn Adapter>;
        let pass = Pass {
            adapter,
            dropout: Some(Dropout { seed: 1, step: step as u32 }),
            gradient_checkpointing,
            offload: None,
        };
        let hidden = base.forward(&input, &pass).unwrap();
        let loss = base.loss(&hidden, &targets, &pass).unwrap();
        gradients.zero().unwrap();
        backward(&loss, 1.0 / TOKENS as f32, &mut gradients).unwrap();
        let [exp_avg, exp_avg_sq] = &mut moments;
        let adamw = AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
        parameters
            .update(|values| {
                let update = Step {
                    step,
                    learning_rate: 1e-3,
                    grad_scale: 1.0,
                    groups: &groups,
                    gradients: gradients.flat().unwrap(),
                    parameters: values,
                    exp_avg: exp_avg.f32_mut().unwrap(),
                    exp_avg_sq: exp_avg_sq.f32_mut().unwrap(),
                };
                adamw::step(&adamw, update)
            })
            .unwrap()
            .unwrap();
        pool::advance();
        drop((hidden, loss, input, pass));
        footprints.push(Footprint {
            large_allocations: LARGE_ALLOCATIONS.load(Ordering::Relaxed) - large,
            pool_blocks: pool::stats().blocks_allocated - blocks,
            live_bytes: LIVE_BYTES.load(Ordering::Relaxed),
        });
    }
    footprints
}
