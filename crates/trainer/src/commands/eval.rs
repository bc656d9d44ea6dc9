//! `eval`: loss and accuracy on a file of rows, and on request the logits of its first batch.

use std::borrow::Cow;
use std::path::Path;

use checkpoint::{CheckpointError, Dtype, Storage, TensorSpec, write_safetensors};
use data::Split;
use serde_json::json;

use crate::Error;
use crate::args::EvalArgs;
use crate::commands::{EXIT_DONE, Opened};
use crate::console::Console;
use crate::run::base_model::{RowSettings, now};
use crate::run::evaluate::{batches, evaluate, logits};
use crate::run::facts;
use crate::run::purpose::rows_of;
use crate::run::task::Logits;
use crate::units::Counted;

pub(super) fn run(args: &EvalArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    let Opened { base, adapters } = Opened::open(&args.model, console)?;
    let tokenizer = base.tokenizer()?;
    let template = base.chat_template(None, tokenizer.as_ref(), now())?;
    let path = rows_of(base.purpose.task, Split::Valid, &args.data)?;
    let max_length = args.max_length as usize;
    let dataset = base.rows(
        &path,
        tokenizer.as_ref(),
        template.as_ref(),
        RowSettings {
            max_length,
            completion_only_loss: true,
            num_virtual_tokens: adapters.position_offset(),
            adapters: adapters.names(),
            cache: None,
        },
    )?;
    if dataset.statistics().truncated > 0 {
        facts::warnings(dataset.statistics(), max_length, false).iter().for_each(|warning| console.warning(warning));
    }
    let batch_size = args.batch_size as usize;
    if let (Some(path), Some(rows)) = (&args.logits, batches(&dataset, batch_size).next()) {
        write_logits(path, logits(base.task.as_ref(), &adapters, &dataset, &rows)?)?;
    }
    let result = evaluate(base.task.as_ref(), &adapters, &dataset, batch_size)?;
    if !result.loss().is_finite() {
        base.task.base().check_finite()?;
        return Err(Error::NotANumber);
    }
    let loss = result.loss();
    // A number has no probability, and is neither right nor wrong.
    let of_classes = (!base.purpose.is_regression()).then(|| (result.perplexity(), result.accuracy()));
    if args.json {
        let (perplexity, accuracy) = of_classes.unzip();
        console.result(&json!({
            "loss": loss, "perplexity": perplexity, "tokens": result.tokens, "accuracy": accuracy,
        }))?;
        return Ok(EXIT_DONE);
    }
    let supervised = Counted(result.tokens, base.purpose.unit());
    match of_classes {
        Some((perplexity, accuracy)) => console.answer(format_args!(
            "loss {loss:.6} | perplexity {perplexity:.4} | accuracy {accuracy:.4} | {supervised}"
        ))?,
        None => console.answer(format_args!("loss {loss:.6} | {supervised}"))?,
    }
    Ok(EXIT_DONE)
}

/// Writes logits as f32: `[batch, seq, vocab]`, zero after the end of a shorter row, or `[batch, num_labels]`.
fn write_logits(path: &Path, logits: Logits) -> Result<(), Error> {
    let spec = TensorSpec { name: "logits".to_owned(), dtype: Dtype::F32, shape: logits.shape };
    let bytes = || logits.values.iter().flat_map(|x| x.to_le_bytes()).collect();
    write_safetensors(&Storage, path, &[spec], &[], |_| Ok::<_, CheckpointError>(Cow::Owned(bytes())))
        .map_err(Error::Save)
}
