//! The training step of whole models on a GPU: LoRA and QLoRA (r 16, every linear layer, bf16), sequences of 2048 tokens, every
//! token supervised, with random weights of the true shapes; four sequences with activations kept, and one with blocks
//! recomputed, whose inputs stay on the GPU or wait on the host.
//!
//! On a GPU it prints tokens a second, the peak of its memory and the time of each kernel beside its floor. Where there is none,
//! or with `TUNESMITH_BENCH_DEVICE=cpu`, it prints the launches of the step and the floor of their time for an H100: a model, not
//! a measurement. An argument selects the models whose name holds it.

#[path = "device_step/models.rs"]
mod models;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use device::launch::Architecture;
use device::{DType, Device, SharedBytes};
use half::bf16;
use models::{Model, models};
use tensor::Tensor;
use tunesmith::Error;
use tunesmith::config::{Config, Overrides};
use tunesmith::run::base_model::{BaseModel, RowSettings};
use tunesmith::run::plan::{DryStep, KernelPlan};
use tunesmith::run::purpose::Purpose;
use tunesmith::run::rows::Rows;
use tunesmith::run::steps::Steps;
use tunesmith_benches::{Gpu, normal};

const LENGTH: usize = 2048;
/// Steps that are timed, after two that fill the pool.
const TIMED: usize = 10;

/// How a step is taken.
struct Recipe {
    name: &'static str,
    sequences: usize,
    settings: &'static str,
}

const RECIPES: [Recipe; 3] = [
    Recipe { name: "4 sequences", sequences: 4, settings: "" },
    Recipe { name: "1 sequence, blocks recomputed", sequences: 1, settings: "gradient_checkpointing = true" },
    Recipe {
        name: "1 sequence, blocks recomputed, their inputs on the host",
        sequences: 1,
        settings: "gradient_checkpointing = true\nactivation_offload = true",
    },
];

fn main() -> Result<(), Error> {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // The emulator would take days.
    let gpu = Gpu::find().filter(|gpu| matches!(gpu.executor().device(), Device::Cuda(_)));
    let is_chosen = |model: &Model| chosen.is_empty() || chosen.iter().any(|name| model.name.contains(name.as_str()));
    for model in models().iter().filter(|model| is_chosen(model)) {
        for quantization in ["none", "nf4"] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            model.write(dir.path()).expect("a file of zeros takes no room");
            for recipe in &RECIPES {
                run(model, quantization, recipe, dir.path(), gpu)?;
            }
        }
    }
    Ok(())
}

fn run(model: &Model, quantization: &str, recipe: &Recipe, dir: &Path, gpu: Option<&Gpu>) -> Result<(), Error> {
    let config = config(quantization, recipe, dir)?;
    let mut base = BaseModel::open(&config.model.path, config.model.dtype.dtype(), Purpose::of_config(&config)?)?;
    let settings = RowSettings {
        max_length: LENGTH,
        completion_only_loss: false,
        num_virtual_tokens: 0,
        adapters: &[],
        cache: None,
    };
    let rows = Rows::new(base.feed(&config.data.train, None, None, settings, true)?, &config)?;
    let architecture = gpu.map_or(Architecture::Hopper, |gpu| gpu.executor().architecture());
    let plan = KernelPlan::new(&DryStep::take(&config, &mut base, &rows, architecture)?, architecture);
    println!(
        "{}, {}, {}: {} launches, floor {:.1} ms on {}, {:.0} tokens/s at most, {:.2} GiB planned",
        model.name,
        if quantization == "none" { "LoRA" } else { "QLoRA" },
        recipe.name,
        plan.total.launches,
        plan.total.floor_us / 1e3,
        plan.architecture,
        plan.tokens_per_second(),
        gib(plan.peak_bytes)
    );
    let items: Vec<String> = plan.memory.items().map(|(item, bytes)| format!("{item} {:.2}", gib(bytes))).into();
    println!("  GiB planned: {}", items.join(", "));
    match gpu {
        Some(gpu) => measure(&config, &mut base, &rows, gpu, &plan),
        None => {
            let floors = plan.by_time().into_iter().map(|(kernel, work)| (kernel, 1e-6 * work.floor_us, work.launches));
            floors.for_each(|(kernel, seconds, launches)| line(kernel, launches, seconds, None));
            Ok(())
        }
    }
}

/// Times steps, and then the kernels of one more.
fn measure(config: &Config, base: &mut BaseModel, rows: &Rows, gpu: &Gpu, plan: &KernelPlan) -> Result<(), Error> {
    let (executor, block) = (gpu.executor(), random_block(base));
    base.task.base_mut().replace(|parameter| {
        let len = 2 * parameter.shape.iter().product::<usize>();
        let bytes = block.slice(0, len).expect("the block is as long as the largest weight");
        Ok(Tensor::frozen(&parameter.shape[..], DType::BF16, bytes)?)
    })?;
    base.place(config.model.storage(), executor.device())?;
    let mut steps = Steps::new(config, base)?;
    let batches = rows.micro_batches(1)?;
    for _ in 0..2 {
        steps.take(&batches)?;
    }
    executor.reset_peaks();
    executor.synchronize()?;
    let started = Instant::now();
    for _ in 0..TIMED {
        steps.take(&batches)?;
    }
    executor.synchronize()?;
    let seconds = started.elapsed().as_secs_f64() / TIMED as f64;
    println!(
        "  measured: {:.1} ms, {:.0} tokens/s, {:.0} % of the floor's, {:.2} GiB at its peak",
        1e3 * seconds,
        plan.tokens as f64 / seconds,
        100.0 * 1e-6 * plan.total.floor_us / seconds,
        gib(executor.pool_stats().peak_live_bytes as u64)
    );
    let times = executor.profile(|| steps.take(&batches).map(drop))?;
    let mut kernels: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for (kernel, time) in times {
        let (launches, seconds) = kernels.entry(kernel).or_default();
        *launches += 1;
        *seconds += time.as_secs_f64();
    }
    let mut kernels: Vec<_> = kernels.into_iter().collect();
    kernels.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1));
    for (kernel, (launches, seconds)) in kernels {
        let floor = plan.kernels.get(kernel).map(|work| 1e-6 * work.floor_us / seconds);
        line(kernel, launches, seconds, floor);
    }
    Ok(())
}

fn line(kernel: &str, launches: usize, seconds: f64, share: Option<f64>) {
    let share = share.map_or_else(String::new, |share| format!("{:>7.0} %", 100.0 * share));
    println!("  {kernel:<40} {launches:>6} {:>10.2} ms{share}", 1e3 * seconds);
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Values of standard deviation 0.02, as many as the largest weight has: all weights begin with the same ones, which no
/// product's time depends on.
fn random_block(base: &BaseModel) -> SharedBytes {
    let lens = base.task.base().modules().parameters().map(|parameter| parameter.shape.iter().product::<usize>());
    let len = 2 * lens.max().unwrap_or(0);
    let drawn: Vec<u8> = normal(1 << 20, 1).iter().flat_map(|x| bf16::from_f32(0.02 * x).to_le_bytes()).collect();
    let bytes: Vec<u8> = drawn.iter().copied().cycle().take(len).collect();
    SharedBytes::new(std::sync::Arc::new(bytes), 0, len).expect("all of its own bytes")
}

fn config(quantization: &str, recipe: &Recipe, dir: &Path) -> Result<Config, Error> {
    let rows: String = (0..recipe.sequences)
        .map(|row| {
            let ids: Vec<String> = (0..LENGTH).map(|i| (1 + (i * 7 + row) % 1000).to_string()).collect();
            format!("{{\"input_ids\": [{}]}}\n", ids.join(","))
        })
        .collect();
    std::fs::write(dir.join("rows.jsonl"), rows).expect("there is room for some rows");
    let dir = dir.display();
    let text = format!(
        "[model]\npath = '{dir}'\ndtype = 'bfloat16'\nquantization = '{quantization}'\n\
         [data]\ntrain = '{dir}/rows.jsonl'\nmax_length = {LENGTH}\n\
         [adapter]\nr = 16\ntarget_modules = 'all-linear'\n\
         [training]\noutput_dir = '{dir}/out'\nlearning_rate = 1e-4\nper_device_train_batch_size = {}\n{}",
        recipe.sequences, recipe.settings
    );
    Ok(Config::parse("device_step.toml", &text, &Overrides::default())?)
}
