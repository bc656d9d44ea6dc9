//! A model directory opened: its weights, its tokenizer and its chat template.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use checkpoint::{Checkpoint, Dtype, MappedTensor};
use data::{
    ChatTemplate, DataError, DataOptions, Dataset, Feed, FeedOptions, ImageOptions, ImageProcessor, TokenCache,
    Tokenizer,
};
use device::{DType, Device};
use model::config::CONFIG_FILE;
use model::{
    Base, Classifier, ClassifierConfig, Decoder, DecoderConfig, EncoderDecoder, EncoderDecoderConfig, ImageClassifier,
    ModelError, ModuleKind, Nf4, VisionConfig,
};
use serde_json::{Map, Value};
use tensor::{Int8Matrix, Nf4Matrix, TensorError};

use super::identity::model_fingerprint;
use super::purpose::Purpose;
use super::task::{CausalLm, Classification, ImageClassification, Seq2SeqLm, Task};
use crate::Error;
use crate::config::{Quantization, WeightStorage};
use crate::generation::TextModel;

/// The largest `config.json` that is read.
const CONFIG_LIMIT: u64 = 16 << 20;

/// A model and what turns text into its tokens.
pub struct BaseModel {
    /// The directory.
    pub dir: PathBuf,
    /// The model and what it is to do.
    pub task: Box<dyn Task>,
    /// Its files.
    pub weights: Checkpoint,
    /// What it computes with.
    pub dtype: DType,
    /// What it was opened for.
    pub purpose: Purpose,
}

impl BaseModel {
    /// Opens the model in `dir` for `purpose`, to compute with `dtype`; `None` takes what its configuration names, or f32.
    ///
    /// # Errors
    /// Anything wrong with its files.
    pub fn open(dir: &Path, dtype: Option<DType>, purpose: Purpose) -> Result<Self, Error> {
        let dtype_of = |named: Option<DType>| dtype.or(named).unwrap_or(DType::F32);
        let (task, weights, dtype): (Box<dyn Task>, _, _) = match purpose.head() {
            None if purpose.task == data::Task::Seq2SeqLm => {
                let config = EncoderDecoderConfig::read(dir)?;
                let (weights, dtype) = (Checkpoint::open(dir)?, dtype_of(config.dtype));
                (Box::new(Seq2SeqLm::new(EncoderDecoder::from_checkpoint(config, &weights, dtype)?)), weights, dtype)
            }
            None if purpose.task == data::Task::ImageClassification => {
                let config = VisionConfig::read(dir)?;
                let (weights, dtype) = (Checkpoint::open(dir)?, dtype_of(config.dtype));
                let num_labels = Some(purpose.labels.len());
                let model = ImageClassifier::from_checkpoint(config, num_labels, &weights, dtype, purpose.seed)?;
                (Box::new(ImageClassification::new(model)), weights, dtype)
            }
            None => {
                let config = DecoderConfig::read(dir)?;
                let (weights, dtype) = (Checkpoint::open(dir)?, dtype_of(config.dtype));
                (Box::new(CausalLm::new(Decoder::from_checkpoint(config, &weights, dtype)?)), weights, dtype)
            }
            Some(head) => {
                let config = ClassifierConfig::read(dir)?;
                let (weights, dtype) = (Checkpoint::open(dir)?, dtype_of(config.dtype()));
                let model = Classifier::from_checkpoint(config, head, &weights, dtype, purpose.seed)?;
                (Box::new(Classification::new(model, purpose.labels.len())), weights, dtype)
            }
        };
        check_quantization(dir, task.base())?;
        Ok(Self { dir: dir.to_owned(), task, weights, dtype, purpose })
    }

    /// The language model.
    ///
    /// # Errors
    /// [`Error::NoLanguageModel`] if it is another kind of model.
    pub fn text_model(&self) -> Result<&dyn TextModel, Error> {
        let model_type = self.task.base().dimensions().model_type;
        self.task.text_model().ok_or_else(|| Error::NoLanguageModel { dir: self.dir.clone(), model_type })
    }

    /// Holds its weights on the CPU as `storage` says: quantizes them where it asks for that.
    ///
    /// # Errors
    /// Out of memory.
    pub fn store(&mut self, storage: WeightStorage) -> Result<(), Error> {
        match storage.quantization {
            Quantization::None => Ok(()),
            Quantization::Nf4 => Ok(self.task.base_mut().quantize(&self.weights, storage.double_quant)?),
            Quantization::Int8 => Ok(self.task.base_mut().quantize_int8(&self.weights)?),
        }
    }

    /// Holds its weights as `storage` says on `device`, where the model is computed from then on.
    ///
    /// # Errors
    /// Out of memory there; a device that fails.
    pub fn place(&mut self, storage: WeightStorage, device: Device) -> Result<(), Error> {
        let nf4 = Nf4 { double_quant: storage.double_quant };
        match (device, storage.quantization) {
            (Device::Cpu, _) => self.store(storage),
            (_, Quantization::None) => Ok(self.task.base_mut().to_device(&self.weights, device, None)?),
            (_, Quantization::Nf4) => Ok(self.task.base_mut().to_device(&self.weights, device, Some(nf4))?),
            (_, Quantization::Int8) => {
                let error = TensorError::NoKernel { op: "a product of 8-bit integers", device };
                Err(ModelError::from(error).into())
            }
        }
    }

    /// What tells this model from another.
    ///
    /// # Errors
    /// Its configuration cannot be read.
    pub fn fingerprint(&self) -> Result<String, Error> {
        Ok(model_fingerprint(&self.dir, &self.weights)?)
    }

    /// Bytes of its weights in memory, held as `storage` says: the mapped files, copies of what is stored in another type
    /// than the model computes in, and blocks instead of what is quantized. See [`Decoder::load`].
    pub fn weight_bytes(&self, storage: WeightStorage) -> u64 {
        let copied = |stored: Dtype| match self.dtype {
            DType::F32 => false,
            DType::BF16 => matches!(stored, Dtype::F32 | Dtype::F16),
            DType::F16 => matches!(stored, Dtype::F32 | Dtype::BF16),
        };
        let base = self.task.base();
        let quantizable = base.modules().iter().filter(|module| module.is_quantizable());
        let dense = quantizable.filter(|module| base.quantized(module.weight).is_none());
        let compressed = dense.filter_map(|module| {
            let ModuleKind::Linear { in_features, out_features, .. } = module.kind else { return None };
            let bytes = match storage.quantization {
                Quantization::None => return None,
                Quantization::Nf4 => Nf4Matrix::planned_bytes(in_features * out_features, storage.double_quant),
                Quantization::Int8 => Int8Matrix::planned_bytes([out_features, in_features]),
            };
            Some((base.stored_names().of(&base.modules().parameter(module.weight).name), bytes as u64))
        });
        let compressed: BTreeMap<_, _> = compressed.collect();
        let bytes = |tensor: MappedTensor| {
            if let Some(&bytes) = compressed.get(tensor.name()) {
                return bytes;
            }
            let copy = if copied(tensor.dtype()) { tensor.len() * self.dtype.size_bytes() } else { 0 };
            (tensor.bytes().len() + copy) as u64
        };
        self.weights.tensors().map(bytes).sum()
    }

    /// Its tokenizer, if it has one; rows of token ids need none.
    ///
    /// # Errors
    /// A tokenizer that does not work or belongs to another model.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>, Error> {
        if self.purpose.task == data::Task::ImageClassification {
            return Ok(None);
        }
        match Tokenizer::load(&self.dir, self.task.base().dimensions().vocab_size) {
            Ok(tokenizer) => Ok(Some(tokenizer)),
            Err(DataError::NoTokenizer { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The template in the file `path`, or its own, at the time `started_at`.
    ///
    /// # Errors
    /// A template that cannot be read.
    pub fn chat_template(
        &self,
        path: Option<&Path>,
        tokenizer: Option<&Tokenizer>,
        started_at: i64,
    ) -> Result<Option<ChatTemplate>, Error> {
        let Some(tokenizer) = tokenizer else { return Ok(None) };
        let special_tokens = tokenizer.special_tokens();
        let template = match path {
            Some(path) => Some(ChatTemplate::read(path, special_tokens)?),
            None => ChatTemplate::load(&self.dir, special_tokens)?,
        };
        Ok(template.map(|template| template.with_time(started_at)))
    }

    /// The rows of the file `path`, none longer than the positions that the model has after virtual tokens.
    ///
    /// # Errors
    /// Anything wrong with the rows, with their line.
    pub fn rows(
        &self,
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
        settings: RowSettings<'_>,
    ) -> Result<Dataset, Error> {
        let options = self.data_options(settings);
        if let Some(images) = self.task.images() {
            return Ok(Dataset::load_images(path, &options, &image_options(&self.dir, images)?)?);
        }
        let dataset = match settings.cache {
            Some(cache) => Dataset::load_cached(path, tokenizer, template, &options, cache)?,
            None => Dataset::load(path, tokenizer, template, &options)?,
        };
        self.check_positions(path, &dataset, settings.num_virtual_tokens)?;
        Ok(dataset)
    }

    /// The same for training: rows that a cache does not have yet are on their way into it, unless `all_first`.
    ///
    /// # Errors
    /// As [`BaseModel::rows`]; of rows on their way what is found by now.
    pub fn feed(
        &self,
        path: &Path,
        tokenizer: Option<&Arc<Tokenizer>>,
        template: Option<&Arc<ChatTemplate>>,
        settings: RowSettings<'_>,
        all_first: bool,
    ) -> Result<Feed, Error> {
        if self.task.images().is_some() {
            return Ok(Feed::whole(self.rows(path, None, None, settings)?));
        }
        let (tokenizer, template) = (tokenizer.map(Arc::clone), template.map(Arc::clone));
        let how = FeedOptions { tokenizer, template, options: self.data_options(settings) };
        let positions = self.task.base().dimensions().learned_positions.unwrap_or(usize::MAX);
        let always_fit = settings.max_length <= positions.saturating_sub(settings.num_virtual_tokens);
        let feed = match settings.cache {
            Some(cache) if always_fit && !all_first => Feed::start(path, how, cache)?,
            cache => Feed::load(path, &how, cache)?,
        };
        if let (false, Some(dataset)) = (always_fit, feed.dataset()?) {
            self.check_positions(path, dataset, settings.num_virtual_tokens)?;
        }
        Ok(feed)
    }

    fn data_options(&self, settings: RowSettings<'_>) -> DataOptions {
        let RowSettings { max_length, completion_only_loss, adapters, .. } = settings;
        DataOptions {
            task: self.purpose.task,
            num_labels: self.purpose.labels.len(),
            label_names: self.purpose.labels.names().to_vec(),
            max_length,
            completion_only_loss,
            token_types: token_types(self.task.base()),
            adapters: adapters.to_vec(),
            ..DataOptions::new(self.task.base().dimensions().vocab_size)
        }
    }

    fn check_positions(&self, path: &Path, dataset: &Dataset, num_virtual_tokens: usize) -> Result<(), Error> {
        let longest = dataset.statistics().longest;
        match self.task.base().dimensions().learned_positions {
            Some(positions) if longest > positions.saturating_sub(num_virtual_tokens) => {
                let (path, virtual_tokens) = (path.to_owned(), num_virtual_tokens);
                Err(Error::RowTooLong { path, longest, positions, virtual_tokens })
            }
            _ => Ok(()),
        }
    }
}

/// How rows are read.
#[derive(Clone, Copy, Debug)]
pub struct RowSettings<'a> {
    /// Tokens of an example at most.
    pub max_length: usize,
    /// Whether prompts are not trained on.
    pub completion_only_loss: bool,
    /// Positions that an adapter takes before a row's.
    pub num_virtual_tokens: usize,
    /// Names of adapters that rows choose from, if they do.
    pub adapters: &'a [String],
    /// Where encoded rows are kept, if they are.
    pub cache: Option<&'a TokenCache>,
}

/// Kinds of tokens that the model has a table for; 0 if it has none.
pub fn token_types(base: &Base) -> usize {
    let table = base.modules().iter().find(|module| module.path.ends_with(".token_type_embeddings"));
    match table.map(|module| module.kind) {
        Some(ModuleKind::Embedding { num_embeddings, .. }) => num_embeddings,
        _ => 0,
    }
}

/// Checks that `config.json` says of the weights what they are. transformers believes it, whatever the files hold.
fn check_quantization(dir: &Path, base: &Base) -> Result<(), Error> {
    let path = dir.join(CONFIG_FILE);
    let config: Map<String, Value> = checkpoint::read_json(&path, CONFIG_LIMIT)?;
    let is_said = config.get("quantization_config").is_some_and(|value| !value.is_null());
    let reason = match (is_said, base.is_quantized()) {
        (true, false) => {
            "`quantization_config` says that the weights are quantized, and none is; remove the key, and quantize them with \
             tunesmith quantize, or while loading with model.quantization or --quantization, if that is meant"
        }
        (false, true) => {
            "there is no `quantization_config`, and the weights are in bitsandbytes' format; copy the key from the model's \
             original files"
        }
        _ => return Ok(()),
    };
    Err(Error::Quantization { path, reason })
}

/// What the model in `dir`, which `config` describes, asks of images.
///
/// # Errors
/// A description of its processor that cannot be used; [`Error::Channels`] for images that files do not hold.
pub fn image_options(dir: &Path, config: &VisionConfig) -> Result<ImageOptions, Error> {
    match config.num_channels {
        3 => Ok(ImageOptions {
            processor: ImageProcessor::load(dir)?,
            size: config.image_size,
            num_tokens: config.num_tokens(),
        }),
        channels => Err(Error::Channels { dir: dir.to_owned(), channels }),
    }
}

/// The time, in seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
