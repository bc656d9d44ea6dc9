//! `extract`: the LoRA of two checkpoints, one weight in memory at a time.

use checkpoint::{Checkpoint, StagedDirectory};
use data::Task;
use device::DType;
use model::{Base, Module, ParameterId};
use peft::extract::{Retained, extract};
use peft::targets::{Candidate, Selection};
use peft::updates::LoraUpdates;
use peft::{Common, ModuleNames, TaskType};
use serde_json::{Map, json};

use crate::Error;
use crate::args::ExtractArgs;
use crate::commands::EXIT_DONE;
use crate::commands::model_output::ModelOutput;
use crate::console::Console;
use crate::error::while_saving;
use crate::run::base_model::BaseModel;
use crate::run::purpose::Purpose;
use crate::units::Counted;

pub(super) fn run(args: &ExtractArgs) -> Result<u8, Error> {
    let console = Console::new(args.json);
    let output = ModelOutput::new(&args.output)?;
    let purpose = Purpose::of_files(&args.model, None)?;
    let open = |dir| BaseModel::open(dir, Some(DType::F32), purpose.clone());
    let (base, tuned) = (open(&args.model)?, open(&args.tuned)?);
    check_same_architecture(args, base.task.base(), tuned.task.base())?;
    let targets = targets(args, base.task.base())?;
    if !args.json {
        console.line(format_args!("{:<44} {:>5} {:>10} {:>10} {:>10}", "module", "rank", "change", "energy", "error"));
    }
    let (mut updates, mut found) = (Vec::new(), Vec::new());
    for (site, module) in targets.iter().enumerate() {
        let [before, after] = [&base, &tuned].map(|model| values(model, module.weight));
        let extracted = extract(module, &before?, &after?, args.rank as usize, (args.seed, site as u32))?;
        let Some((update, retained)) = extracted else { continue };
        if !args.json {
            let Retained { module, rank, change, energy, error } = &retained;
            console.line(format_args!(
                "{module:<44} {rank:>5} {:>8.3} % {:>8.3} % {:>8.3} %",
                100.0 * change,
                100.0 * energy,
                100.0 * error
            ));
        }
        updates.push(update);
        found.push(retained);
    }
    if updates.is_empty() {
        return Err(Error::SameWeights { base: args.model.clone(), tuned: args.tuned.clone() });
    }
    let others = other_differences(&base, &tuned, &targets)?;
    if let Some(first) = others.first() {
        console.warning(format_args!(
            "{} other than these modules' weights differ and are not in the adapter: {}{}",
            Counted(others.len() as u64, "tensor"),
            first,
            if others.len() > 1 { ", ..." } else { "" }
        ));
    }
    let common = Common {
        base_model_name_or_path: Some(args.model.display().to_string()),
        task_type: task_type(purpose.task),
        ..Common::default()
    };
    let fan_in_fan_out = base.task.base().dimensions().model_type == "gpt2";
    let adapter = LoraUpdates { common, fan_in_fan_out, updates, ..LoraUpdates::default() };
    let largest_rank = adapter.largest_rank();
    let mut staged: StagedDirectory<'_> = output.stage()?;
    adapter.to_peft().stage(&mut staged).map_err(while_saving)?;
    staged.commit(Map::new()).map_err(Error::Save)?;
    if args.json {
        let modules = found.iter().map(|Retained { module, rank, change, energy, error }| {
            json!({ "module": module, "rank": rank, "change": change, "energy": energy, "error": error })
        });
        console.result(&json!({ "modules": modules.collect::<Vec<_>>(), "not_extracted": others }))?;
        return Ok(EXIT_DONE);
    }
    let worst = found.iter().map(|retained| retained.error).fold(0.0, f64::max);
    console.line(format_args!(
        "extracted {} of rank up to {} into {}; the change of a module differs by at most {:.3} %",
        Counted(found.len() as u64, "module"),
        largest_rank,
        args.output.display(),
        100.0 * worst
    ));
    Ok(EXIT_DONE)
}

/// The task of a language model; the head of a classifier is no product of two matrices.
fn task_type(task: Task) -> Option<TaskType> {
    match task {
        Task::CausalLm => Some(TaskType::CausalLm),
        Task::Seq2SeqLm => Some(TaskType::Seq2SeqLm),
        Task::SequenceClassification
        | Task::TokenClassification
        | Task::FeatureExtraction
        | Task::ImageClassification => None,
    }
}

fn check_same_architecture(args: &ExtractArgs, base: &Base, tuned: &Base) -> Result<(), Error> {
    let differ = |reason| Err(Error::OtherArchitecture { base: args.model.clone(), tuned: args.tuned.clone(), reason });
    let (one, other) = (base.dimensions().model_type, tuned.dimensions().model_type);
    if one != other {
        return differ(format!("their `model_type` is {one} and {other}"));
    }
    if let Some(dir) = [base, tuned].into_iter().find(|model| model.is_quantized()).map(Base::dir) {
        return differ(format!("{} is quantized, and its rounding would be extracted too", dir.display()));
    }
    let mut pairs = base.modules().parameters().zip(tuned.modules().parameters());
    let unlike = pairs.find(|(one, other)| one.name != other.name || one.shape != other.shape);
    match unlike {
        Some((one, other)) => {
            differ(format!("{} is {:?}, and {} is {:?}", one.name, one.shape, other.name, other.shape))
        }
        None if base.modules().parameters().len() != tuned.modules().parameters().len() => {
            differ("one has more layers than the other".to_owned())
        }
        None => Ok(()),
    }
}

/// The modules that are meant, in model order.
fn targets<'a>(args: &ExtractArgs, base: &'a Base) -> Result<Vec<&'a Module>, Error> {
    let target_modules = match args.target_modules.as_slice() {
        [word] => {
            let pattern = ModuleNames::Pattern(word.clone());
            if pattern.is_all_linear() { pattern } else { ModuleNames::List(vec![word.clone()]) }
        }
        names => ModuleNames::List(names.to_vec()),
    };
    let selection = Selection {
        target_modules: &target_modules,
        exclude_modules: None,
        modules_to_save: &[],
        layers_to_transform: None,
        layers_pattern: None,
    };
    let candidates: Vec<Candidate<'_>> = base.modules().iter().map(Candidate::of).collect();
    let matched = selection.resolve(&candidates)?.matched;
    Ok(base.modules().iter().filter(|module| matched.contains(&module.path)).collect())
}

/// The values of a parameter. The memory of the file is given back.
fn values(model: &BaseModel, id: ParameterId) -> Result<Vec<f32>, Error> {
    let base = model.task.base();
    let values = base.parameter(id)?.to_vec();
    release(&model.weights, &base.stored_names().of(&base.modules().parameter(id).name));
    Ok(values)
}

fn release(weights: &Checkpoint, name: &str) {
    weights.get(name).iter().for_each(checkpoint::MappedTensor::release);
}

/// Names of the parameters outside of `targets` that differ.
fn other_differences(base: &BaseModel, tuned: &BaseModel, targets: &[&Module]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let modules = base.task.base().modules();
    let others = modules
        .parameters()
        .filter(|parameter| parameter.tied_to.is_none() && !targets.iter().any(|module| module.weight == parameter.id));
    for parameter in others {
        if values(base, parameter.id)? != values(tuned, parameter.id)? {
            names.push(parameter.name.clone());
        }
    }
    Ok(names)
}
