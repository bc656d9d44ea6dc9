//! `optimizer.safetensors`: parameters and moments, bit for bit, and what the method keeps from step to step.
//!
//! An adapter file may hold its tensors in a narrower type than training computes in, so the parameters are here as well.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, Dtype, MappedTensor, SafetensorsFile, StagedDirectory, TensorSpec};
use peft::Method;
use tensor::Parameters;

use super::OutputError;
use super::optimizer::{Kept, Moment, Optimizer};
use crate::Error;

/// The file in a checkpoint.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";

const PARAMETER: &str = "parameter.";
const EXP_AVG: &str = "exp_avg.";
const EXP_AVG_SQ: &str = "exp_avg_sq.";
const EXP_AVG_ABSMAX: &str = "exp_avg_absmax.";
const EXP_AVG_SQ_ABSMAX: &str = "exp_avg_sq_absmax.";
const METHOD: &str = "method.";

/// Writes the parameters of `method`, the moments of `optimizer`, and the method's own state.
///
/// # Errors
/// The system's.
pub fn write(staged: &mut StagedDirectory<'_>, method: &dyn Method, optimizer: &Optimizer) -> Result<(), Error> {
    let (parameters, state) = (method.parameters(), method.training_state());
    // All at once: from a device each copy waits.
    let values = parameters.to_host()?;
    let moments = [
        (EXP_AVG, EXP_AVG_ABSMAX, OnHost::of(&optimizer.moments.exp_avg)?),
        (EXP_AVG_SQ, EXP_AVG_SQ_ABSMAX, OnHost::of(&optimizer.moments.exp_avg_sq)?),
    ];
    let mut parts = BTreeMap::new();
    let tensors = ranges(parameters).zip(parameters.tensors()).zip(&optimizer.moments.tensors);
    for (((name, range), tensor), kept) in tensors {
        let shape = tensor.shape();
        parts.insert(format!("{PARAMETER}{name}"), Part::new(shape, Values::F32(&values[range])));
        for (prefix, of_absmax, moment) in &moments {
            let own = match kept {
                Kept::F32(own) => Values::F32(&moment.f32[own.clone()]),
                Kept::Codes { codes, absmax } => {
                    let scales = &moment.absmax[absmax.clone()];
                    parts.insert(format!("{of_absmax}{name}"), Part::new(&[scales.len()], Values::F32(scales)));
                    Values::Codes(&moment.codes[codes.clone()])
                }
            };
            parts.insert(format!("{prefix}{name}"), Part::new(shape, own));
        }
    }
    for (name, values) in &state {
        parts.insert(format!("{METHOD}{name}"), Part::new(&[values.len()], Values::F32(values)));
    }
    let spec = |(name, part): (&String, &Part<'_>)| TensorSpec {
        name: name.clone(),
        dtype: part.values.dtype(),
        shape: part.shape.clone(),
    };
    let specs: Vec<TensorSpec> = parts.iter().map(spec).collect();
    staged
        .write_safetensors(OPTIMIZER_FILE, &specs, &[], |spec| {
            Ok::<_, CheckpointError>(parts[&spec.name].values.bytes())
        })
        .map_err(Error::Save)
}

/// One tensor of the file.
struct Part<'a> {
    shape: Vec<usize>,
    values: Values<'a>,
}

impl<'a> Part<'a> {
    fn new(shape: &[usize], values: Values<'a>) -> Self {
        Self { shape: shape.to_vec(), values }
    }
}

enum Values<'a> {
    F32(&'a [f32]),
    Codes(&'a [u8]),
}

impl<'a> Values<'a> {
    fn dtype(&self) -> Dtype {
        match self {
            Values::F32(_) => Dtype::F32,
            Values::Codes(_) => Dtype::U8,
        }
    }

    fn bytes(&self) -> Cow<'a, [u8]> {
        match self {
            Values::F32(values) => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Values::Codes(codes) => Cow::Borrowed(codes),
        }
    }
}

/// A moment of all parameters, where it can be read.
struct OnHost<'a> {
    f32: Cow<'a, [f32]>,
    codes: Cow<'a, [u8]>,
    absmax: Cow<'a, [f32]>,
}

impl<'a> OnHost<'a> {
    fn of(moment: &'a Moment) -> Result<Self, Error> {
        Ok(Self { f32: moment.f32.read_f32()?, codes: moment.codes.read()?, absmax: moment.absmax.read_f32()? })
    }
}

/// Reads what [`write()`] has written after `steps` steps.
///
/// # Errors
/// A tensor that is missing or has another shape or type.
pub fn read(dir: &Path, method: &dyn Method, optimizer: &mut Optimizer, steps: u64) -> Result<(), Error> {
    let (parameters, state) = (method.parameters(), method.training_state());
    let file = Saved::open(dir)?;
    let moments = &mut optimizer.moments;
    let coded = moments.tensors.iter().filter(|kept| matches!(kept, Kept::Codes { .. })).count();
    file.expect_len(3 * parameters.iter().len() + 2 * coded + state.len())?;
    for (index, (name, tensor)) in parameters.iter().enumerate() {
        let shape = tensor.shape();
        parameters.set(index, &file.f32(PARAMETER, name, shape)?)?;
        let each =
            [(EXP_AVG, EXP_AVG_ABSMAX, &mut moments.exp_avg), (EXP_AVG_SQ, EXP_AVG_SQ_ABSMAX, &mut moments.exp_avg_sq)];
        for (prefix, of_absmax, moment) in each {
            match &moments.tensors[index] {
                Kept::F32(own) => moment.f32.write_f32(own.start, &file.f32(prefix, name, shape)?)?,
                Kept::Codes { codes, absmax } => {
                    moment.codes.write(codes.start, file.tensor(prefix, name, shape, Dtype::U8)?.bytes())?;
                    moment.absmax.write_f32(absmax.start, &file.f32(of_absmax, name, &[absmax.len()])?)?;
                }
            }
        }
    }
    let read_state = |(name, before): &(String, Vec<f32>)| file.f32(METHOD, name, &[before.len()]);
    method.set_training_state(&state.iter().map(read_state).collect::<Result<Vec<_>, _>>()?);
    optimizer.steps = steps;
    Ok(())
}

/// The file that was written.
struct Saved {
    path: PathBuf,
    file: SafetensorsFile,
}

impl Saved {
    fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(OPTIMIZER_FILE);
        Ok(Self { file: SafetensorsFile::open(&path)?, path })
    }

    fn expect_len(&self, expected: usize) -> Result<(), Error> {
        if self.file.len() == expected {
            return Ok(());
        }
        let got = self.file.len();
        Err(self.wrong(format!("it holds {got} tensors, expected {expected} for these trainable parameters")))
    }

    fn tensor(&self, prefix: &str, name: &str, shape: &[usize], dtype: Dtype) -> Result<MappedTensor, Error> {
        let key = format!("{prefix}{name}");
        let tensor = self.file.get(&key).ok_or_else(|| self.wrong(format!("tensor `{key}` is missing")))?;
        let got = (tensor.dtype(), tensor.shape());
        if got != (dtype, shape) {
            return Err(self.wrong(format!("`{key}` is {:?} {:?}, expected {dtype:?} {shape:?}", got.0, got.1)));
        }
        Ok(tensor)
    }

    fn f32(&self, prefix: &str, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        Ok(self.tensor(prefix, name, shape, Dtype::F32)?.to_f32()?)
    }

    fn wrong(&self, reason: String) -> Error {
        OutputError::State { path: self.path.clone(), reason }.into()
    }
}

/// Where each parameter lies in the flat buffers.
fn ranges(parameters: &Parameters) -> impl Iterator<Item = (&str, std::ops::Range<usize>)> {
    parameters.iter().scan(0, |start, (name, tensor)| {
        let range = *start..*start + tensor.count();
        *start = range.end;
        Some((name, range))
    })
}
