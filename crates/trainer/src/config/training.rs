//! `[training]`: how long, how fast, where to. Names and meanings are those of Hugging Face's `TrainingArguments`.

use std::ops::Bound;
use std::path::PathBuf;
use std::str::FromStr;

use device::launch::Executor;
use device::{Device, DeviceError};
use serde::Serialize;

use super::document::Node;
use super::optim::Optim;
use super::problem::Problem;
use super::section::Section;
use super::value::{Choice, FromNode};
use crate::schedule::SchedulerType;

/// Epochs trained for when neither `max_steps` nor `num_train_epochs` is set.
const DEFAULT_EPOCHS: f64 = 3.0;
/// Threads to compute with at most: far more than a machine has cores, and few enough to be started.
pub(crate) const MOST_THREADS: u16 = 4096;

/// The run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Training {
    /// Where everything is written.
    pub output_dir: PathBuf,
    /// Optimizer steps. Excludes `num_train_epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u64>,
    /// Passes over the rows, which need not be whole. Default 3 unless `max_steps` is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_train_epochs: Option<f64>,
    /// Sequences of a micro-batch. Default 8.
    pub per_device_train_batch_size: usize,
    /// Sequences of a batch in evaluation. Default 8.
    pub per_device_eval_batch_size: usize,
    /// Micro-batches of an optimizer step. Default 1.
    pub gradient_accumulation_steps: usize,
    /// The peak learning rate. Default: that of [`Adapter::recipe`](super::Adapter::recipe) for the method, 2e-4 for `lora`.
    pub learning_rate: f64,
    /// LoRA+: how many times faster B learns than A. Default 1, one learning rate for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loraplus_lr_ratio: Option<f64>,
    /// LoRA+: the learning rate of updates of embeddings. Default 1e-6, as in PEFT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loraplus_lr_embedding: Option<f64>,
    /// How the learning rate moves. Default `linear`.
    pub lr_scheduler_type: SchedulerType,
    /// Steps over which the learning rate rises from zero. Default 0.
    pub warmup_steps: u64,
    /// Decoupled weight decay. Default 0.
    pub weight_decay: f64,
    /// The optimizer. Default `adamw`.
    pub optim: Optim,
    /// Decay of the first moment. Default 0.9.
    pub adam_beta1: f64,
    /// Decay of the second moment. Default 0.999.
    pub adam_beta2: f64,
    /// Added to the denominator; not 0. Default 1e-8.
    pub adam_epsilon: f64,
    /// Gradients of a larger norm are scaled down to it; 0 turns clipping off. Default 1.
    pub max_grad_norm: f64,
    /// Recompute each block in the backward pass instead of keeping its activations. Default false.
    pub gradient_checkpointing: bool,
    /// Keep the input of each block that is recomputed on the host: less memory of a device, for copies beside its kernels. Needs
    /// `gradient_checkpointing`. Default false.
    pub activation_offload: bool,
    /// Steps between two lines of `metrics.jsonl`. Default 1.
    pub logging_steps: u64,
    /// Steps between two evaluations; 0 evaluates at the end only. Default 0.
    pub eval_steps: u64,
    /// Steps between two checkpoints; 0 saves at the end only. Default 0.
    pub save_steps: u64,
    /// Checkpoints kept; 0 keeps all. Default 2.
    pub save_total_limit: usize,
    /// Seed of initialisation, order and dropout. Default 42.
    pub seed: u64,
    /// Where to compute: `auto`, `cpu`, `cuda`, `cuda:N` or `emulated`. Default `auto`.
    pub device: DeviceChoice,
    /// Memory of the device to take at most, in MiB; the CPU's is not limited by it. Default all that is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_memory_mib: Option<u64>,
    /// Start what a step launches on a GPU in CUDA graphs, which changes no result. Default true.
    pub cuda_graphs: bool,
    /// Threads to compute with; 0 takes every core. Default 0.
    pub threads: usize,
    /// Which checkpoint of the output directory to go on from. Default `auto`, the newest whole one.
    pub resume: Resume,
    /// Prompts that are continued before and after training, for the report. Default none.
    pub sample_prompts: Vec<String>,
    /// Tokens of each sample. Default 64.
    pub sample_max_new_tokens: usize,
}

impl Training {
    /// Bytes of the device's memory to take at most.
    pub fn device_memory_bytes(&self) -> Option<u64> {
        self.device_memory_mib.map(|mib| mib.saturating_mul(1 << 20))
    }

    /// A line for each key that is set and that a run on `device` does not read.
    pub fn without_effect(&self, device: Device) -> Vec<String> {
        let of_others = [
            ("activation_offload", self.activation_offload, "blocks keep their inputs in the host's memory anyway"),
            ("device_memory_mib", self.device_memory_mib.is_some(), "the memory of the host is not limited by it"),
        ];
        let unread = of_others.into_iter().filter(|(_, is_set, _)| *is_set && device == Device::Cpu);
        unread.map(|(key, _, reason)| format!("training.{key} has no effect on device {device}: {reason}")).collect()
    }

    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let max_steps = s.get_within("max_steps", 1..);
        let num_train_epochs = s.get_within("num_train_epochs", (Bound::Excluded(0.0), Bound::Included(1e6)));
        let warmup_steps = s.within("warmup_steps", 0, 0..);
        if max_steps.is_some() && num_train_epochs.is_some() {
            s.both_set("num_train_epochs", "training.max_steps");
        }
        if let Some(steps) = max_steps.filter(|&steps| warmup_steps > steps) {
            s.warmup_too_long("warmup_steps", warmup_steps, steps);
        }
        let gradient_checkpointing = s.or("gradient_checkpointing", false);
        let activation_offload = s.or("activation_offload", false);
        let device = s.or("device", DeviceChoice::Auto);
        if activation_offload && !gradient_checkpointing {
            let reason =
                "is for training.gradient_checkpointing = true: the inputs of recomputed blocks are what is kept";
            s.contradiction("activation_offload", reason);
        }
        if activation_offload && device == DeviceChoice::Named(Device::Cpu) {
            s.contradiction(
                "activation_offload",
                "must be false for training.device = \"cpu\": its memory is the host's",
            );
        }
        let adam_epsilon = s.within("adam_epsilon", 1e-8, 0.0..=1.0);
        // It is what a moment of zeros, as of weights that no token has reached yet, is divided by.
        if (adam_epsilon as f32) < f32::MIN_POSITIVE {
            let reason = "is 0 to an f32: weights whose gradients were all 0 would become NaN; leave it out for 1e-8, \
                          or set at least 2e-38";
            s.contradiction("adam_epsilon", reason);
        }
        Self {
            output_dir: s.required("output_dir", "--output"),
            max_steps,
            num_train_epochs: num_train_epochs.or(max_steps.is_none().then_some(DEFAULT_EPOCHS)),
            per_device_train_batch_size: s.within("per_device_train_batch_size", 8, 1..=1 << 20),
            per_device_eval_batch_size: s.within("per_device_eval_batch_size", 8, 1..=1 << 20),
            gradient_accumulation_steps: s.within("gradient_accumulation_steps", 1, 1..=1 << 20),
            learning_rate: s.within("learning_rate", 0.0, 0.0..=10.0),
            loraplus_lr_ratio: s.get_within("loraplus_lr_ratio", (Bound::Excluded(0.0), Bound::Included(1e6))),
            loraplus_lr_embedding: s.get_within("loraplus_lr_embedding", 0.0..=10.0),
            lr_scheduler_type: s.or("lr_scheduler_type", SchedulerType::Linear),
            warmup_steps,
            weight_decay: s.within("weight_decay", 0.0, 0.0..=10.0),
            optim: s.or("optim", Optim::AdamW),
            adam_beta1: s.within("adam_beta1", 0.9, 0.0..1.0),
            adam_beta2: s.within("adam_beta2", 0.999, 0.0..1.0),
            adam_epsilon,
            max_grad_norm: s.within("max_grad_norm", 1.0, 0.0..f64::INFINITY),
            gradient_checkpointing,
            activation_offload,
            logging_steps: s.within("logging_steps", 1, 1..),
            eval_steps: s.or("eval_steps", 0),
            save_steps: s.or("save_steps", 0),
            save_total_limit: s.or("save_total_limit", 2),
            seed: s.or("seed", 42),
            device,
            device_memory_mib: s.get_within("device_memory_mib", 1..=1 << 40),
            cuda_graphs: s.or("cuda_graphs", true),
            threads: s.within("threads", 0, 0..=usize::from(MOST_THREADS)),
            resume: s.or("resume", Resume::Auto),
            sample_prompts: s.or("sample_prompts", Vec::new()),
            sample_max_new_tokens: s.within("sample_max_new_tokens", 64, 1..=1 << 20),
        }
    }
}

/// Why `warmup_steps` is too many.
pub(crate) fn warmup_reason(warmup_steps: u64, max_steps: u64) -> String {
    format!(
        "`training.warmup_steps` = {warmup_steps} is more than the {max_steps} steps of the run, so the learning rate \
         would never reach its peak; lower it"
    )
}

impl Choice for SchedulerType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("linear", Self::Linear),
        ("cosine", Self::Cosine),
        ("constant", Self::Constant),
        ("constant_with_warmup", Self::ConstantWithWarmup),
    ];
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where there is one and this build has kernels for it, else the CPU.
    #[default]
    Auto,
    /// This one and no other; whether this machine has it is found out when it is used.
    Named(Device),
}

impl DeviceChoice {
    /// The device, ready to compute.
    ///
    /// # Errors
    /// What this machine or build lacks for it.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            DeviceChoice::Auto if tensor::kernels().is_ok() && Executor::for_device(Device::Cuda(0)).is_ok() => {
                Ok(Device::Cuda(0))
            }
            DeviceChoice::Auto | DeviceChoice::Named(Device::Cpu) => Ok(Device::Cpu),
            DeviceChoice::Named(device) => Executor::for_device(device).map(|_| device),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        if name == "auto" { Ok(DeviceChoice::Auto) } else { name.parse().map(DeviceChoice::Named) }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Named(device) => device.fmt(f),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromNode for DeviceChoice {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        let name = String::from_node(key, node)?;
        name.parse().map_err(|_| Problem::UnknownChoice {
            key: key.to_owned(),
            got: name,
            nearest: None,
            choices: ["auto", "cpu", "cuda", "cuda:N", "emulated"].map(str::to_owned).to_vec(),
            at: node.at.clone(),
        })
    }
}

/// What to do with the checkpoints in the output directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Go on from the newest whole one, if there is any.
    Auto,
    /// Start over, and remove those of the earlier run.
    Never,
    /// Go on from this one.
    From(PathBuf),
}

impl FromNode for Resume {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        Ok(match String::from_node(key, node)?.as_str() {
            "auto" => Resume::Auto,
            "never" => Resume::Never,
            _ => Resume::From(PathBuf::from_node(key, node)?),
        })
    }
}

impl Serialize for Resume {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Resume::Auto => serializer.serialize_str("auto"),
            Resume::Never => serializer.serialize_str("never"),
            Resume::From(path) => path.serialize(serializer),
        }
    }
}
