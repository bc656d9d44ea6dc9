//! How much memory a run takes, by item, before a weight is read.
//!
//! The items follow from the shapes of the model, from what is trained, and from the tokens of the largest micro-batch.
//! They are estimates: what an op saves is known, how blocks of memory are reused between ops is not.

mod activations;
mod device_plan;
mod dry;
mod encoder_decoder;
mod kernels;
mod trained;

use data::Split;
use serde::Serialize;

use super::base_model::BaseModel;
use super::purpose;
use super::rows::Rows;
use super::token_cache::{self, Access};
use crate::Error;
use crate::config::{Config, Optim, Quantization, WeightStorage};
use crate::memory;
pub use activations::{Activations, Keeping, block_activations, decoder_activations};
pub use device_plan::DevicePlan;
pub use dry::{DeviceMemory, DryStep};
pub use encoder_decoder::encoder_decoder_activations;
pub use kernels::{KernelPlan, KernelWork};
pub use trained::Trained;

/// What the program takes with nothing loaded.
const PROGRAM_BYTES: u64 = 12 << 20;
/// A tokenizer in memory, in sizes of its file: vocabulary and merges are kept as hash maps.
const TOKENIZER_FACTOR: u64 = 12;
/// Rows that are encoded beside the steps: what is made of a block of their file, in sizes of the block.
const ENCODING_FACTOR: u64 = 9;
/// What is known of a row that is encoded beside the steps: where it is, and in which line.
const SCANNED_BYTES: u64 = 16;
const F32_BYTES: u64 = 4;

/// Memory by item, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Weights of the base: mapped files, and copies in another type than the files'.
    pub base_weights: u64,
    /// Trainable parameters.
    pub trainable_parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// Both moments of AdamW.
    pub optimizer: u64,
    /// What the backward pass needs of the forward pass.
    pub activations: u64,
    /// Intermediate results, logits of a chunk, packed operands.
    pub workspace: u64,
    /// Encoded rows and the tokenizer.
    pub data: u64,
    /// The program itself.
    pub program: u64,
}

impl MemoryPlan {
    /// For micro-batches of `tokens` tokens.
    pub fn new(
        base: &BaseModel,
        storage: WeightStorage,
        trained: &Trained,
        tokens: usize,
        data: u64,
        gradient_checkpointing: bool,
    ) -> Self {
        let parameters = trained.parameters as u64 * F32_BYTES;
        let keeping = Keeping { dtype: base.task.base().dtype(), gradient_checkpointing };
        let Activations { saved, workspace } = base.task.activations(trained, tokens, keeping);
        Self {
            base_weights: base.weight_bytes(storage),
            trainable_parameters: parameters,
            gradients: parameters,
            optimizer: trained.moments,
            activations: saved,
            workspace,
            data,
            program: PROGRAM_BYTES,
        }
    }

    /// All items.
    pub fn total(&self) -> u64 {
        self.items().iter().map(|(_, bytes)| bytes).sum()
    }

    /// The item that takes most.
    pub fn largest(&self) -> (&'static str, u64) {
        self.items().into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or_default()
    }

    /// Each item with its name, as it is told.
    pub fn items(&self) -> [(&'static str, u64); 8] {
        [
            ("base weights", self.base_weights),
            ("trainable parameters", self.trainable_parameters),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("activations", self.activations),
            ("workspace", self.workspace),
            ("data", self.data),
            ("program", self.program),
        ]
    }
}

/// The plan of a run, and whether it fits.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// What is trained.
    pub trained: Trained,
    /// Memory by item.
    pub memory: MemoryPlan,
    /// What a new process could take here, if that is known.
    pub available_bytes: Option<u64>,
    /// Sequences of the largest micro-batch that would fit; 0 if not even one does.
    pub largest_micro_batch: usize,
}

impl RunPlan {
    /// Plans the run of `config` over `rows`.
    ///
    /// # Errors
    /// A method that does not fit the model; a bad row that was found meanwhile.
    pub fn new(config: &Config, base: &BaseModel, rows: &Rows) -> Result<Self, Error> {
        let trained = Trained::of(config, base)?;
        let available_bytes = memory::available_bytes();
        let tokenizer = std::fs::metadata(base.dir.join("tokenizer.json")).map_or(0, |file| file.len());
        let data = rows.plan_bytes() + rows_bytes(config, base, rows)? + tokenizer * TOKENIZER_FACTOR;
        let checkpointing = config.training.gradient_checkpointing;
        let plan_for = |sequences: usize| -> Result<MemoryPlan, Error> {
            let prompts = trained.prompt_len * rows.rows_within(sequences, config);
            let tokens = rows.largest_micro_batch(sequences, config)? + prompts;
            Ok(MemoryPlan::new(base, config.model.storage(), &trained, tokens, data, checkpointing))
        };
        let memory = plan_for(config.training.per_device_train_batch_size)?;
        let fits = |sequences: usize| match available_bytes {
            Some(bytes) => Ok(plan_for(sequences)?.total() <= bytes),
            None => Ok(true),
        };
        let largest_micro_batch = largest(rows.num_sequences(), fits)?;
        Ok(Self { trained, memory, available_bytes, largest_micro_batch })
    }

    /// Whether there is enough memory.
    pub fn fits(&self) -> bool {
        self.available_bytes.is_none_or(|bytes| self.memory.total() <= bytes)
    }

    /// Refuses a run that does not fit, and says what would.
    ///
    /// # Errors
    /// [`Error::WillNotFit`].
    pub fn check(&self, config: &Config) -> Result<(), Error> {
        let (false, Some(available_bytes)) = (self.fits(), self.available_bytes) else { return Ok(()) };
        let (largest_item, item_bytes) = self.memory.largest();
        let remedy = match self.largest_micro_batch {
            0 => remedy(config, largest_item),
            fitting => format!("training.per_device_train_batch_size = {fitting} fits"),
        };
        let needed_bytes = self.memory.total();
        Err(Error::WillNotFit { needed_bytes, largest_item, item_bytes, available_bytes, remedy })
    }
}

/// Bytes of memory of the rows themselves. What a run will keep in files may be in memory here, where nothing is written.
fn rows_bytes(config: &Config, base: &BaseModel, rows: &Rows) -> Result<u64, Error> {
    let path = purpose::rows_of(base.purpose.task, Split::Train, &config.data.train)?;
    let in_memory = rows.feed.bytes_in_memory();
    if in_memory == 0 || token_cache::of_file(&path, config, Access::Read).is_none() {
        return Ok(in_memory);
    }
    let file = std::fs::metadata(&path).map_or(0, |file| file.len());
    Ok(rows.feed.len() as u64 * SCANNED_BYTES + file.min(data::BLOCK_BYTES as u64) * ENCODING_FACTOR)
}

/// What to lower where `largest_item` takes most.
fn remedy(config: &Config, largest_item: &str) -> String {
    let (training, quantization) = (&config.training, config.model.quantization);
    match largest_item {
        "base weights" if quantization == Quantization::None => {
            "take a smaller base, or set model.quantization = \"nf4\""
        }
        "base weights" => "take a smaller base, or a machine with more memory",
        "optimizer" if training.optim == Optim::AdamW => {
            "set training.optim = \"adamw_8bit\", or train fewer parameters: fewer modules, or a lower rank or width of the adapter"
        }
        "trainable parameters" | "gradients" | "optimizer" => {
            "train fewer parameters: fewer modules, or a lower rank or width of the adapter"
        }
        _ if training.gradient_checkpointing => "lower data.max_length, or use a machine with more memory",
        _ => "lower data.max_length, or set training.gradient_checkpointing = true",
    }
    .to_owned()
}

/// The largest number up to `most` that `fits`, if whatever is smaller fits as well.
fn largest(most: usize, fits: impl Fn(usize) -> Result<bool, Error>) -> Result<usize, Error> {
    let (mut fitting, mut beyond) = (0, most + 1);
    while beyond - fitting > 1 {
        let middle = fitting + (beyond - fitting) / 2;
        if fits(middle)? { fitting = middle } else { beyond = middle }
    }
    Ok(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_by_halving() {
        for limit in 0..20 {
            assert_eq!(largest(12, |n| Ok(n <= limit)).unwrap(), limit.min(12));
        }
    }
}
