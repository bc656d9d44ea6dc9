//! One command a file. Each takes its arguments, does its work, and returns the exit code or an error.

mod combine;
mod doctor;
mod embed;
mod eval;
mod generate;
mod inspect;
mod merge;
mod model_output;
mod plan;
mod quantize;
mod quickstart;
mod requantization;
mod train;

use std::ffi::OsString;
use std::sync::Arc;

use clap::Parser;
use device::Device;
use model::{Adapter, Pass};

use crate::Error;
use crate::args::{Cli, Command, ModelArgs};
use crate::config::DeviceChoice;
use crate::console::{self, Console};
use crate::error::EXIT_USAGE;
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
            // Help and version are an "error" of clap too, one that goes to stdout; a closed pipe is nobody's problem.
            let _ = error.print();
            return if error.use_stderr() { EXIT_USAGE } else { EXIT_DONE };
        }
    };
    let result = match cli.command {
        Command::Quickstart(args) => quickstart::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Combine(args) => combine::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Doctor => doctor::run(),
    };
    result.unwrap_or_else(|error| {
        console::error(&error);
        error.exit_code()
    })
}

/// Opens the device and takes `threads` threads, or every core for 0.
fn compute_with(device: DeviceChoice, threads: usize) -> Result<Device, Error> {
    let device = device.open()?;
    if threads > 0 {
        // Refused only where threads are running already, as in a test that calls two commands in one process.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    Ok(device)
}

/// A model as the command line names it, with its adapter.
struct Opened {
    base: BaseModel,
    pass: Pass,
}

impl Opened {
    fn open(args: &ModelArgs, console: Console) -> Result<Self, Error> {
        let device = compute_with(args.device, args.threads)?;
        let purpose = Purpose::of_files(&args.model, args.adapter.as_deref())?;
        let mut base = BaseModel::open(&args.model, args.dtype.dtype(), purpose)?;
        base.store(args.storage.storage())?;
        base.to_device(device)?;
        let Some(dir) = &args.adapter else {
            facts::newly_initialized(base.task.base(), |_| false).iter().for_each(|warning| console.warning(warning));
            return Ok(Self { base, pass: Pass::base() });
        };
        let (method, warnings) = peft::open(dir, base.task.base())?;
        let missing = facts::newly_initialized(base.task.base(), |id| method.parameter(id).is_some());
        warnings.iter().chain(&missing).for_each(|warning| console.warning(warning));
        Ok(Self { base, pass: Pass::evaluation(method as Arc<dyn Adapter>) })
    }
}
