//! The header of a safetensors file, believed only after it was checked.
//!
//! ```text
//! u64 little-endian: header length n | n bytes of JSON, starting with `{` | data
//! {"__metadata__": {string: string}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
//! ```
//! Offsets count from the start of the data. Tensors cover the data without hole or overlap. Beyond what the reference
//! parser refuses, duplicate names, a header that does not start with `{`, and absurd dimensions are errors here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::{CheckpointError, Foreign};

/// Bytes of the length that precedes the header.
const LENGTH: usize = 8;
/// The format's own limit.
pub(crate) const MAX_HEADER: u64 = 100_000_000;
/// No real dimension is near this; products of a few such sizes are what overflow attacks are made of.
const MAX_DIMENSION: usize = 1 << 48;
const METADATA: &str = "__metadata__";

/// A checked header: every range lies inside the file.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: BTreeMap<String, Placement>,
}

/// Where one tensor lies: `start..start + len` from the start of the file.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Header {
    /// Reads and checks the header of a whole file.
    pub(crate) fn parse(path: &Path, file: &[u8]) -> Result<Self, CheckpointError> {
        let json = header_bytes(path, file)?;
        let raw = parse_json(path, json)?;
        let data_start = LENGTH + json.len();
        let tensors = place(path, raw.tensors, data_start, file.len())?;
        Ok(Self { metadata: raw.metadata, tensors })
    }
}

/// The JSON text's bytes, found without trusting the announced length.
fn header_bytes<'a>(path: &Path, file: &'a [u8]) -> Result<&'a [u8], CheckpointError> {
    let broken = |header, reason: String| CheckpointError::HeaderLength { path: path.to_owned(), header, reason };
    // A header of 640 bytes starts with the same two bytes as a pickle, so the `{` decides first.
    let foreign = if file.get(LENGTH) == Some(&b'{') { None } else { Foreign::recognise(file) };
    if let Some(what) = foreign {
        return Err(CheckpointError::Foreign { path: path.to_owned(), what });
    }
    let Some((length, rest)) = file.split_first_chunk::<LENGTH>() else {
        return Err(CheckpointError::DataLength {
            path: path.to_owned(),
            expected: LENGTH as u64,
            got: file.len() as u64,
        });
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        // A pickle whose ninth byte is a brace gets its own message after all.
        return Err(match Foreign::recognise(file) {
            Some(what) => CheckpointError::Foreign { path: path.to_owned(), what },
            None => broken(length, format!("the format allows {MAX_HEADER}")),
        });
    }
    let json = rest.get(..length as usize).ok_or_else(|| broken(length, format!("{} bytes follow", rest.len())))?;
    match json.first() {
        Some(b'{') => Ok(json),
        Some(other) => Err(CheckpointError::Header {
            path: path.to_owned(),
            position: LENGTH as u64,
            reason: format!("expected `{{`, got `{}`", other.escape_ascii()),
        }),
        None => Err(broken(0, "a header has at least the two bytes `{}`".to_owned())),
    }
}

fn parse_json(path: &Path, json: &[u8]) -> Result<RawHeader, CheckpointError> {
    let broken = |position: usize, reason: String| CheckpointError::Header {
        path: path.to_owned(),
        position: (LENGTH + position) as u64,
        reason,
    };
    let text = std::str::from_utf8(json).map_err(|e| broken(e.valid_up_to(), "not UTF-8".to_owned()))?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let mut raw = RawHeader::default();
    let result = RawVisitor(&mut raw).deserialize(&mut parser).and_then(|()| parser.end());
    match result {
        Ok(()) => Ok(raw),
        Err(error) => {
            let tensor = raw.current.take();
            if let Some(reason) = raw.duplicate.take() {
                return Err(CheckpointError::Tensor {
                    path: path.to_owned(),
                    tensor: tensor.unwrap_or_default(),
                    reason: reason.to_owned(),
                });
            }
            let position = byte_offset(text, error.line(), error.column());
            let at = tensor.map(|name| format!("tensor {}: ", crate::Quoted(&name))).unwrap_or_default();
            Err(broken(position, format!("{at}{}", without_position(&error))))
        }
    }
}

/// serde_json's line and column (both from 1, in bytes) as an offset into `text`.
fn byte_offset(text: &str, line: usize, column: usize) -> usize {
    let line_start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (line_start + column.saturating_sub(1)).min(text.len())
}

/// serde_json's message without its "at line 1 column 9", and cut, for it can quote the file.
pub(crate) fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let shown: String = text.chars().take(300).collect();
    shown.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

/// The header as JSON has it.
#[derive(Default)]
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
    /// The entry being read, for the message of an error inside it.
    current: Option<String>,
    /// Set when that entry was there before.
    duplicate: Option<&'static str>,
}

struct RawVisitor<'a>(&'a mut RawHeader);

impl<'de> DeserializeSeed<'de> for RawVisitor<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RawVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let header = self.0;
        let mut metadata_seen = false;
        while let Some(name) = map.next_key::<String>()? {
            header.current = Some(name.clone());
            if name == METADATA {
                if std::mem::replace(&mut metadata_seen, true) {
                    header.duplicate = Some("the header names it twice");
                    return Err(A::Error::custom("duplicate"));
                }
                header.metadata = map.next_value()?;
            } else {
                let info = map.next_value()?;
                match header.tensors.entry(name) {
                    Entry::Vacant(entry) => entry.insert(info),
                    Entry::Occupied(_) => {
                        header.duplicate = Some("the header names it twice");
                        return Err(A::Error::custom("duplicate"));
                    }
                };
            }
            header.current = None;
        }
        Ok(())
    }
}

/// Checks every entry against its shape, its neighbours and the file, and moves offsets to the start of the file.
fn place(
    path: &Path,
    tensors: BTreeMap<String, TensorInfo>,
    data_start: usize,
    file_len: usize,
) -> Result<BTreeMap<String, Placement>, CheckpointError> {
    let wrong = |tensor: &str, reason: String| CheckpointError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        reason,
    };
    for (name, info) in &tensors {
        let (start, end) = info.data_offsets;
        if end < start {
            return Err(wrong(name, format!("its data_offsets [{start}, {end}] are reversed")));
        }
        let expected = size_bytes(info).map_err(|reason| wrong(name, reason))?;
        if end - start != expected {
            let (dtype, shape) = (info.dtype, &info.shape);
            return Err(wrong(
                name,
                format!(
                    "{dtype} of shape {shape:?} takes {expected} bytes, its data_offsets [{start}, {end}] hold {}",
                    end - start
                ),
            ));
        }
    }
    let mut in_order: Vec<_> = tensors.iter().collect();
    in_order.sort_by_key(|(_, info)| info.data_offsets);
    let mut covered = 0;
    for (name, info) in in_order {
        let (start, end) = info.data_offsets;
        if start != covered {
            let what = if start < covered { "overlaps the tensor before it" } else { "leaves a hole before it" };
            return Err(wrong(name, format!("it starts at data offset {start}, expected {covered}: it {what}")));
        }
        covered = end;
    }
    let got = file_len - data_start;
    if covered != got {
        return Err(CheckpointError::DataLength { path: path.to_owned(), expected: covered as u64, got: got as u64 });
    }
    let placed = tensors.into_iter().map(|(name, TensorInfo { dtype, shape, data_offsets: (start, end) })| {
        (name, Placement { dtype, shape, start: data_start + start, len: end - start })
    });
    Ok(placed.collect())
}

/// `shape` x `dtype` in bytes, by checked arithmetic.
pub(crate) fn size_bytes(info: &TensorInfo) -> Result<usize, String> {
    let TensorInfo { dtype, shape, .. } = info;
    if let Some(size) = shape.iter().find(|&&size| size > MAX_DIMENSION) {
        return Err(format!("a dimension of {size} is beyond anything real (limit 2^48)"));
    }
    let bits = shape.iter().try_fold(dtype.bitsize(), |product, &size| product.checked_mul(size));
    match bits {
        None => Err(format!("{dtype} of shape {shape:?} overflows 64 bits")),
        Some(bits) if bits % 8 != 0 => Err(format!("{dtype} of shape {shape:?} does not end at a whole byte")),
        Some(bits) => Ok(bits / 8),
    }
}
