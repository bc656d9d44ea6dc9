//! The header of a GGUF file, believed only after it was checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{ALIGNMENT, ALIGNMENT_KEY, GgufValue, MAGIC, MAX_DIMENSIONS, TYPES, VERSION};
use crate::{CheckpointError, Dtype, Quoted};

/// Arrays of arrays that are read over at most; real files have none.
const MAX_DEPTH: usize = 4;
/// No key or name is near this.
const MAX_NAME: u64 = 1 << 16;

/// A checked header: every range lies inside the file.
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, GgufValue>,
    pub(super) tensors: Vec<Tensor>,
}

pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    /// The slowest first.
    pub(super) shape: Vec<usize>,
    /// From the start of the file.
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Header {
    pub(super) fn parse(path: &Path, file: &[u8]) -> Result<Self, CheckpointError> {
        let mut cursor = Cursor { path, file, position: 0 };
        if cursor.take(MAGIC.len())? != MAGIC {
            cursor.position = 0;
            return Err(cursor.wrong("expected `GGUF`; the file is of another kind, or was not fetched completely"));
        }
        match cursor.u32()? {
            2 | VERSION => {}
            1 => return Err(cursor.wrong("version 1, whose files llama.cpp no longer reads; convert the adapter anew")),
            other if matches!(other.swap_bytes(), 1..=VERSION) => {
                return Err(cursor.wrong("its numbers are big-endian; convert the adapter anew without --bigendian"));
            }
            other => return Err(cursor.wrong(format!("version {other}; 2 and {VERSION} are read"))),
        }
        let (num_tensors, num_values) = (cursor.u64()?, cursor.u64()?);
        let mut metadata = BTreeMap::new();
        // Counts are not believed: each entry takes bytes, and the file ends.
        for _ in 0..num_values {
            let key = cursor.name()?;
            let kind = cursor.u32()?;
            let value = cursor.value(kind, 0)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(cursor.wrong(format!("the key {} is there twice", Quoted(&key))));
            }
        }
        let mut declared = Vec::new();
        let mut names = BTreeSet::new();
        for _ in 0..num_tensors {
            let tensor = cursor.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(cursor.wrong(format!("tensor {} is there twice", Quoted(&tensor.name))));
            }
            declared.push(tensor);
        }
        let alignment = cursor.alignment(&metadata)?;
        let data = cursor.position.next_multiple_of(alignment);
        for tensor in &mut declared {
            let offset = tensor.start;
            let end = data.checked_add(offset).and_then(|start| start.checked_add(tensor.len));
            if !offset.is_multiple_of(alignment) || end.is_none_or(|end| end > file.len()) {
                let Tensor { name, len, .. } = tensor;
                let size = file.len();
                return Err(cursor.wrong(format!(
                    "tensor {} of {len} bytes at {offset} after the header does not lie in the file of {size}, \
                     aligned to {alignment}; fetch the file again",
                    Quoted(name)
                )));
            }
            tensor.start += data;
        }
        Ok(Self { metadata, tensors: declared })
    }
}

struct Cursor<'a> {
    path: &'a Path,
    file: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CheckpointError> {
        let end = self.position.checked_add(len);
        let bytes = end.and_then(|end| self.file.get(self.position..end)).ok_or_else(|| {
            let left = self.file.len() - self.position;
            self.wrong(format!("{len} bytes are announced and {left} follow; fetch the file again"))
        })?;
        self.position += len;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, CheckpointError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, CheckpointError> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self, limit: u64) -> Result<String, CheckpointError> {
        let len = self.u64()?;
        if len > limit {
            return Err(self.wrong(format!("a text of {len} bytes; at most {limit} are read here")));
        }
        let bytes = self.take(len as usize)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.wrong("a text that is not UTF-8"))
    }

    fn name(&mut self) -> Result<String, CheckpointError> {
        self.string(MAX_NAME)
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<GgufValue, CheckpointError> {
        Ok(match kind {
            0 => GgufValue::Unsigned(u64::from(self.array::<1>()?[0])),
            1 => GgufValue::Signed(i64::from(self.array::<1>()?[0] as i8)),
            2 => GgufValue::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => GgufValue::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => GgufValue::Unsigned(u64::from(self.u32()?)),
            5 => GgufValue::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => GgufValue::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => match self.array::<1>()? {
                [0] => GgufValue::Bool(false),
                [1] => GgufValue::Bool(true),
                [other] => return Err(self.wrong(format!("a truth value of {other}, expected 0 or 1"))),
            },
            8 => GgufValue::String(self.string(u64::MAX)?),
            9 => self.skip_array(depth)?,
            10 => GgufValue::Unsigned(self.u64()?),
            11 => GgufValue::Signed(i64::from_le_bytes(self.array()?)),
            12 => GgufValue::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(self.wrong(format!("a value of the unknown type {other}"))),
        })
    }

    fn skip_array(&mut self, depth: usize) -> Result<GgufValue, CheckpointError> {
        if depth == MAX_DEPTH {
            return Err(self.wrong(format!("arrays nested deeper than {MAX_DEPTH}")));
        }
        let (kind, len) = (self.u32()?, self.u64()?);
        let width = match kind {
            0 | 1 | 7 => Some(1),
            2 | 3 => Some(2),
            4..=6 => Some(4),
            10..=12 => Some(8),
            _ => None,
        };
        match width {
            Some(width) => {
                let bytes = usize::try_from(len).ok().and_then(|len| len.checked_mul(width));
                self.take(bytes.unwrap_or(usize::MAX))?;
            }
            None => {
                for _ in 0..len {
                    self.value(kind, depth + 1)?;
                }
            }
        }
        Ok(GgufValue::Array(len))
    }

    fn tensor(&mut self) -> Result<Tensor, CheckpointError> {
        let name = self.name()?;
        let dimensions = self.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(self.wrong(format!("tensor {} of {dimensions} dimensions", Quoted(&name))));
        }
        let mut shape = (0..dimensions).map(|_| self.u64()).collect::<Result<Vec<u64>, _>>()?;
        shape.reverse();
        let kind = self.u32()?;
        let Some(&(_, dtype)) = TYPES.iter().find(|(number, _)| *number == kind) else {
            return Err(self.wrong(format!(
                "tensor {} is of ggml's type {kind}; F32, F16, BF16 and F64 are read: convert the adapter anew with \
                 --outtype f32",
                Quoted(&name)
            )));
        };
        let sizes = shape.iter().map(|&size| usize::try_from(size).ok()).collect::<Option<Vec<usize>>>();
        let bytes = |sizes: &Vec<usize>| {
            let count = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
            count.checked_mul(dtype.bitsize() / 8)
        };
        let len = sizes.as_ref().and_then(bytes);
        let offset = usize::try_from(self.u64()?).ok();
        match (sizes, len, offset) {
            (Some(shape), Some(len), Some(start)) => Ok(Tensor { name, dtype, shape, start, len }),
            _ => Err(self.wrong(format!("tensor {} of the absurd sizes {shape:?}", Quoted(&name)))),
        }
    }

    fn alignment(&self, metadata: &BTreeMap<String, GgufValue>) -> Result<usize, CheckpointError> {
        match metadata.get(ALIGNMENT_KEY) {
            None => Ok(ALIGNMENT),
            Some(GgufValue::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => Ok(*n as usize),
            Some(other) => {
                Err(self.wrong(format!("`{ALIGNMENT_KEY}` is {other:?}, expected a power of two up to 1048576")))
            }
        }
    }

    fn wrong(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Gguf { path: self.path.to_owned(), position: self.position, reason: reason.into() }
    }
}
