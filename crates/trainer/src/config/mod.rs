//! What a run is: the TOML file, the flags over it, and the types both become.
//!
//! | table | type |
//! |---|---|
//! | `[model]` | [`Model`] |
//! | `[adapter]` | [`Adapter`] |
//! | `[data]` | [`Data`] |
//! | `[training]` | [`Training`] |
//!
//! Every key has its default and its range on the line that reads it. Nothing is ignored: an unknown key, a duplicate one
//! and a value outside its range are errors that show the line, and one run tells all of them.

mod adapter;
mod alias;
mod data;
mod document;
mod model;
mod optim;
mod problem;
mod section;
mod source;
mod training;
mod value;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use device::Device;
use serde::Serialize;

pub use adapter::{
    AdaLoraSettings, Adapter, BottleneckSettings, Ia3Settings, LoraSettings, Method, PixelPromptSettings,
    PromptLearningSettings, Recipe, Selection, TrainableTokensSettings, VeraSettings,
};
pub use data::{CacheUse, Data};
pub use model::{BaseDType, Model, Quantization, TaskType, WeightStorage};
pub use optim::Optim;
pub use problem::{ConfigError, Problem};
pub use source::{Location, Source};
pub use training::{DeviceChoice, Resume, Training};

pub(crate) use training::{MOST_THREADS, warmup_reason};

use document::Table;
use section::Reader;

/// Bytes of a config at most.
const LIMIT: u64 = 16 << 20;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// The base.
    pub model: Model,
    /// What is trained.
    pub adapter: Adapter,
    /// On what.
    pub data: Data,
    /// How.
    pub training: Training,
    /// A line for each setting that [`Adapter::recipe`] has set, `key = value`.
    #[serde(skip)]
    pub from_recipe: Vec<String>,
}

/// What the command line says over the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--model`: `model.path`.
    pub model: Option<PathBuf>,
    /// `--data`: `data.train`.
    pub data: Option<PathBuf>,
    /// `--method`: `adapter.method`.
    pub method: Option<String>,
    /// `--output`: `training.output_dir`.
    pub output: Option<PathBuf>,
    /// `--set table.key=value`, in order.
    pub set: Vec<String>,
}

impl Config {
    /// Reads `file`, if there is one, and what `overrides` puts over it.
    ///
    /// # Errors
    /// Everything that is wrong with either.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let Some(path) = file else { return Self::parse("", "", overrides) };
        let text = read(path).map_err(|source| Problem::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), text.trim_start_matches('\u{feff}'), overrides)
    }

    /// Reads `text`, the content of the file `name`, and what `overrides` puts over it.
    ///
    /// # Errors
    /// Everything that is wrong with either.
    pub fn parse(name: &str, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut tree = document::parse(name, text)?;
        for layer in overrides.layers()? {
            document::overlay(&mut tree, layer);
        }
        alias::expand(&mut tree)?;
        let mut reader = Reader::new(tree);
        let mut config = Self {
            model: Model::read(&mut reader.section("model")),
            adapter: Adapter::read(&mut reader.section("adapter")),
            data: Data::read(&mut reader.section("data")),
            training: Training::read(&mut reader.section("training")),
            from_recipe: Vec::new(),
        };
        let has_learning_rate = reader.section("training").is_set("learning_rate");
        config.from_recipe =
            config.adapter.follow_recipe(config.model.task_type, &mut config.training, has_learning_rate);
        let quantization = config.model.quantization;
        if config.adapter.method == Method::Full && quantization != Quantization::None {
            let reason = "must be \"none\" for adapter.method = \"full\": quantized weights cannot be trained";
            reader.section("model").contradiction("quantization", reason);
        }
        let is_on_device = matches!(config.training.device, DeviceChoice::Named(device) if device != Device::Cpu);
        if quantization == Quantization::Int8 && is_on_device {
            let reason = "must be \"none\" or \"nf4\" for this training.device: \"int8\" is computed on the CPU";
            reader.section("model").contradiction("quantization", reason);
        }
        if quantization == Quantization::Int8 && config.training.device == DeviceChoice::Auto {
            config.training.device = DeviceChoice::Named(Device::Cpu);
        }
        if config.data.pad_to_multiple_of.is_some() && config.model.task_type != TaskType::CausalLm {
            let reason = "is for model.task_type = \"CAUSAL_LM\": other models see what follows a sequence";
            reader.section("data").contradiction("pad_to_multiple_of", reason);
        }
        let adapter = &config.adapter;
        if adapter.method == Method::AdaLora && adapter.adalora.total_step.or(config.training.max_steps).is_none() {
            let reason =
                "\"adalora\" needs training.max_steps, or adapter.total_step: ranks are distributed over all steps";
            reader.section("adapter").contradiction("method", reason);
        }
        if config.training.loraplus_lr_ratio.is_some() && adapter.method != Method::Lora {
            let reason = "is for adapter.method = \"lora\": it tells apart the two matrices of an update";
            reader.section("training").contradiction("loraplus_lr_ratio", reason);
        }
        reader.finish().map(|()| config)
    }

    /// The settings as TOML, defaults written out.
    ///
    /// # Errors
    /// A path that is not Unicode has no TOML form.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl Overrides {
    fn layers(&self) -> Result<Vec<Table>, Problem> {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        let flags = [
            ("--model", "model", "path", path(&self.model)),
            ("--data", "data", "train", path(&self.data)),
            ("--method", "adapter", "method", self.method.clone()),
            ("--output", "training", "output_dir", path(&self.output)),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(flag, section, key, value)| Some(Ok(document::from_flag(flag, section, key, &value?))));
        flags.chain(self.set.iter().map(|assignment| document::parse_override(assignment))).collect()
    }
}

/// The text of a file or a pipe, which may have no end.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    // First, as the limit may cut a character.
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {LIMIT} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let column = error.utf8_error().valid_up_to() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("byte {column} is not UTF-8; save the file as UTF-8"))
    })
}

#[cfg(test)]
mod tests;
