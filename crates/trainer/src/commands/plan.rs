//! `plan`: what a config would train and whether it fits, from the headers of the weights and the rows.

use device::Device;
use device::launch::Architecture;
use serde_json::json;

use crate::Error;
use crate::args::PlanArgs;
use crate::commands::EXIT_DONE;
use crate::config::Config;
use crate::console::Console;
use crate::run::base_model::now;
use crate::run::facts;
use crate::run::plan::{DevicePlan, DryStep, KernelPlan, RunPlan};
use crate::run::setup::{Setup, limit_memory};
use crate::run::token_cache::Access;
use crate::units::Bytes;

pub(super) fn run(args: &PlanArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    let config = Config::load(args.config.config.as_deref(), &args.config.overrides())?;
    let mut setup = Setup::load(&config, now(), Access::Read, console)?;
    config.adapter.without_effect().iter().for_each(|warning| console.warning(warning));
    let plan = RunPlan::new(&config, &setup.base, &setup.rows)?;
    let Setup { base, rows, .. } = &mut setup;
    let kernels = match args.kernels {
        Some(architecture) => Some(KernelPlan::new(&DryStep::take(&config, base, rows, architecture)?, architecture)),
        None => None,
    };
    let on_device = match config.training.device.open() {
        Ok(Device::Cpu) => {
            config.training.without_effect(Device::Cpu).iter().for_each(|warning| console.warning(warning));
            None
        }
        Ok(device) => {
            limit_memory(&config, device)?;
            Some(DevicePlan::new(&config, base, rows, device)?)
        }
        // A GPU that another machine has.
        Err(_) => Some(DevicePlan::elsewhere(&config, base, rows, args.kernels.unwrap_or(Architecture::Hopper))?),
    };
    let statistics = setup.rows.feed.finish()?.statistics();
    if args.json {
        let modules = setup.base.task.base().modules();
        let base_parameters = modules.count() as u64;
        let trainable = plan.trained.parameters as u64;
        let all = facts::all_parameters(&config, base_parameters, trainable);
        console.result(&json!({
            "model_type": setup.base.task.base().dimensions().model_type,
            "base_parameters": base_parameters,
            "trainable_parameters": trainable,
            "trainable_share": trainable as f64 / all.max(1) as f64,
            "adapted_modules": plan.trained.adapted(modules).collect::<Vec<_>>(),
            "rows": statistics.examples,
            "tokens": statistics.tokens,
            "supervised_share": statistics.target_share(),
            "max_steps": setup.max_steps,
            "learning_rate": config.training.learning_rate,
            "from_recipe": config.from_recipe,
            "memory": plan.memory,
            "memory_total": plan.memory.total(),
            "memory_available": plan.available_bytes,
            "fits": on_device.as_ref().map_or_else(|| plan.fits(), DevicePlan::fits),
            "largest_micro_batch": plan.largest_micro_batch,
            "device_memory": on_device.as_ref().map(|plan| plan.memory),
            "device_memory_total": on_device.as_ref().map(|plan| plan.memory.total()),
            "device_memory_available": on_device.as_ref().and_then(|plan| plan.available_bytes),
            "gpu": kernels,
        }))?;
    } else {
        let mut told = facts::model(&config, &setup.base, &plan.trained);
        told.push(facts::rows(statistics));
        told.push(facts::length(&config, setup.max_steps, setup.rows.epochs_after(setup.max_steps)));
        told.extend(facts::recipe(&config));
        for (name, value) in told {
            console.answer(format_args!("{name}: {value}"))?;
        }
        console.answer("memory:")?;
        for (name, bytes) in plan.memory.items() {
            console.answer(format_args!("  {name:<21} {:>10}", Bytes(bytes)))?;
        }
        console.answer(format_args!("  {:<21} {:>10}", "total", Bytes(plan.memory.total())))?;
        if let Some(available) = plan.available_bytes {
            console.answer(format_args!("  {:<21} {:>10}", "available", Bytes(available)))?;
            let batch = plan.largest_micro_batch;
            console.answer(format_args!("largest per_device_train_batch_size that fits: {batch}"))?;
        }
        on_device.iter().try_for_each(|plan| tell_memory(plan, console))?;
        kernels.iter().try_for_each(|kernels| tell(kernels, console))?;
    }
    let checked = on_device.map_or_else(|| plan.check(&config), |plan| plan.check(&config));
    checked.map(|()| EXIT_DONE)
}

/// The memory of the device.
fn tell_memory(plan: &DevicePlan, console: Console) -> Result<(), Error> {
    console.answer(format_args!("device memory ({}):", plan.device))?;
    for (name, bytes) in plan.memory.items() {
        console.answer(format_args!("  {name:<21} {:>10}", Bytes(bytes)))?;
    }
    console.answer(format_args!("  {:<21} {:>10}", "total", Bytes(plan.memory.total())))?;
    if let Some(available) = plan.available_bytes {
        console.answer(format_args!("  {:<21} {:>10}", "available", Bytes(available)))?;
    }
    console.answer(format_args!("page-locked memory of the host: {}", Bytes(plan.memory.page_locked)))
}

/// The kernels of a step, those with the longest floor first.
fn tell(plan: &KernelPlan, console: Console) -> Result<(), Error> {
    let total = &plan.total;
    console.answer(format_args!(
        "one step on a GPU ({}): {} launches, at least {:.2} ms, so at most {:.0} tokens/s; {} of its memory",
        plan.architecture,
        total.launches,
        total.floor_us / 1e3,
        plan.tokens_per_second(),
        Bytes(plan.peak_bytes)
    ))?;
    console.answer(format_args!(
        "  {:<36} {:>8} {:>12} {:>12} {:>12} {:>6}",
        "kernel", "launches", "GFLOP", "MB", "floor us", "share"
    ))?;
    for (name, work) in plan.by_time() {
        console.answer(format_args!(
            "  {name:<36} {:>8} {:>12.3} {:>12.3} {:>12.1} {:>5.1}%",
            work.launches,
            work.flops as f64 / 1e9,
            work.bytes as f64 / 1e6,
            work.floor_us,
            100.0 * work.floor_us / total.floor_us.max(f64::MIN_POSITIVE)
        ))?;
    }
    Ok(())
}
