//! `quantize`: a model in bitsandbytes' NF4 format, written tensor by tensor.

use std::borrow::Cow;
use std::cell::RefCell;

use checkpoint::{Dtype, MappedTensor, StagedDirectory, TensorSpec};
use model::{Module, ModuleKind, ParameterId};
use serde_json::{Value, json};
use tensor::{Nf4Absmax, Nf4Matrix};

use crate::Error;
use crate::args::QuantizeArgs;
use crate::commands::EXIT_DONE;
use crate::commands::model_output::{Index, ModelOutput, file_name, spec_of};
use crate::console::Console;
use crate::error::Saving;
use crate::run::base_model::BaseModel;
use crate::run::purpose::Purpose;
use crate::units::Bytes;

pub(super) fn run(args: &QuantizeArgs) -> Result<u8, Error> {
    let console = Console::default();
    let output = ModelOutput::new(&args.output)?;
    let base = BaseModel::open(&args.model, None, Purpose::of_files(&args.model, None)?)?;
    if base.task.base().is_quantized() {
        return Err(Error::Quantized { dir: args.model.clone() });
    }
    base.task.base().check_finite()?;
    let quantizer = Quantizer { base: &base, double_quant: args.double_quant, latest: RefCell::new(None) };
    let mut staged = output.stage()?;
    let (index, count) = quantizer.write(&mut staged).map_err(|Saving(error)| *error)?;
    let before: u64 = base.weights.tensors().map(|tensor| tensor.bytes().len() as u64).sum();
    output.finish(staged, &args.model, &index, |config| {
        config.insert("quantization_config".to_owned(), quantizer.config());
    })?;
    console.line(format_args!(
        "quantized {count} weights into {}: {} of tensors instead of {}",
        args.output.display(),
        Bytes(index.total_size()),
        Bytes(before)
    ));
    Ok(EXIT_DONE)
}

struct Quantizer<'a> {
    base: &'a BaseModel,
    double_quant: bool,
    /// The weight quantized last: its parts are written one after another.
    latest: RefCell<Option<(ParameterId, Nf4Matrix)>>,
}

/// A tensor of the quantized model.
struct Output {
    spec: TensorSpec,
    source: Source,
}

enum Source {
    /// As it is in the base's files.
    Copied(MappedTensor),
    /// Of a quantized weight.
    Part(ParameterId, Part),
    /// The description of a quantized weight.
    State(Vec<u8>),
}

#[derive(Clone, Copy)]
enum Part {
    Codes,
    Absmax,
    QuantMap,
    NestedAbsmax,
    NestedQuantMap,
}

impl Quantizer<'_> {
    /// Writes every file of the base, its linear weights quantized; returns what is in them, and how many weights.
    fn write(&self, staged: &mut StagedDirectory<'_>) -> Result<(Index, usize), Saving> {
        let (mut index, mut count) = (Index::default(), 0);
        for file in self.base.weights.files() {
            let mut outputs = Vec::new();
            for source in file.tensors() {
                match self.quantizable(source.name()) {
                    Some(module) => {
                        count += 1;
                        outputs.extend(self.parts(&source, module.weight)?);
                    }
                    None => outputs.push(Output { spec: spec_of(&source), source: Source::Copied(source) }),
                }
            }
            let specs: Vec<TensorSpec> = outputs.iter().map(|output| output.spec.clone()).collect();
            staged.write_safetensors(file_name(file), &specs, &[("format", "pt")], |spec| {
                let output = outputs.iter().find(|output| output.spec.name == spec.name);
                output.map_or(Ok(Cow::Borrowed(&[][..])), |output| self.bytes(output))
            })?;
            index.add(file_name(file), &specs);
        }
        Ok((index, count))
    }

    /// The module whose weight is the tensor `name`, if that is to be quantized.
    fn quantizable(&self, name: &str) -> Option<&Module> {
        let (base, names) = (self.base.task.base(), self.base.task.base().stored_names());
        let weight = |module: &Module| names.of(&base.modules().parameter(module.weight).name);
        base.modules().iter().find(|module| module.is_quantizable() && weight(module) == name)
    }

    /// What the weight `source` becomes.
    fn parts(&self, source: &MappedTensor, id: ParameterId) -> Result<Vec<Output>, Error> {
        let matrix = self.quantized(id)?;
        let [rows, columns] = matrix.shape();
        let part = |suffix: &str, part: Part, dtype: Dtype, shape: Vec<usize>| {
            let name = format!("{}{suffix}", source.name());
            Output { spec: TensorSpec { name, dtype, shape }, source: Source::Part(id, part) }
        };
        let blocks = (rows * columns).div_ceil(Nf4Matrix::BLOCK_SIZE);
        // As Python's json writes it.
        let mut state = format!(
            "{{\"quant_type\": \"nf4\", \"blocksize\": {}, \"dtype\": \"{}\", \"shape\": [{rows}, {columns}]",
            Nf4Matrix::BLOCK_SIZE,
            self.base.dtype
        );
        let mut parts = vec![
            part("", Part::Codes, Dtype::U8, vec![matrix.parts()?.packed.as_slice().len(), 1]),
            part(".quant_map", Part::QuantMap, Dtype::F32, vec![Nf4Matrix::CODEBOOK.len()]),
        ];
        match &matrix.parts()?.absmax {
            Nf4Absmax::F32(_) => parts.push(part(".absmax", Part::Absmax, Dtype::F32, vec![blocks])),
            Nf4Absmax::Nested { map, nested_absmax, offset, nested_block_size, .. } => {
                parts.push(part(".absmax", Part::Absmax, Dtype::U8, vec![blocks]));
                parts.push(part(".nested_absmax", Part::NestedAbsmax, Dtype::F32, vec![nested_absmax.len()]));
                parts.push(part(".nested_quant_map", Part::NestedQuantMap, Dtype::F32, vec![map.len()]));
                state += &format!(
                    ", \"nested_blocksize\": {nested_block_size}, \"nested_dtype\": \"float32\", \"nested_offset\": {}",
                    f64::from(*offset)
                );
            }
        }
        let state = (state + "}").into_bytes();
        let name = format!("{}.quant_state.bitsandbytes__nf4", source.name());
        let spec = TensorSpec { name, dtype: Dtype::U8, shape: vec![state.len()] };
        parts.push(Output { spec, source: Source::State(state) });
        Ok(parts)
    }

    fn bytes<'d>(&self, output: &'d Output) -> Result<Cow<'d, [u8]>, Saving> {
        let (id, part) = match &output.source {
            Source::Copied(tensor) => return Ok(Cow::Borrowed(tensor.bytes())),
            Source::State(state) => return Ok(Cow::Borrowed(state)),
            Source::Part(id, part) => (*id, *part),
        };
        let matrix = self.quantized(id)?;
        let parts = matrix.parts().map_err(Error::from)?;
        let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Ok(Cow::Owned(match (part, &parts.absmax) {
            (Part::Codes, _) => parts.packed.as_slice().to_vec(),
            (Part::QuantMap, _) => floats(&Nf4Matrix::CODEBOOK),
            (Part::Absmax, Nf4Absmax::F32(absmax)) => floats(absmax),
            (Part::Absmax, Nf4Absmax::Nested { codes, .. }) => codes.as_slice().to_vec(),
            (Part::NestedAbsmax, Nf4Absmax::Nested { nested_absmax, .. }) => floats(nested_absmax),
            (Part::NestedQuantMap, Nf4Absmax::Nested { map, .. }) => floats(&map[..]),
            (Part::NestedAbsmax | Part::NestedQuantMap, Nf4Absmax::F32(_)) => Vec::new(),
        }))
    }

    /// The quantized weight. All but the latest are made again when they are asked for: a file has the widest types first,
    /// and so every weight's parts in two places.
    fn quantized(&self, id: ParameterId) -> Result<Nf4Matrix, Error> {
        if let Some((latest, matrix)) = &*self.latest.borrow()
            && *latest == id
        {
            return Ok(matrix.clone());
        }
        let matrix = self.base.task.base().quantize_parameter(id, self.double_quant)?;
        *self.latest.borrow_mut() = Some((id, matrix.clone()));
        Ok(matrix)
    }

    /// What transformers reads to load the files with bitsandbytes.
    fn config(&self) -> Value {
        let modules = self.base.task.base().modules();
        let is_linear = |module: &&Module| matches!(module.kind, ModuleKind::Linear { .. });
        let skipped: Vec<&str> = modules
            .iter()
            .filter(is_linear)
            .filter(|module| !module.is_quantizable())
            .map(|module| module.path.as_str())
            .collect();
        json!({
            "_load_in_4bit": true,
            "_load_in_8bit": false,
            "bnb_4bit_compute_dtype": self.base.dtype.name(),
            "bnb_4bit_quant_storage": "uint8",
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": self.double_quant,
            "llm_int8_enable_fp32_cpu_offload": false,
            "llm_int8_has_fp16_weight": false,
            "llm_int8_skip_modules": skipped,
            "llm_int8_threshold": 6.0,
            "load_in_4bit": true,
            "load_in_8bit": false,
            "quant_method": "bitsandbytes",
        })
    }
}
