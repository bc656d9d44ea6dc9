//! `quickstart`: the bundled model learns a task that it cannot do, once with every method.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use checkpoint::MODEL_WEIGHTS;
use model::{Adapter, Pass};

use crate::Error;
use crate::args::{ConfigArgs, QuickstartArgs, TrainArgs};
use crate::commands::{EXIT_DONE, train};
use crate::config::{self, Config, Overrides};
use crate::console::Console;
use crate::memory;
use crate::quickstart::{Answer, Bundle, Outcome, TaskRow, answers, table};
use crate::run::adapters::Adapters;
use crate::run::base_model::{BaseModel, RowSettings};
use crate::run::evaluate::{Evaluation, evaluate};
use crate::run::purpose::Purpose;

/// Rows whose answers are shown.
const SHOWN: usize = 2;
/// Rows of a batch when the loss is measured.
const BATCH_SIZE: usize = 32;
/// No row is as long.
const MAX_LENGTH: usize = 256;

pub(super) fn run(args: &QuickstartArgs) -> Result<u8, Error> {
    let console = Console::default();
    let bundle = Bundle::write(&args.output)?;
    let base = BaseModel::open(&bundle.model, None, Purpose::causal_lm())?;
    let exam = Exam::open(&bundle, &base)?;
    console.line(format_args!("the base model and the task are in {}", args.output.display()));
    let before = exam.take(&base, &Pass::base())?;
    let mut outcomes = vec![before.outcome("base model", &exam, Trained::default(), None)];
    let mut shown = vec![("base model", before.answers)];
    for (method, config, output) in &bundle.methods {
        console.line(format_args!("\n{method}: tunesmith train {}", config.display()));
        let started = Instant::now();
        // The run tells its own peak, beside its plan.
        memory::restart_peak();
        let arguments = ConfigArgs { config: Some(config.clone()), ..ConfigArgs::default() };
        let code = train::run(&TrainArgs { config: arguments, print_config: false })?;
        if code != EXIT_DONE {
            return Ok(code);
        }
        let elapsed = started.elapsed();
        let (model, pass, trained) = open_trained(&bundle, config, output)?;
        let after = exam.take(&model, &pass)?;
        outcomes.push(after.outcome(method, &exam, trained, Some(elapsed)));
        shown.push((method, after.answers));
    }
    console.answer(format_args!("\n{} stories that no method has seen:\n\n{}", exam.rows.len(), table(&outcomes)))?;
    // What every method answers fills pages: the first is shown beside the base.
    show(console, &exam.rows, &shown[..shown.len().min(2)]);
    next_steps(console, &bundle, &args.output, &exam.rows);
    Ok(EXIT_DONE)
}

/// What a method trains, and the file that holds it.
#[derive(Default)]
struct Trained {
    parameters: u64,
    bytes: Option<u64>,
}

impl Trained {
    fn new(parameters: usize, file: &Path) -> Self {
        Self { parameters: parameters as u64, bytes: std::fs::metadata(file).ok().map(|file| file.len()) }
    }
}

/// What training left in `output`: an adapter over the base, or a model of its own.
fn open_trained(bundle: &Bundle, config: &Path, output: &Path) -> Result<(BaseModel, Pass, Trained), Error> {
    let config = Config::load(Some(config), &Overrides::default())?;
    if config.adapter.method == config::Method::Full {
        let model = BaseModel::open(output, None, Purpose::causal_lm())?;
        let trained = Trained::new(model.task.base().modules().count(), &output.join(MODEL_WEIGHTS));
        return Ok((model, Pass::base(), trained));
    }
    let mut base = BaseModel::open(&bundle.model, None, Purpose::causal_lm())?;
    // As this method has it: QLoRA's is quantized.
    base.store(config.model.storage())?;
    let (adapter, _) = peft::open(output, base.task.base())?;
    let trained = Trained::new(adapter.parameters().count(), &output.join(adapter.weights_file()));
    Ok((base, Pass::evaluation(adapter as Arc<dyn Adapter>), trained))
}

/// The task's held-out rows, for any adapter of the base.
struct Exam {
    tokenizer: data::Tokenizer,
    dataset: data::Dataset,
    rows: Vec<TaskRow>,
    /// Values of the base model.
    total: u64,
}

/// How a model did.
struct Marks {
    evaluation: Evaluation,
    answers: Vec<Answer>,
}

impl Exam {
    fn open(bundle: &Bundle, base: &BaseModel) -> Result<Self, Error> {
        let no_tokenizer = || data::DataError::NoTokenizer { dir: base.dir.clone() };
        let tokenizer = base.tokenizer()?.ok_or_else(no_tokenizer)?;
        let settings = RowSettings {
            max_length: MAX_LENGTH,
            completion_only_loss: true,
            num_virtual_tokens: 0,
            adapters: &[],
            cache: None,
        };
        let dataset = base.rows(&bundle.test, Some(&tokenizer), None, settings)?;
        let rows = TaskRow::read(&bundle.test)?;
        Ok(Self { tokenizer, dataset, rows, total: base.task.base().modules().count() as u64 })
    }

    fn take(&self, base: &BaseModel, pass: &Pass) -> Result<Marks, Error> {
        let evaluation = evaluate(base.task.as_ref(), &Adapters::one(pass.clone()), &self.dataset, BATCH_SIZE)?;
        let model = base.text_model()?;
        let answers = answers(model, pass, &self.tokenizer, &self.rows)?;
        Ok(Marks { evaluation, answers })
    }
}

impl Marks {
    fn outcome(&self, method: &str, exam: &Exam, trained: Trained, elapsed: Option<Duration>) -> Outcome {
        let right = self.answers.iter().filter(|answer| answer.is_right).count();
        Outcome {
            method: method.to_owned(),
            trainable: trained.parameters,
            total: exam.total,
            adapter_bytes: trained.bytes,
            loss: self.evaluation.loss(),
            token_accuracy: self.evaluation.accuracy(),
            exact_match: right as f64 / self.answers.len().max(1) as f64,
            elapsed,
        }
    }
}

fn show(console: Console, rows: &[TaskRow], models: &[(&str, Vec<Answer>)]) {
    for (index, row) in rows.iter().take(SHOWN).enumerate() {
        console.line(format_args!("\n{}", row.prompt));
        for (model, answers) in models {
            console.line(format_args!("  [{model}]"));
            answers[index].text.trim_start().lines().for_each(|line| console.line(format_args!("    {line}")));
        }
    }
}

fn next_steps(console: Console, bundle: &Bundle, dir: &Path, rows: &[TaskRow]) {
    let (model, test) = (bundle.model.display(), bundle.test.display());
    let Some((method, config, output)) = bundle.methods.first() else { return };
    let (config, adapter, merged) = (config.display(), output.display(), dir.join("merged"));
    let prompt = rows.first().map_or("", |row| row.prompt.split('\n').next().unwrap_or_default());
    // As this process was called: it need not be on the PATH.
    let program = std::env::args_os().next().map_or("tunesmith".into(), |path| path.to_string_lossy().into_owned());
    console.line(format_args!(
        "\nto try next:\n  \
         {program} eval --model {model} --adapter {adapter} --data {test}\n  \
         {program} generate --model {model} --adapter {adapter} --prompt $'{prompt}\\nRecord:'\n  \
         {program} merge --model {model} --adapter {adapter} --output {}\n  \
         {program} inspect {adapter}\n  \
         {program} train {config} --set training.learning_rate=1e-3 --output {}\n\
         {adapter}/report.html shows the curves of the run.",
        merged.display(),
        dir.join(format!("{method}-again")).display(),
    ));
}
