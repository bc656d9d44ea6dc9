//! `merge`: a model with an adapter's changes in its weights, written tensor by tensor.

use std::borrow::Cow;

use checkpoint::{
    CheckpointError, Dtype, MODEL_INDEX, MODEL_WEIGHTS, MappedTensor, SafetensorsFile, StagedDirectory, Storage,
    TensorSpec, read_json,
};
use data::Task;
use half::{bf16, f16};
use model::{Parameter, ParameterId, StoredNames};
use peft::Method;
use serde_json::{Map, Value};

use crate::Error;
use crate::args::MergeArgs;
use crate::commands::EXIT_DONE;
use crate::console::Console;
use crate::error::Saving;
use crate::run::base_model::BaseModel;
use crate::run::purpose::Purpose;
use crate::run::{OutputError, companions};

/// The largest index that is read.
const INDEX_LIMIT: u64 = 256 << 20;

pub(super) fn run(args: &MergeArgs) -> Result<u8, Error> {
    let console = Console::default();
    if args.output.exists() {
        return Err(OutputError::Exists { path: args.output.clone() }.into());
    }
    let base =
        BaseModel::open(&args.model, Some(device::DType::F32), Purpose::of_files(&args.model, Some(&args.adapter))?)?;
    base.task.base().check_finite()?;
    let (method, warnings) = peft::open(&args.adapter, base.task.base())?;
    warnings.iter().for_each(|warning| console.warning(warning));
    let merge = Merge { names: base.task.base().stored_names(), base: &base, method: &*method };
    let unties = peft::breaks_ties(&*method, base.task.base().modules());
    if let Some(parent) = args.output.parent() {
        let failed = |source| CheckpointError::Io { action: "create", path: parent.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(failed).map_err(Error::Save)?;
    }
    let mut staged = StagedDirectory::create(&Storage, &args.output).map_err(Error::Save)?;
    let merged = merge.write(&mut staged).map_err(|Saving(error)| *error)?;
    let change = |config: &mut Map<String, Value>| {
        // transformers takes the key of an encoder-decoder for another thing, and unties what has other values.
        if unties && base.purpose.task != Task::Seq2SeqLm {
            config.insert("tie_word_embeddings".to_owned(), Value::Bool(false));
        }
        companions::set_purpose(config, &base.purpose, base.task.base());
    };
    let mut files = companions::of_model(&args.model, change)?;
    files.extend(merge.index()?);
    for (name, text) in files {
        staged.write(name, text.as_bytes()).map_err(Error::Save)?;
    }
    staged.commit(Map::new()).map_err(Error::Save)?;
    console.line(format_args!("merged {merged} tensors into {}", args.output.display()));
    Ok(EXIT_DONE)
}

struct Merge<'a> {
    base: &'a BaseModel,
    method: &'a dyn Method,
    names: &'a StoredNames,
}

/// A tensor of the merged model.
struct Output {
    spec: TensorSpec,
    source: Source,
    /// The parameter that the method changes.
    changed: Option<ParameterId>,
}

/// Where the values of a tensor come from.
enum Source {
    File(MappedTensor),
    /// A parameter of a head that the files do not have.
    New(ParameterId),
}

impl Merge<'_> {
    /// The index of a model in shards.
    fn index(&self) -> Result<Option<(&'static str, String)>, Error> {
        let path = self.base.dir.join(MODEL_INDEX);
        let [_, _, ..] = self.base.weights.files() else { return Ok(None) };
        let mut index: Map<String, Value> = read_json(&path, INDEX_LIMIT)?;
        let mut weight_map = Map::new();
        for (number, file) in self.base.weights.files().iter().enumerate() {
            let outputs = self.outputs(number, file).into_iter();
            weight_map.extend(outputs.map(|output| (output.spec.name, Value::from(file_name(file)))));
        }
        index.insert("weight_map".to_owned(), weight_map.into());
        Ok(Some((MODEL_INDEX, serde_json::to_string_pretty(&index).unwrap_or_default())))
    }

    /// Writes every file of the base with what the method makes of it; returns how many tensors it changed.
    fn write(&self, staged: &mut StagedDirectory<'_>) -> Result<usize, Saving> {
        let mut merged = 0;
        for (number, file) in self.base.weights.files().iter().enumerate() {
            let outputs = self.outputs(number, file);
            merged += outputs.iter().filter(|output| output.changed.is_some()).count();
            let specs: Vec<TensorSpec> = outputs.iter().map(|output| output.spec.clone()).collect();
            staged.write_safetensors(file_name(file), &specs, &[("format", "pt")], |spec| {
                let output = outputs.iter().find(|output| output.spec.name == spec.name);
                output.map_or(Ok(Cow::Borrowed(&[][..])), |output| self.bytes(output))
            })?;
        }
        Ok(merged)
    }

    /// The tensors of file `number`; the first also holds those that no file of the base has.
    fn outputs(&self, number: usize, file: &SafetensorsFile) -> Vec<Output> {
        let mut outputs: Vec<Output> = file.tensors().map(|source| self.output(source)).collect();
        if number == 0 {
            outputs.extend(self.untied());
            outputs.extend(self.base.task.base().newly_initialized().iter().map(|&id| self.new_parameter(id)));
        }
        outputs
    }

    fn output(&self, source: MappedTensor) -> Output {
        let base = self.base.task.base();
        let parameter = base.modules().parameters().find(|p| self.names.of(&p.name) == source.name());
        let changed = parameter.map(|parameter| parameter.id).filter(|id| self.method.merges(*id));
        // Beside a head the names of a model without one are not understood.
        let full = parameter.filter(|_| !base.newly_initialized().is_empty()).map(|parameter| parameter.name.as_str());
        Output { spec: spec(full.unwrap_or(source.name()), &source), source: Source::File(source), changed }
    }

    fn new_parameter(&self, id: ParameterId) -> Output {
        let parameter = self.base.task.base().modules().parameter(id);
        let spec = TensorSpec { name: parameter.name.clone(), dtype: Dtype::F32, shape: parameter.shape.clone() };
        Output { spec, source: Source::New(id), changed: Some(id).filter(|id| self.method.merges(*id)) }
    }

    /// What shares a tensor of the files with another parameter and will no longer: tensors of their own, made of that one.
    /// Those that the files hold under their own names, with equal values, need no second one.
    fn untied(&self) -> Vec<Output> {
        let modules = self.base.task.base().modules();
        let stored = |parameter: &Parameter| self.base.weights.get(&self.names.of(&parameter.name));
        let mut untied = Vec::new();
        for original in peft::broken_ties(self.method, modules) {
            let group = || modules.parameters().filter(|p| p.id == original || p.tied_to == Some(original));
            let Some(source) = group().find_map(stored) else { continue };
            untied.extend(group().filter(|parameter| stored(parameter).is_none()).map(|parameter| Output {
                spec: spec(&self.names.of(&parameter.name), &source),
                source: Source::File(source.clone()),
                changed: Some(parameter.id).filter(|id| self.method.merges(*id)),
            }));
        }
        untied
    }

    fn bytes<'d>(&self, output: &'d Output) -> Result<Cow<'d, [u8]>, Saving> {
        let mut values = match (&output.source, output.changed) {
            (Source::File(source), None) => return Ok(Cow::Borrowed(source.bytes())),
            (Source::File(source), Some(_)) => source.to_f32().map_err(Error::from)?,
            (Source::New(id), _) => self.base.task.base().parameter(*id).map_err(Error::from)?.to_vec(),
        };
        if let Some(id) = output.changed {
            self.method.merge(id, &mut values).map_err(Error::from)?;
        }
        Ok(Cow::Owned(narrowed(&values, output.spec.dtype)))
    }
}

fn file_name(file: &SafetensorsFile) -> &str {
    file.path().file_name().and_then(|name| name.to_str()).unwrap_or(MODEL_WEIGHTS)
}

fn spec(name: &str, source: &MappedTensor) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype: source.dtype(), shape: source.shape().to_vec() }
}

/// `values` in the type that the base stores them in, rounded to nearest even.
fn narrowed(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        Dtype::F64 => values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
