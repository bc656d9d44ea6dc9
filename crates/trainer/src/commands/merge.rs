//! `merge`: a model with an adapter's changes in its weights, written tensor by tensor.

use std::borrow::Cow;
use std::cell::RefCell;

use checkpoint::{Dtype, MappedTensor, SafetensorsFile, StagedDirectory, TensorSpec};
use data::Task;
use device::DType;
use model::{Base, Parameter, ParameterId, StoredNames};
use peft::Method;
use serde_json::Value;

use crate::Error;
use crate::args::MergeArgs;
use crate::commands::EXIT_DONE;
use crate::commands::model_output::{Index, ModelOutput, file_name, narrowed, spec_of};
use crate::commands::requantization::Requantization;
use crate::config::Quantization;
use crate::console::Console;
use crate::error::Saving;
use crate::run::base_model::BaseModel;
use crate::run::companions;
use crate::run::purpose::Purpose;

pub(super) fn run(args: &MergeArgs) -> Result<u8, Error> {
    let console = Console::default();
    if args.storage.quantization == Quantization::Int8 {
        let with =
            "in merge, which changes the weights of the files; what int8 rounds is rounded while computing".to_owned();
        return Err(Error::FlagWithoutEffect { flag: "--quantization int8", with });
    }
    let output = ModelOutput::new(&args.output)?;
    let purpose = Purpose::of_files(&args.model, Some(&args.adapter))?;
    let mut base = BaseModel::open(&args.model, Some(DType::F32), purpose)?;
    base.task.base().check_finite()?;
    base.store(args.storage.storage())?;
    let (method, warnings) = peft::open(&args.adapter, base.task.base())?;
    warnings.iter().for_each(|warning| console.warning(warning));
    check_heads(base.task.base(), &*method, args)?;
    let names = base.task.base().stored_names();
    let merge = Merge { names, base: &base, method: &*method, requantization: RefCell::default() };
    let unties = peft::breaks_ties(&*method, base.task.base().modules());
    let mut staged = output.stage()?;
    let (index, merged) = merge.write(&mut staged).map_err(|Saving(error)| *error)?;
    output.finish(staged, &args.model, &index, |config| {
        config.remove("quantization_config");
        // transformers takes the key of an encoder-decoder for another thing, and unties what has other values.
        if unties && base.purpose.task != Task::Seq2SeqLm {
            config.insert("tie_word_embeddings".to_owned(), Value::Bool(false));
        }
        companions::set_purpose(config, &base.purpose, base.task.base());
    })?;
    console.line(format_args!("merged {merged} tensors into {}", args.output.display()));
    if base.task.base().is_quantized() {
        console.line(merge.requantization.borrow());
    }
    Ok(EXIT_DONE)
}

/// Refuses to write parameters that neither the model's files nor the adapter have: they start at random.
fn check_heads(base: &Base, method: &dyn Method, args: &MergeArgs) -> Result<(), Error> {
    let missing = base.newly_initialized().iter().filter(|id| method.parameter(**id).is_none());
    let missing: Vec<String> = missing.map(|id| base.modules().parameter(*id).name.clone()).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Error::NoHead { model: args.model.clone(), adapter: args.adapter.clone(), missing }),
    }
}

struct Merge<'a> {
    base: &'a BaseModel,
    method: &'a dyn Method,
    names: &'a StoredNames,
    /// Of weights that the base holds quantized.
    requantization: RefCell<Requantization>,
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
    /// A weight that the base holds quantized: its dequantized values.
    Quantized(ParameterId),
}

impl Merge<'_> {
    /// Writes every file of the base with what the method makes of it; returns what is in them, and how many tensors it
    /// changed.
    fn write(&self, staged: &mut StagedDirectory<'_>) -> Result<(Index, usize), Saving> {
        let (mut written, mut merged) = (Index::default(), 0);
        for (number, file) in self.base.weights.files().iter().enumerate() {
            let outputs = self.outputs(number, file);
            merged += outputs.iter().filter(|output| output.changed.is_some()).count();
            let specs: Vec<TensorSpec> = outputs.iter().map(|output| output.spec.clone()).collect();
            staged.write_safetensors(file_name(file), &specs, &[("format", "pt")], |spec| {
                let output = outputs.iter().find(|output| output.spec.name == spec.name);
                output.map_or(Ok(Cow::Borrowed(&[][..])), |output| self.bytes(output))
            })?;
            written.add(file_name(file), &specs);
        }
        Ok((written, merged))
    }

    /// Whether the tensor `name` is a part of a quantized weight other than its codes.
    fn is_quantization(&self, name: &str) -> bool {
        model::quantized_weight_of(name).is_some_and(|weight| self.base.weights.contains(weight))
    }

    /// Whether the tensor `name` is of a head for other classes, in the place of which there is a new one.
    fn is_replaced(&self, name: &str) -> bool {
        let base = self.base.task.base();
        base.newly_initialized().iter().any(|id| self.names.of(&base.modules().parameter(*id).name) == name)
    }

    /// The type that the base's files have where nothing is quantized.
    fn dense_dtype(&self) -> Dtype {
        let base = self.base.task.base();
        let dense = base.modules().parameters().filter(|parameter| base.quantized(parameter.id).is_none());
        let stored = dense.filter_map(|parameter| self.base.weights.get(&self.names.of(&parameter.name)));
        stored.map(|tensor| tensor.dtype()).next().unwrap_or(Dtype::F32)
    }

    /// The tensors of file `number`; the first also holds those that no file of the base has.
    fn outputs(&self, number: usize, file: &SafetensorsFile) -> Vec<Output> {
        let is_left_out = |name: &str| self.is_quantization(name) || self.is_replaced(name);
        let sources = file.tensors().filter(|source| !is_left_out(source.name()));
        let mut outputs: Vec<Output> = sources.map(|source| self.output(source)).collect();
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
        let mut spec = TensorSpec { name: full.unwrap_or(source.name()).to_owned(), ..spec_of(&source) };
        let Some(parameter) = parameter.filter(|parameter| base.quantized(parameter.id).is_some()) else {
            return Output { spec, source: Source::File(source), changed };
        };
        if spec.shape != parameter.shape {
            // Codes.
            spec = TensorSpec { dtype: self.dense_dtype(), shape: parameter.shape.clone(), ..spec };
        }
        Output { spec, source: Source::Quantized(parameter.id), changed }
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
                spec: TensorSpec { name: self.names.of(&parameter.name), ..spec_of(&source) },
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
            (Source::New(id) | Source::Quantized(id), _) => {
                self.base.task.base().parameter(*id).map_err(Error::from)?.to_vec()
            }
        };
        let before = match output.source {
            Source::Quantized(id) => Some((id, values.clone())),
            Source::File(_) | Source::New(_) => None,
        };
        if let Some(id) = output.changed {
            self.method.merge(id, &mut values).map_err(Error::from)?;
        }
        if let Some((id, before)) = before.filter(|_| output.changed.is_some()) {
            let again = self.base.task.base().through_nf4(id, &values, true).map_err(Error::from)?;
            self.requantization.borrow_mut().add(&before, &values, &again.to_vec());
        }
        Ok(Cow::Owned(narrowed(&output.spec.name, &values, output.spec.dtype)?))
    }
}
