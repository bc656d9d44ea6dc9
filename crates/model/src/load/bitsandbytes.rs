//! Weights that bitsandbytes quantized to NF4: codes under the weight's own name, the rest in tensors beside it.
//!
//! | after the weight's name | type | what |
//! |---|---|---|
//! | | U8, or any other that the codes are stored as | two codes a byte |
//! | `.absmax` | F32, or U8 with double quantization | scale of each block |
//! | `.quant_map` | F32 `[16]` | what the codes stand for |
//! | `.nested_absmax`, `.nested_quant_map` | F32, F32 `[256]` | the same of quantized scales |
//! | `.quant_state.bitsandbytes__nf4` | U8 | sizes as JSON |
//!
//! A `Conv1D` is stored as the `nn.Linear` that bitsandbytes made of it: `[out_features, in_features]`.

use std::path::Path;

use checkpoint::{Checkpoint, Dtype, MappedTensor, Quoted};
use device::DType;
use serde::Deserialize;
use tensor::{Nf4Absmax, Nf4Matrix, Nf4Parts};

use super::storage::shared_bytes;
use crate::module::{Module, ModuleKind};
use crate::{ModelError, Result};

const STATE: &str = ".quant_state.bitsandbytes__";
const PARTS: [&str; 4] = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"];
/// The largest description that is read: it is a line of sizes.
const MAX_STATE: usize = 1 << 16;

/// The description of a quantized weight.
#[derive(Deserialize)]
struct QuantState {
    blocksize: usize,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_dtype: Option<String>,
    nested_offset: Option<f64>,
}

/// The weight that a tensor called `name` belongs to, if it is one of those beside a quantized weight.
pub fn weight_of(name: &str) -> Option<&str> {
    match name.split_once(STATE) {
        Some((weight, _)) => Some(weight),
        None => PARTS.iter().find_map(|part| name.strip_suffix(part)),
    }
}

/// The quantized weight of `module` that `codes` is the codes of; `None` if the file describes no quantization of it.
/// Values are rounded to `dtype`, what the model computes with, as in bitsandbytes' own products; the type that they had
/// before is not asked for.
///
/// # Errors
/// [`ModelError::QuantState`] for FP4 and for parts that are missing or contradict each other.
pub(super) fn read(
    checkpoint: &Checkpoint,
    module: &Module,
    codes: &MappedTensor,
    dtype: DType,
) -> Result<Option<Nf4Matrix>> {
    let file = File { checkpoint, weight: codes.name() };
    if checkpoint.contains(&format!("{}{STATE}fp4", file.weight)) {
        return Err(file.wrong("its type is fp4, and nf4 alone is computed; quantize the original model again"));
    }
    let Some(state) = file.part(&format!("{STATE}nf4")) else { return Ok(None) };
    let state = file.state(&state)?;
    let ModuleKind::Linear { in_features, out_features, .. } = module.kind else {
        return Err(file.wrong("it is not the weight of a linear module, and no other may be quantized"));
    };
    if state.shape != [out_features, in_features] {
        let expected = format!("[{out_features}, {in_features}]");
        return Err(file.wrong(format!("its `shape` is {:?}, expected {expected}", state.shape)));
    }
    let map = file.floats(".quant_map")?;
    if map != Nf4Matrix::CODEBOOK {
        return Err(file.wrong("its `quant_map` holds other values than NF4's"));
    }
    let parts = Nf4Parts { block_size: state.blocksize, packed: shared_bytes(codes)?, absmax: file.absmax(&state)? };
    let matrix = Nf4Matrix::new([out_features, in_features], dtype, parts);
    matrix.map(Some).map_err(|error| file.wrong(error.to_string()))
}

/// The tensors of one weight.
struct File<'a> {
    checkpoint: &'a Checkpoint,
    weight: &'a str,
}

impl File<'_> {
    fn part(&self, suffix: &str) -> Option<MappedTensor> {
        self.checkpoint.get(&format!("{}{suffix}", self.weight))
    }

    fn required(&self, suffix: &str) -> Result<MappedTensor> {
        self.part(suffix)
            .ok_or_else(|| self.wrong(format!("there is no {}", Quoted(&format!("{}{suffix}", self.weight)))))
    }

    fn floats(&self, suffix: &str) -> Result<Vec<f32>> {
        let tensor = self.required(suffix)?;
        match tensor.dtype() {
            Dtype::F32 => Ok(tensor.to_f32()?),
            other => Err(self.wrong(format!("its `{}` is {other}, expected F32", &suffix[1..]))),
        }
    }

    fn state(&self, tensor: &MappedTensor) -> Result<QuantState> {
        let bytes = tensor.bytes();
        if tensor.dtype() != Dtype::U8 || bytes.len() > MAX_STATE {
            return Err(self.wrong("its description is not a line of JSON in U8"));
        }
        serde_json::from_slice(bytes).map_err(|error| self.wrong(format!("its description: {error}")))
    }

    fn absmax(&self, state: &QuantState) -> Result<Nf4Absmax> {
        let Some(nested_block_size) = state.nested_blocksize else {
            return Ok(Nf4Absmax::F32(self.floats(".absmax")?));
        };
        let codes = self.required(".absmax")?;
        if codes.dtype() != Dtype::U8 {
            return Err(self.wrong(format!("its `absmax` is {}, expected U8 with `nested_blocksize`", codes.dtype())));
        }
        if state.nested_dtype.as_deref() != Some("float32") {
            return Err(self.wrong("its `nested_dtype` is not float32"));
        }
        let Some(offset) = state.nested_offset else { return Err(self.wrong("it has no `nested_offset`")) };
        let map = self.floats(".nested_quant_map")?;
        if let Some(index) = map.iter().position(|value| !value.is_finite()) {
            return Err(self.wrong(format!("its `nested_quant_map` holds {} at {index}", map[index])));
        }
        let map: Result<Box<[f32; 256]>, _> = map.into_boxed_slice().try_into();
        Ok(Nf4Absmax::Nested {
            codes: shared_bytes(&codes)?,
            map: map.map_err(|map| {
                self.wrong(format!("its `nested_quant_map` holds {} values, expected 256", map.len()))
            })?,
            nested_absmax: self.floats(".nested_absmax")?,
            offset: offset as f32,
            nested_block_size,
        })
    }

    fn wrong(&self, reason: impl Into<String>) -> ModelError {
        let dir: &Path = self.checkpoint.dir();
        ModelError::QuantState { dir: dir.to_owned(), name: self.weight.to_owned(), reason: reason.into() }
    }
}
