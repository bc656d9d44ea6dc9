//! `eval`: loss and next-token accuracy on a file of rows, and on request the logits of its first batch.

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{CheckpointError, Dtype, Storage, TensorSpec, write_safetensors};
use data::{Batch, Split};
use model::Pass;
use serde_json::json;
use tensor::no_grad;

use crate::Error;
use crate::args::EvalArgs;
use crate::commands::{EXIT_DONE, Opened};
use crate::console::Console;
use crate::run::base_model::{BaseModel, now};
use crate::run::evaluate::{batches, evaluate};
use crate::run::facts;
use crate::run::rows::input;
use crate::units::Grouped;

pub(super) fn run(args: &EvalArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    let Opened { base, pass } = Opened::open(&args.model, console)?;
    let tokenizer = base.tokenizer()?;
    let template = base.chat_template(None, tokenizer.as_ref(), now())?;
    let path = Split::Valid.file(&args.data)?;
    let max_length = args.max_length as usize;
    let dataset = base.rows(&path, tokenizer.as_ref(), template.as_ref(), max_length, true)?;
    if dataset.statistics().truncated > 0 {
        facts::warnings(dataset.statistics(), max_length, false).iter().for_each(|warning| console.warning(warning));
    }
    let batch_size = args.batch_size as usize;
    if let (Some(path), Some(batch)) = (&args.logits, batches(&dataset, batch_size).next()) {
        write_logits(path, &base, &pass, &batch)?;
    }
    let result = evaluate(&base.decoder, &pass, &dataset, batch_size)?;
    if !result.loss().is_finite() {
        base.decoder.check_finite()?;
        return Err(Error::NotANumber);
    }
    let (loss, perplexity, accuracy) = (result.loss(), result.perplexity(), result.accuracy());
    if args.json {
        console.result(&json!({
            "loss": loss, "perplexity": perplexity, "tokens": result.tokens, "accuracy": accuracy,
        }));
    } else {
        let tokens = Grouped(result.tokens);
        console.line(format_args!(
            "loss {loss:.6} | perplexity {perplexity:.4} | accuracy {accuracy:.4} | {tokens} tokens"
        ));
    }
    Ok(EXIT_DONE)
}

/// Writes the logits of `batch` as f32 `[batch, seq, vocab]`, zero after the end of a shorter row.
fn write_logits(path: &Path, base: &BaseModel, pass: &Pass, batch: &Batch) -> Result<(), Error> {
    let logits = no_grad(|| {
        let hidden = base.decoder.forward(&input(batch)?, pass)?;
        Ok::<_, Error>(base.decoder.logits(&hidden, pass)?)
    })?;
    let vocab = base.decoder.config().vocab_size;
    let rows: Vec<std::ops::Range<usize>> =
        batch.cu_seqlens.windows(2).map(|pair| pair[0] as usize..pair[1] as usize).collect();
    let seq = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let spec = TensorSpec { name: "logits".to_owned(), dtype: Dtype::F32, shape: vec![rows.len(), seq, vocab] };
    let values = logits.to_vec();
    let bytes = || {
        let mut bytes = vec![0u8; rows.len() * seq * vocab * 4];
        for (sequence, row) in bytes.chunks_exact_mut((seq * vocab * 4).max(1)).zip(&rows) {
            let values = &values[row.start * vocab..row.end * vocab];
            sequence.chunks_exact_mut(4).zip(values).for_each(|(to, x)| to.copy_from_slice(&x.to_le_bytes()));
        }
        Ok::<_, CheckpointError>(Cow::Owned(bytes))
    };
    write_safetensors(&Storage, path, &[spec], &[], |_| bytes()).map_err(Error::Save)
}
