//! `train`: from a config to an output directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkpoint::Storage;
use data::Dataset;
use device::Device;
use device::launch::Executor;
use model::{Adapter, Pass};
use peft::Method;

use crate::Error;
use crate::args::TrainArgs;
use crate::commands::{EXIT_DONE, compute_with};
use crate::config::{self, Config, Resume};
use crate::console::Console;
use crate::generation::{BATCH_SIZE, Generation, Prompt, encode_prompt};
use crate::memory;
use crate::run::base_model::now;
use crate::run::facts::{self, Fact};
use crate::run::journal::Journal;
use crate::run::log::Log;
use crate::run::model_card::{Kind, MODEL_CARD, ModelCard};
use crate::run::optimizer::Optimizer;
use crate::run::output_dir::OutputDir;
use crate::run::plan::{DevicePlan, RunPlan};
use crate::run::progress::Progress;
use crate::run::purpose::LABELS_FILE;
use crate::run::record::RunRecord;
use crate::run::report::{REPORT_FILE, Report, Sample};
use crate::run::resume::{self, Origin};
use crate::run::save::save_result;
use crate::run::setup::{Setup, limit_memory};
use crate::run::token_cache::Access;
use crate::run::trainer::{Ended, Trainer};
use crate::run::trainer_state::TrainerState;
use crate::run::{companions, method, training_state};
use crate::sampling::Sampling;
use crate::schedule::Schedule;
use crate::signals::Signals;
use crate::units::{Bytes, Counted, Span};

pub(super) fn run(args: &TrainArgs) -> Result<u8, Error> {
    let console = Console::default();
    let config = Config::load(args.config.config.as_deref(), &args.config.overrides())?;
    let settings = config.to_toml()?;
    if args.print_config {
        console.answer(settings.trim_end())?;
        return Ok(EXIT_DONE);
    }
    let signals = Signals::listen().map_err(Error::Signals)?;
    let output = OutputDir::open(&config.training.output_dir, &Storage)?;
    let device = compute_with(config.training.device, config.training.threads)?;
    limit_memory(&config, device)?;
    let origin = resume::find(output.path(), &config.training.resume, |note| console.warning(note))?;
    let finished = match config.training.resume {
        Resume::Auto => resume::finished(output.path())?,
        Resume::Never | Resume::From(_) => None,
    };
    let begun = origin.as_ref().map(|origin| &origin.record).or(finished.as_ref().map(|(record, _)| record));
    let started_at = begun.map_or_else(now, |record| record.started_at);

    let setup = Setup::load(&config, started_at, Access::Write, console)?;
    let record = RunRecord::new(setup.identity(&config)?, started_at);
    if let Some((then, state)) = &finished {
        resume::check_same(output.path(), &then.identity, &record.identity)?;
        if state.global_step >= setup.max_steps {
            let dir = output.path().display();
            console.line(format_args!(
                "already complete: {} steps are done, and {dir} holds the result",
                state.global_step
            ));
            return Ok(EXIT_DONE);
        }
    }
    if let Some(origin) = &origin {
        resume::check_same(&origin.path, &origin.record.identity, &record.identity)?;
    }
    Run { config, settings, console, signals, output, setup, record, device }.start(origin)
}

/// A run that is about to take steps.
struct Run {
    config: Config,
    settings: String,
    console: Console,
    signals: Signals,
    output: OutputDir,
    setup: Setup,
    record: RunRecord,
    device: Device,
}

impl Run {
    /// Says what will be done, and whether it fits, before memory is taken for it.
    fn start(mut self, origin: Option<Origin>) -> Result<u8, Error> {
        let plan = self.plan()?;
        let on_device = self.device_plan();
        let are_growing = self.setup.rows.feed.is_growing()?;
        let facts = self.facts(&plan, on_device.as_ref(), are_growing)?;
        facts.iter().for_each(|(name, value)| self.console.line(format_args!("{name}: {value}")));
        match &on_device {
            Some(on_device) => on_device.check(&self.config)?,
            None if self.device == Device::Cpu => plan.check(&self.config)?,
            None => {}
        }
        let trained = self.load().and_then(|()| self.train(origin, &plan, &facts, are_growing));
        self.tell_peak(on_device.as_ref(), &trained)?;
        // What was planned, item by item, shows what to lower.
        trained.inspect_err(|error| {
            if error.is_out_of_memory() {
                self.console.warning(match &on_device {
                    Some(on_device) => facts::memory_items(&on_device.memory.items()),
                    None => facts::memory_items(&plan.memory.items()),
                });
            }
        })
    }

    /// What the run takes of the host. Where rows on their way would not fit if all were as long as they may be, their lengths are
    /// waited for.
    fn plan(&self) -> Result<RunPlan, Error> {
        let Setup { base, rows, .. } = &self.setup;
        let plan = RunPlan::new(&self.config, base, rows)?;
        if plan.fits() || !rows.feed.is_growing()? {
            return Ok(plan);
        }
        self.console.line("waiting for the lengths of all rows, as the longest allowed would not fit in memory");
        rows.feed.finish()?;
        RunPlan::new(&self.config, base, rows)
    }

    /// What the run will take of its device, if that is not the CPU. What cannot be planned is tried: the device tells why.
    fn device_plan(&mut self) -> Option<DevicePlan> {
        let Setup { base, rows, .. } = &mut self.setup;
        let is_planned = self.device != Device::Cpu;
        is_planned.then(|| DevicePlan::new(&self.config, base, rows, self.device).ok()).flatten()
    }

    /// Holds what a device was planned to take against what it took.
    fn tell_peak(&self, plan: Option<&DevicePlan>, trained: &Result<u8, Error>) -> Result<(), Error> {
        if let (Some(plan), Ok(_)) = (plan, trained) {
            let peak = Executor::for_device(plan.device)?.pool_stats().peak_live_bytes;
            let planned = Bytes(plan.memory.allocated());
            self.console.line(format_args!("peak device memory: {} (planned {planned})", Bytes(peak as u64)));
        }
        Ok(())
    }

    /// Holds the weights as the config says, on its device.
    fn load(&mut self) -> Result<(), Error> {
        self.setup.base.place(self.config.model.storage(), self.device)?;
        // Dense weights that are quantized on their way are no part of what steps take.
        if self.device != Device::Cpu {
            Executor::for_device(self.device)?.reset_peaks();
        }
        Ok(())
    }

    /// Takes the steps and saves what they made. Of rows that `are_growing` no more is told yet than how many there are.
    fn train(&self, origin: Option<Origin>, plan: &RunPlan, facts: &[Fact], are_growing: bool) -> Result<u8, Error> {
        let (setup, training) = (&self.setup, &self.config.training);
        let (method, warnings) = method::build(&self.config, &setup.base)?;
        let of_rows = if are_growing { Vec::new() } else { self.warnings(setup.rows.feed.finish()?) };
        let of_base = facts::newly_initialized(setup.base.task.base(), |_| false);
        let of_config = self.config.adapter.without_effect().into_iter().chain(training.without_effect(self.device));
        let all = of_config.chain(of_base).chain(warnings).chain(of_rows);
        all.for_each(|warning| self.console.warning(warning));
        if training.eval_steps > 0 && setup.eval.is_none() {
            self.console.warning("training.eval_steps does nothing without rows to evaluate on: set data.eval");
        }
        let of_prompts = |error| Error::SamplePrompts(Box::new(error));
        let prompts = self.prompts().map_err(of_prompts)?;
        // Before a checkpoint is loaded: what the base, or the adapter gone on from, makes of them.
        let before = self.continue_prompts(&method, &prompts).map_err(of_prompts)?;
        let mut optimizer = Optimizer::new(method.parameters(), training, setup.base.task.base().modules())?;
        let state = self.begin(origin, method.as_ref(), &mut optimizer)?;
        let log = Log::start(self.output.path(), state.log_history.clone(), &Storage).map_err(Error::Save)?;
        let progress = Progress::start(self.console, setup.max_steps, state.global_step, state.num_input_tokens_seen);
        let mut journal = Journal::new(log, progress, TrainerState { max_steps: setup.max_steps, ..state });
        let trainer = Trainer {
            task: setup.base.task.as_ref(),
            method: Arc::clone(&method),
            rows: &setup.rows,
            eval: setup.eval.as_ref(),
            training,
            schedule: Schedule {
                scheduler_type: training.lr_scheduler_type,
                learning_rate: training.learning_rate,
                warmup_steps: training.warmup_steps,
                max_steps: setup.max_steps,
            },
            record: self.record.clone(),
            output_dir: self.output.path(),
            fs: &Storage,
            signals: &self.signals,
        };
        let started = Instant::now();
        self.signals.defer();
        let ended = trainer.train(&mut optimizer, &mut journal);
        journal.progress.finish();
        match ended? {
            Ended::Stopped(signal) => {
                let step = journal.state().global_step;
                self.console.line(format_args!(
                    "stopped by {signal} after step {step}; the same command goes on from checkpoint-{step}"
                ));
                Ok(signal.exit_code())
            }
            Ended::Finished => {
                // What was trained is not lost to what its report lacks.
                let after = self.continue_prompts(&method, &prompts).unwrap_or_else(|error| {
                    self.console.warning(format_args!("{}; the report has no samples", of_prompts(error)));
                    Vec::new()
                });
                let samples = samples(&training.sample_prompts, before, after);
                self.finish(method.as_ref(), &journal, facts, &samples, started.elapsed())?;
                if let Some(peak) = memory::peak_rss_bytes() {
                    let planned = Bytes(plan.memory.total());
                    self.console.line(format_args!("peak memory: {} (planned {planned})", Bytes(peak)));
                }
                // What was trained is saved by now, whatever is wrong with rows that no step has used.
                if are_growing { self.tell_rows() } else { Ok(EXIT_DONE) }
            }
        }
    }

    /// What about the rows is likely to be a mistake.
    fn warnings(&self, dataset: &Dataset) -> Vec<String> {
        let must_stop = self.setup.tokenizer.is_some() && !self.setup.base.purpose.is_classifier();
        facts::warnings(dataset.statistics(), self.config.data.max_length, must_stop)
    }

    /// Waits for rows that were on their way, none of which may be bad even if no step used it, and tells what is known of them now.
    /// A signal ends that at once: the result is saved.
    fn tell_rows(&self) -> Result<u8, Error> {
        self.signals.end_at_once();
        if let Some(signal) = self.signals.received() {
            return Ok(signal.exit_code());
        }
        let feed = &self.setup.rows.feed;
        if feed.is_growing()? {
            match feed.unkept() {
                None => {
                    self.console.line("waiting for the rest of the rows, which are checked and kept for the next run")
                }
                Some(_) => self.console.line("waiting for the rest of the rows, which are checked"),
            }
        }
        let dataset = feed.finish()?;
        if let Some(error) = feed.unkept() {
            self.console.warning(format_args!("{error}; the next run encodes the rows again"));
        }
        let (name, value) = facts::rows(dataset.statistics());
        self.console.line(format_args!("{name}: {value}"));
        self.warnings(dataset).into_iter().for_each(|warning| self.console.warning(warning));
        Ok(EXIT_DONE)
    }

    fn facts(&self, plan: &RunPlan, on_device: Option<&DevicePlan>, are_growing: bool) -> Result<Vec<Fact>, Error> {
        let rows = &self.setup.rows;
        let mut facts = facts::model(&self.config, &self.setup.base, &plan.trained);
        facts.push(match are_growing {
            true => facts::growing_rows(rows.feed.len()),
            false => facts::rows(rows.feed.finish()?.statistics()),
        });
        facts.push(facts::length(&self.config, self.setup.max_steps, rows.epochs_after(self.setup.max_steps)));
        facts.extend(facts::recipe(&self.config));
        facts.push(on_device.map_or_else(|| facts::memory(plan), facts::device_memory));
        Ok(facts)
    }

    /// Step 1, or the step after a checkpoint.
    fn begin(
        &self,
        origin: Option<Origin>,
        method: &dyn Method,
        optimizer: &mut Optimizer,
    ) -> Result<TrainerState, Error> {
        let dir = self.output.path();
        let Some(Origin { path, record }) = origin else {
            resume::start_over(dir, &Storage)?;
            self.record.write(dir, &Storage).map_err(Error::Save)?;
            let epochs = self.setup.rows.epochs_after(self.setup.max_steps);
            return Ok(TrainerState::new(&self.config, self.setup.max_steps, epochs));
        };
        training_state::read(&path, method, optimizer, record.step)?;
        let state = resume::trainer_state(&path)?;
        self.record.write(dir, &Storage).map_err(Error::Save)?;
        self.console.line(format_args!(
            "resuming from {}: step {} of {}, epoch {:.2}, with optimizer, order and random numbers",
            path.display(),
            state.global_step,
            self.setup.max_steps,
            state.epoch
        ));
        Ok(state)
    }

    fn prompts(&self) -> Result<Vec<Prompt>, Error> {
        let texts = &self.config.training.sample_prompts;
        let Some(tokenizer) = self.setup.tokenizer.as_ref().filter(|_| !texts.is_empty()) else {
            return Ok(Vec::new());
        };
        let prompt = |(index, text): (usize, &String)| match encode_prompt(text, tokenizer, None) {
            Ok(token_ids) => Ok(Prompt { token_ids, number: 0 }),
            Err(source) => Err(Error::Prompt { index, source: Box::new(source) }),
        };
        texts.iter().enumerate().map(prompt).collect()
    }

    fn continue_prompts(&self, method: &Arc<dyn Method>, prompts: &[Prompt]) -> Result<Vec<String>, Error> {
        let Some(tokenizer) = self.setup.tokenizer.as_ref().filter(|_| !prompts.is_empty()) else {
            return Ok(Vec::new());
        };
        let generation = Generation {
            model: self.setup.base.text_model()?,
            pass: &Pass::evaluation(Arc::clone(method) as Arc<dyn Adapter>),
            sampling: Sampling::GREEDY,
            max_new_tokens: self.config.training.sample_max_new_tokens,
            stop_token_ids: &tokenizer.special_tokens().stop_token_ids,
            batch_size: BATCH_SIZE,
        };
        let continuations = generation.run(prompts, |_, _| Ok(()))?;
        continuations.iter().map(|one| Ok(tokenizer.decode(&one.token_ids, true)?)).collect()
    }

    fn finish(
        &self,
        method: &dyn Method,
        journal: &Journal,
        facts: &[Fact],
        samples: &[Sample],
        elapsed: Duration,
    ) -> Result<(), Error> {
        let (state, dir) = (journal.state(), self.output.path());
        let base_model = self.config.model.path.display().to_string();
        let report = Report {
            title: &format!("{} on {base_model}", self.config.adapter.method),
            facts,
            settings: &self.settings,
            log: journal.entries(),
            samples,
        };
        let kind = match self.config.adapter.method {
            config::Method::Full => Kind::Model,
            config::Method::Bottleneck => Kind::AdapterHub,
            config::Method::Lora
            | config::Method::AdaLora
            | config::Method::Vera
            | config::Method::Ia3
            | config::Method::LnTuning
            | config::Method::TrainableTokens
            | config::Method::PromptTuning
            | config::Method::PrefixTuning
            | config::Method::PTuning
            | config::Method::PixelPrompt => Kind::Peft,
        };
        let purpose = &self.setup.base.purpose;
        let card = ModelCard { base_model: &base_model, kind, purpose, facts, settings: &self.settings, dir };
        let mut documents = vec![(REPORT_FILE, report.to_html()), (MODEL_CARD, card.to_markdown())];
        if kind != Kind::Model {
            documents.extend(purpose.labels_text().map(|text| (LABELS_FILE, text)));
        } else {
            // What is saved is a model of its own, in the type that it was trained in.
            documents.extend(companions::of_model(&self.config.model.path, |config| {
                companions::set_dtype(config, "float32");
                companions::set_purpose(config, purpose, self.setup.base.task.base());
            })?);
        }
        save_result(method, &state, &documents, dir, &Storage)?;
        self.console.line(format_args!(
            "done: {} in {}; {} holds the result, {REPORT_FILE} shows the curves",
            Counted(state.global_step, "step"),
            Span(elapsed),
            dir.display()
        ));
        Ok(())
    }
}

fn samples(prompts: &[String], before: Vec<String>, after: Vec<String>) -> Vec<Sample> {
    let each = prompts.iter().zip(before).zip(after);
    each.map(|((prompt, before), after)| Sample { prompt: prompt.clone(), before, after }).collect()
}
