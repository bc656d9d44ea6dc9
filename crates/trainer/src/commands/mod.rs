//! One command a file. Each takes its arguments, does its work, and returns the exit code or an error.

mod bake;
mod combine;
mod convert;
mod doctor;
mod embed;
mod eval;
mod extract;
mod generate;
mod inspect;
mod merge;
mod model_output;
mod plan;
mod quantize;
mod quickstart;
mod requantization;
mod train;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use device::Device;
use model::{Adapter, Pass};

use crate::Error;
use crate::args::{AdapterArg, Cli, Command, ModelArgs};
use crate::config::DeviceChoice;
use crate::console::{self, Console};
use crate::exit_code::EXIT_USAGE;
use crate::run::adapters::{Adapters, BASE};
use crate::run::base_model::BaseModel;
use crate::run::facts;
use crate::run::purpose::Purpose;

/// Exit code of a command that did what it was asked for.
pub(crate) const EXIT_DONE: u8 = 0;

/// Runs the command line `args`, the program's name first, and returns its exit code. Errors are on stderr.
pub fn run_command_line(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            if error.use_stderr() {
                return EXIT_USAGE;
            }
            // Help and version are an "error" of clap too, one that goes to stdout.
            return exit_code(console::unless_reader_left(printed).map(|()| EXIT_DONE));
        }
    };
    exit_code(match cli.command {
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Combine(args) => combine::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Extract(args) => extract::run(&args),
        Command::Bake(args) => bake::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor => doctor::run(),
    })
}

/// The exit code of what a command returned, which is told if it is an error.
fn exit_code(result: Result<u8, Error>) -> u8 {
    result.unwrap_or_else(|error| {
        console::error(&error);
        error.exit_code()
    })
}

/// Opens the device and takes `threads` threads, or every core for 0.
fn compute_with(device: DeviceChoice, threads: usize) -> Result<Device, Error> {
    let device = device.open()?;
    let mut pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    // The main thread lives as long as the pool, so it can be one of its threads. Another one would be put to sleep and
    // woken for every op.
    if std::thread::current().name() == Some("main") {
        pool = pool.use_current_thread();
    }
    // Refused only where threads are running already, as in a test that calls two commands in one process.
    let _ = pool.build_global();
    Ok(device)
}

/// A model as the command line names it, with its adapters.
struct Opened {
    base: BaseModel,
    adapters: Adapters,
}

impl Opened {
    fn open(args: &ModelArgs, console: Console) -> Result<Self, Error> {
        let device = compute_with(args.device_choice(), args.threads.into())?;
        let purpose = purpose(args)?;
        let mut base = BaseModel::open(&args.model, args.dtype.dtype(), purpose)?;
        base.place(args.storage.storage(), device)?;
        if args.adapters.is_empty() {
            facts::newly_initialized(base.task.base(), |_| false).iter().for_each(|warning| console.warning(warning));
            return Ok(Self { base, adapters: Adapters::one(Pass::base()) });
        }
        let mut opened = Vec::new();
        for AdapterArg { name, dir } in &args.adapters {
            let (method, warnings) = peft::open(dir, base.task.base())?;
            let missing = facts::newly_initialized(base.task.base(), |id| method.parameter(id).is_some());
            warnings.iter().chain(&missing).for_each(|warning| console.warning(warning));
            opened.push((name.clone(), method as Arc<dyn Adapter>));
        }
        let adapters = match args.adapters.as_slice() {
            // Without a name of its own it is for every row.
            [AdapterArg { name, dir }] if Path::new(name) == dir.as_path() => {
                Adapters::one(Pass::evaluation(Arc::clone(&opened[0].1)))
            }
            _ => Adapters::named(base.task.base(), opened),
        };
        Ok(Self { base, adapters })
    }
}

/// What the adapters of the command line are for, which has to be the same.
fn purpose(args: &ModelArgs) -> Result<Purpose, Error> {
    let mut names = BTreeSet::from([BASE]);
    let mut first: Option<(&str, Purpose)> = None;
    for AdapterArg { name, dir } in &args.adapters {
        if !names.insert(name) {
            let reason = "the name is taken; give each adapter another".to_owned();
            return Err(Error::AdapterName { name: name.clone(), reason });
        }
        let own = Purpose::of_files(&args.model, Some(dir))?;
        match &first {
            Some((first, purpose)) if *purpose != own => {
                return Err(Error::OtherPurpose { first: (*first).to_owned(), second: name.clone() });
            }
            _ => first = Some((name, own)),
        }
    }
    match first {
        Some((_, purpose)) => Ok(purpose),
        None => Purpose::of_files(&args.model, None),
    }
}
