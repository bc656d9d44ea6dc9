//! `doctor`: what this machine and this build offer, what is missing, and why.

use device::Device;
use device::launch::Executor;

use crate::Error;
use crate::commands::EXIT_DONE;
use crate::config::{DeviceChoice, Method};
use crate::console::Console;
use crate::memory;
use crate::units::Bytes;

pub(super) fn run() -> Result<u8, Error> {
    let console = Console::default();
    let line = |name: &str, text: String| console.answer(format_args!("{name:<8} {text}"));
    line("version", format!("tunesmith {}", env!("CARGO_PKG_VERSION")))?;
    line("cpu", format!("{}; {}", threads(), instruction_sets()))?;
    line(
        "memory",
        memory::available_bytes().map_or_else(|| "unknown".to_owned(), |b| format!("{} available", Bytes(b))),
    )?;
    match device::cuda::probe() {
        Ok(gpus) => {
            for gpu in gpus {
                let (major, minor) = gpu.compute_capability;
                let memory = Bytes(gpu.memory_bytes as u64);
                line(
                    "gpu",
                    format!("cuda:{}: {}, {memory}, compute capability {major}.{minor}", gpu.ordinal, gpu.name),
                )?;
            }
        }
        Err(missing) => line("gpu", format!("none: {missing}"))?,
    }
    let cuda = tensor::kernels().map_or_else(|reason| format!("not built: {reason}"), |of| format!("built for {of}"));
    let emulated = match Executor::for_device(Device::Emulated) {
        Ok(_) => "built".to_owned(),
        Err(missing) => missing.to_string(),
    };
    line("kernels", format!("cpu: built; cuda: {cuda}; emulated: {emulated}"))?;
    line(
        "device",
        DeviceChoice::Auto.open().map_or_else(|error| error.to_string(), |device| format!("auto is {device}")),
    )?;
    line("methods", Method::names())?;
    Ok(EXIT_DONE)
}

fn threads() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match std::env::var("RAYON_NUM_THREADS") {
        Ok(limit) => format!("{cores} cores, RAYON_NUM_THREADS={limit}"),
        Err(_) => format!("{cores} cores"),
    }
}

/// What products of tiles the processor has, if the system lets this process use them.
#[cfg(target_arch = "x86_64")]
fn tiles() -> [(&'static str, bool); 2] {
    #[cfg(target_os = "linux")]
    let [bf16, int8] = device::tiles::Tiles::detect().map_or([false; 2], |tiles| [tiles.has_bf16(), tiles.has_int8()]);
    #[cfg(not(target_os = "linux"))]
    let [bf16, int8] = [false; 2];
    [("amx-bf16", bf16), ("amx-int8", int8)]
}

#[cfg(target_arch = "x86_64")]
fn instruction_sets() -> String {
    let found = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("f16c", std::is_x86_feature_detected!("f16c")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", std::is_x86_feature_detected!("avxvnni")),
    ];
    let found = found.into_iter().chain(tiles());
    let names: Vec<&str> = found.filter(|(_, has)| *has).map(|(name, _)| name).collect();
    if names.contains(&"avx2") && names.contains(&"fma") {
        names.join(" ")
    } else {
        "no avx2 with fma: training works and is slow".to_owned()
    }
}

#[cfg(target_arch = "aarch64")]
fn instruction_sets() -> String {
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
    ];
    let names: Vec<&str> = found.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    names.join(" ")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instruction_sets() -> String {
    format!("{} with the vectors that every such processor has", std::env::consts::ARCH)
}
