//! `optimizer.safetensors`: parameters and moments, bit for bit, and what the method keeps from step to step.
//!
//! An adapter file may hold its tensors in a narrower type than training computes in, so the parameters are here as well.

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::{CheckpointError, Dtype, SafetensorsFile, StagedDirectory, TensorSpec};
use peft::Method;
use tensor::Parameters;

use super::OutputError;
use super::optimizer::Optimizer;
use crate::Error;

/// The file in a checkpoint.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";

const PARAMETER: &str = "parameter.";
const EXP_AVG: &str = "exp_avg.";
const EXP_AVG_SQ: &str = "exp_avg_sq.";
const METHOD: &str = "method.";

/// Writes the parameters of `method`, the moments of `optimizer`, and the method's own state.
///
/// # Errors
/// The system's.
pub fn write(staged: &mut StagedDirectory<'_>, method: &dyn Method, optimizer: &Optimizer) -> Result<(), Error> {
    let (parameters, state) = (method.parameters(), method.training_state());
    let (exp_avg, exp_avg_sq) = (optimizer.exp_avg.read_f32()?, optimizer.exp_avg_sq.read_f32()?);
    // All at once: from a device each copy waits.
    let values = parameters.to_host()?;
    let mut parts = BTreeMap::new();
    for ((name, range), tensor) in ranges(parameters).zip(parameters.tensors()) {
        for (prefix, values) in [(PARAMETER, &values[..]), (EXP_AVG, &exp_avg[..]), (EXP_AVG_SQ, &exp_avg_sq[..])] {
            parts.insert(format!("{prefix}{name}"), Part { shape: tensor.shape(), values: &values[range.clone()] });
        }
    }
    let shapes: Vec<[usize; 1]> = state.iter().map(|(_, values)| [values.len()]).collect();
    for ((name, values), shape) in state.iter().zip(&shapes) {
        parts.insert(format!("{METHOD}{name}"), Part { shape, values });
    }
    let spec = |(name, part): (&String, &Part<'_>)| TensorSpec {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: part.shape.to_vec(),
    };
    let specs: Vec<TensorSpec> = parts.iter().map(spec).collect();
    staged
        .write_safetensors(OPTIMIZER_FILE, &specs, &[], |spec| {
            Ok::<_, CheckpointError>(parts[&spec.name].bytes().into())
        })
        .map_err(Error::Save)
}

/// One tensor of the file.
struct Part<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl Part<'_> {
    fn bytes(&self) -> Vec<u8> {
        self.values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }
}

/// Reads what [`write()`] has written after `steps` steps.
///
/// # Errors
/// A tensor that is missing or has another shape.
pub fn read(dir: &Path, method: &dyn Method, optimizer: &mut Optimizer, steps: u64) -> Result<(), Error> {
    let (parameters, state) = (method.parameters(), method.training_state());
    let path = dir.join(OPTIMIZER_FILE);
    let file = SafetensorsFile::open(&path)?;
    let expected = 3 * parameters.iter().len() + state.len();
    if file.len() != expected {
        let reason = format!("it holds {} tensors, expected {expected} for these trainable parameters", file.len());
        return Err(OutputError::State { path, reason }.into());
    }
    let values = |prefix: &str, name: &str, shape: &[usize]| -> Result<Vec<f32>, Error> {
        let key = format!("{prefix}{name}");
        let wrong = |reason: String| OutputError::State { path: path.clone(), reason };
        let tensor = file.get(&key).ok_or_else(|| wrong(format!("tensor `{key}` is missing")))?;
        if tensor.shape() != shape {
            return Err(wrong(format!("`{key}` has shape {:?}, expected {shape:?}", tensor.shape())).into());
        }
        Ok(tensor.to_f32()?)
    };
    for (index, ((name, range), tensor)) in ranges(parameters).zip(parameters.tensors()).enumerate() {
        parameters.set(index, &values(PARAMETER, name, tensor.shape())?)?;
        optimizer.exp_avg.write_f32(range.start, &values(EXP_AVG, name, tensor.shape())?)?;
        optimizer.exp_avg_sq.write_f32(range.start, &values(EXP_AVG_SQ, name, tensor.shape())?)?;
    }
    let read_state = |(name, before): &(String, Vec<f32>)| values(METHOD, name, &[before.len()]);
    method.set_training_state(&state.iter().map(read_state).collect::<Result<Vec<_>, _>>()?);
    optimizer.steps = steps;
    Ok(())
}

/// Where each parameter lies in the flat buffers.
fn ranges(parameters: &Parameters) -> impl Iterator<Item = (&str, std::ops::Range<usize>)> {
    parameters.iter().scan(0, |start, (name, tensor)| {
        let range = *start..*start + tensor.count();
        *start = range.end;
        Some((name, range))
    })
}
