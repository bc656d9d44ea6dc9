//! `merge`: a model with an adapter's changes in its weights, written tensor by tensor.

use std::borrow::Cow;

use checkpoint::{
    CheckpointError, Dtype, MODEL_INDEX, MODEL_WEIGHTS, MappedTensor, SafetensorsFile, StagedDirectory, Storage,
    TensorSpec, read_json,
};
use half::{bf16, f16};
use model::{ParameterId, StoredNames};
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
    let unties = merge.unties();
    if let Some(parent) = args.output.parent() {
        let failed = |source| CheckpointError::Io { action: "create", path: parent.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(failed).map_err(Error::Save)?;
    }
    let mut staged = StagedDirectory::create(&Storage, &args.output).map_err(Error::Save)?;
    let merged = merge.write(&mut staged, unties).map_err(|Saving(error)| *error)?;
    let change = |config: &mut Map<String, Value>| {
        if unties.is_some() {
            config.insert("tie_word_embeddings".to_owned(), Value::Bool(false));
        }
        companions::set_purpose(config, &base.purpose, base.task.base());
    };
    let mut files = companions::of_model(&args.model, change)?;
    files.extend(merge.index(unties)?);
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
    /// The head, if it shares its tensor with the embedding and will no longer.
    fn unties(&self) -> Option<ParameterId> {
        let modules = self.base.task.base().modules();
        let head = modules.head()?.weight;
        modules.parameter(head).tied_to?;
        peft::breaks_ties(self.method, modules).then_some(head)
    }

    /// The index of a model in shards.
    fn index(&self, unties: Option<ParameterId>) -> Result<Option<(&'static str, String)>, Error> {
        let path = self.base.dir.join(MODEL_INDEX);
        let [_, _, ..] = self.base.weights.files() else { return Ok(None) };
        let mut index: Map<String, Value> = read_json(&path, INDEX_LIMIT)?;
        let mut weight_map = Map::new();
        for (number, file) in self.base.weights.files().iter().enumerate() {
            let outputs = self.outputs(number, file, unties).into_iter();
            weight_map.extend(outputs.map(|output| (output.spec.name, Value::from(file_name(file)))));
        }
        index.insert("weight_map".to_owned(), weight_map.into());
        Ok(Some((MODEL_INDEX, serde_json::to_string_pretty(&index).unwrap_or_default())))
    }

    /// Writes every file of the base with what the method makes of it; returns how many tensors it changed.
    fn write(&self, staged: &mut StagedDirectory<'_>, unties: Option<ParameterId>) -> Result<usize, Saving> {
        let mut merged = 0;
        for (number, file) in self.base.weights.files().iter().enumerate() {
            let outputs = self.outputs(number, file, unties);
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
    fn outputs(&self, number: usize, file: &SafetensorsFile, unties: Option<ParameterId>) -> Vec<Output> {
        let mut outputs: Vec<Output> = file.tensors().map(|source| self.output(source)).collect();
        if number == 0 {
            outputs.extend(unties.and_then(|head| self.untied_head(head)));
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

    /// The head as a tensor of its own, made of the one that it shared.
    fn untied_head(&self, head: ParameterId) -> Option<Output> {
        let modules = self.base.task.base().modules();
        let embedding = modules.parameter(modules.parameter(head).tied_to?);
        let (own, shared) = (self.names.of(&modules.parameter(head).name), self.names.of(&embedding.name));
        // A file that holds the head already, equal to the embedding, needs no second one.
        if self.base.weights.contains(&own) {
            return None;
        }
        let source = self.base.weights.get(&shared)?;
        let changed = Some(head).filter(|id| self.method.merges(*id));
        Some(Output { spec: spec(&own, &source), source: Source::File(source), changed })
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
