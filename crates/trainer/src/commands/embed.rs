//! `embed`: a vector for each row, the mean of an encoder's last hidden states.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use checkpoint::{Checkpoint, CheckpointError, Dtype, Storage, TensorSpec, write_safetensors};
use data::{Batch, DataError, DataOptions, Dataset, Split, Task, Tokenizer};
use device::{DType, Device};
use model::{Adapter, Encoder, EncoderConfig, Pass, TaskHead};
use tensor::no_grad;

use crate::Error;
use crate::args::EmbedArgs;
use crate::commands::{EXIT_DONE, compute_with};
use crate::config::Quantization;
use crate::console::Console;
use crate::run::base_model::token_types;
use crate::run::evaluate::batches;
use crate::run::rows::input;

pub(super) fn run(args: &EmbedArgs) -> Result<u8, Error> {
    let console = Console::default();
    let device = compute_with(args.model.device, args.model.threads)?;
    let (encoder, pass) = open(args, device, console)?;
    let dimensions = encoder.base().dimensions();
    let tokenizer = match Tokenizer::load(&args.model.model, dimensions.vocab_size) {
        Err(DataError::NoTokenizer { .. }) => None,
        tokenizer => Some(tokenizer?),
    };
    let longest = dimensions.learned_positions.unwrap_or(usize::MAX);
    let max_length = longest.min(args.max_length as usize);
    let options = DataOptions {
        task: Task::FeatureExtraction,
        max_length,
        token_types: token_types(encoder.base()),
        ..DataOptions::new(dimensions.vocab_size)
    };
    let dataset = Dataset::load(&Split::Valid.file(&args.data)?, tokenizer.as_ref(), None, &options)?;
    if dataset.statistics().truncated > 0 {
        let rows = dataset.statistics().truncated;
        console.warning(format_args!("rows cut to {max_length} tokens: {rows}"));
    }
    let mut values = Vec::new();
    for rows in batches(&dataset, args.batch_size as usize) {
        let batch = Batch::gather(&dataset, &rows);
        let mean = no_grad(|| Ok::<_, Error>(encoder.forward(&input(&batch)?, &pass)?.mean()?))?;
        values.extend(mean.to_vec());
    }
    let width = dimensions.hidden_size;
    if args.normalize {
        values.chunks_exact_mut(width).for_each(normalize);
    }
    write(&args.output, [dataset.len(), width], &values)?;
    console.line(format_args!("{} rows of {width} values in {}", dataset.len(), args.output.display()));
    Ok(EXIT_DONE)
}

/// The encoder without a head, with its adapter.
fn open(args: &EmbedArgs, device: Device, console: Console) -> Result<(Encoder, Pass), Error> {
    let model = &args.model;
    let config = EncoderConfig::read(&model.model)?;
    let weights = Checkpoint::open(&model.model)?;
    let dtype = model.dtype.dtype().or(config.dtype).unwrap_or(DType::F32);
    let mut encoder = Encoder::from_checkpoint(config, TaskHead::FeatureExtraction, &weights, dtype, 0)?;
    if model.storage.quantization == Quantization::Nf4 {
        encoder.base_mut().quantize(&weights, model.storage.double_quant)?;
    }
    encoder.base_mut().to_device(&weights, device)?;
    let dir = match model.adapters.as_slice() {
        [] => return Ok((encoder, Pass::base())),
        [adapter] => &adapter.dir,
        [_, second, ..] => {
            let reason = "all rows are embedded with one adapter; give them one at a time".to_owned();
            return Err(Error::AdapterName { name: second.name.clone(), reason });
        }
    };
    let (method, warnings) = peft::open(dir, encoder.base())?;
    warnings.iter().for_each(|warning| console.warning(warning));
    Ok((encoder, Pass::evaluation(method as Arc<dyn Adapter>)))
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
