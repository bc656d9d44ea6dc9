//! `embed`: a vector for each row, the mean of an encoder's last hidden states, or that of an image's class token.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{Checkpoint, CheckpointError, Dtype, Storage, TensorSpec, write_safetensors};
use data::{Batch, DataError, DataOptions, Dataset, Split, Task, Tokenizer};
use device::{DType, Device};
use model::{Adapter, Base, Encoder, EncoderConfig, ImageClassifier, Images, Pass, TaskHead, VisionConfig};
use tensor::{Tensor, no_grad};

use crate::Error;
use crate::args::EmbedArgs;
use crate::commands::{EXIT_DONE, compute_with};
use crate::config::Quantization;
use crate::console::Console;
use crate::run::base_model::{image_options, token_types};
use crate::run::evaluate::batches;
use crate::run::purpose::Purpose;
use crate::run::rows::input;

pub(super) fn run(args: &EmbedArgs) -> Result<u8, Error> {
    let console = Console::default();
    let device = compute_with(args.model.device_choice(), args.model.threads.into())?;
    let (embedder, pass) = Embedder::open(args, device, console)?;
    let dataset = embedder.rows(args, console)?;
    let mut values = Vec::new();
    for rows in batches(&dataset, args.batch_size as usize) {
        let batch = Batch::gather(&dataset, &rows)?;
        values.extend(no_grad(|| embedder.embed(&batch, &pass))?.to_vec());
    }
    let width = embedder.base().dimensions().hidden_size;
    if args.normalize {
        values.chunks_exact_mut(width).for_each(normalize);
    }
    write(&args.output, [dataset.len(), width], &values)?;
    console.line(format_args!("{} rows of {width} values in {}", dataset.len(), args.output.display()));
    Ok(EXIT_DONE)
}

/// What embeds.
enum Embedder {
    /// Texts, by an encoder. A head is there for adapters that have one, and not asked.
    Texts(Box<Encoder>),
    /// Images. The head is there for adapters that have one, and not asked.
    Images(Box<ImageClassifier>),
}

impl Embedder {
    /// The model with its adapter.
    fn open(args: &EmbedArgs, device: Device, console: Console) -> Result<(Self, Pass), Error> {
        let model = &args.model;
        let adapter = match model.adapters.as_slice() {
            [] => None,
            [adapter] => Some(&adapter.dir),
            [_, second, ..] => {
                let reason = "all rows are embedded with one adapter; give them one at a time".to_owned();
                return Err(Error::AdapterName { name: second.name.clone(), reason });
            }
        };
        let purpose = Purpose::of_files(&model.model, adapter.map(PathBuf::as_path))?;
        let weights = Checkpoint::open(&model.model)?;
        let dtype = |named: Option<DType>| model.dtype.dtype().or(named).unwrap_or(DType::F32);
        let mut embedder = if purpose.task == Task::ImageClassification {
            let config = VisionConfig::read(&model.model)?;
            let (dtype, num_labels) = (dtype(config.dtype), Some(purpose.labels.len()));
            Self::Images(Box::new(ImageClassifier::from_checkpoint(config, num_labels, &weights, dtype, 0)?))
        } else {
            let config = EncoderConfig::read(&model.model)?;
            let dtype = dtype(config.dtype);
            let head = adapter.map_or(Ok(TaskHead::FeatureExtraction), |dir| purpose.head_of(dir))?;
            let encoder = Encoder::from_checkpoint(config, head, &weights, dtype, 0)?;
            Self::Texts(Box::new(encoder))
        };
        match model.storage.quantization {
            Quantization::None => {}
            Quantization::Nf4 => embedder.base_mut().quantize(&weights, model.storage.double_quant)?,
            Quantization::Int8 => embedder.base_mut().quantize_int8(&weights)?,
        }
        embedder.base_mut().to_device(&weights, device, None)?;
        let Some(dir) = adapter else { return Ok((embedder, Pass::base())) };
        let (method, warnings) = peft::open(dir, embedder.base())?;
        warnings.iter().for_each(|warning| console.warning(warning));
        Ok((embedder, Pass::evaluation(method as Arc<dyn Adapter>)))
    }

    fn base(&self) -> &Base {
        match self {
            Self::Texts(encoder) => encoder.base(),
            Self::Images(model) => model.base(),
        }
    }

    fn base_mut(&mut self) -> &mut Base {
        match self {
            Self::Texts(encoder) => encoder.base_mut(),
            Self::Images(model) => model.base_mut(),
        }
    }

    fn rows(&self, args: &EmbedArgs, console: Console) -> Result<Dataset, Error> {
        let dimensions = self.base().dimensions();
        let task = Task::FeatureExtraction;
        if let Self::Images(model) = self {
            let options = DataOptions { task, ..DataOptions::new(1) };
            let images = image_options(&args.model.model, model.config())?;
            return Ok(Dataset::load_images(&Split::Valid.images(&args.data)?, &options, &images)?);
        }
        let tokenizer = match Tokenizer::load(&args.model.model, dimensions.vocab_size) {
            Err(DataError::NoTokenizer { .. }) => None,
            tokenizer => Some(tokenizer?),
        };
        let longest = dimensions.learned_positions.unwrap_or(usize::MAX);
        let max_length = longest.min(args.max_length as usize);
        let token_types = token_types(self.base());
        let options = DataOptions { task, max_length, token_types, ..DataOptions::new(dimensions.vocab_size) };
        let dataset = Dataset::load(&Split::Valid.file(&args.data)?, tokenizer.as_ref(), None, &options)?;
        if dataset.statistics().truncated > 0 {
            let rows = dataset.statistics().truncated;
            console.warning(format_args!("rows cut to {max_length} tokens: {rows}"));
        }
        Ok(dataset)
    }

    /// `[rows, hidden_size]`.
    fn embed(&self, batch: &Batch, pass: &Pass) -> Result<Tensor, Error> {
        match self {
            Self::Texts(encoder) => Ok(encoder.forward(&input(batch)?, pass)?.mean()?),
            Self::Images(model) => {
                let images = Images::new(&batch.pixel_values, batch.num_sequences());
                Ok(model.features(&images, pass)?)
            }
        }
    }
}

/// Makes the vector as long as 1, as sentence-transformers' `Normalize` does.
fn normalize(vector: &mut [f32]) {
    const SMALLEST: f32 = 1e-12;
    let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    vector.iter_mut().for_each(|x| *x /= norm.max(SMALLEST));
}

fn write(path: &Path, shape: [usize; 2], values: &[f32]) -> Result<(), Error> {
    let spec = TensorSpec { name: "embeddings".to_owned(), dtype: Dtype::F32, shape: shape.to_vec() };
    let bytes = || values.iter().flat_map(|x| x.to_le_bytes()).collect();
    write_safetensors(&Storage, path, &[spec], &[], |_| Ok::<_, CheckpointError>(Cow::Owned(bytes())))
        .map_err(Error::Save)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_made_as_long_as_one() {
        let mut vector = [3.0, -4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, -0.8]);
        let mut zero = [0.0, 0.0];
        normalize(&mut zero);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
