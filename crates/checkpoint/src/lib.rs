//! Memory-mapped safetensors in, adapter files out. No device, no tensor.
//!
//! | concept | here |
//! |---|---|
//! | one mapped file | [`MappedFile`] |
//! | one safetensors file, its header checked | [`SafetensorsFile`] |
//! | one tensor's bytes, used where they lie | [`MappedTensor`] |
//! | a model directory, single file or shards | [`Checkpoint`] |
//! | an adapter directory in PEFT's layout | [`AdapterDirectory`] |
//! | a GGUF file, its header checked; the bytes of one | [`GgufFile`], [`gguf_bytes`] |
//! | a safetensors file, written tensor by tensor | [`write_safetensors`] |
//! | a file that is either old or new, never half | [`atomic_write`] |
//! | a directory that appears whole or not at all | [`StagedDirectory`] |
//! | the file system, so that a test can make it fail | [`Fs`] |
//! | a mapped file that somebody shortened | [`exit_on_bus_error`] |
//!
//! Files come from strangers. A header is believed only after every number in it was checked against the file's length,
//! nothing is allocated by a size that a file claims, and no path leaves the directory that the user named.

mod adapter;
mod atomic;
mod bus_error;
mod digest;
mod directory;
mod error;
mod foreign;
mod fs;
mod gguf;
mod header;
mod index;
mod json;
mod mapped;
mod quoted;
mod safetensors_file;
mod staged;
mod tensor;
mod writer;

#[cfg(feature = "fault-injection")]
pub mod faulty;

pub use adapter::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTERHUB_HEAD, ADAPTERHUB_WEIGHTS, AdapterDirectory, ENCODER_STATE,
};
pub use atomic::{atomic_write, remove_leftovers};
pub use bus_error::{EXIT_BUS_ERROR, exit_on_bus_error};
pub use digest::{hexdigest, sha256_file, sha256_hex};
pub use directory::{Checkpoint, MODEL_INDEX, MODEL_WEIGHTS};
pub use error::CheckpointError;
pub use foreign::Foreign;
pub use fs::{Fs, Storage, WritableFile};
pub use gguf::{GgufFile, GgufTensor, GgufValue, gguf_bytes};
pub use json::{parse_json, read_json, read_text};
pub use mapped::MappedFile;
pub use quoted::Quoted;
pub use safetensors::Dtype;
pub use safetensors_file::SafetensorsFile;
pub use staged::{MANIFEST, Manifest, ManifestEntry, StagedDirectory};
pub use tensor::MappedTensor;
pub use writer::{TensorSpec, write_safetensors};
