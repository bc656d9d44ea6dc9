//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Formatter;
use std::path::Path;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{CheckpointError, read_json};

/// No index is near this: a model of a million tensors has one of 100 MB.
const MAX_INDEX: u64 = 256 << 20;

/// The index, every entry a plain file name.
pub(crate) struct Index {
    /// Tensor to shard.
    pub(crate) weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads the index and refuses entries that are not plain file names: they come with the model and are joined to a path.
    pub(crate) fn read(path: &Path) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct File {
            weight_map: WeightMap,
        }
        let weight_map = read_json::<File>(path, MAX_INDEX)?.weight_map.0;
        for (tensor, entry) in &weight_map {
            if let Some(reason) = not_plain(entry) {
                return Err(CheckpointError::ShardName {
                    index: path.to_owned(),
                    tensor: tensor.clone(),
                    entry: entry.clone(),
                    reason,
                });
            }
        }
        Ok(Self { weight_map })
    }

    /// The shards in alphabetical order.
    pub(crate) fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// Why `entry` is not one plain file name, if it is not.
fn not_plain(entry: &str) -> Option<&'static str> {
    if entry.contains(['/', '\\']) {
        Some("is a path")
    } else if entry.contains('\0') || entry.chars().any(char::is_control) {
        Some("holds a control character")
    } else if entry.starts_with('.') {
        Some("starts with a dot")
    } else if !entry.ends_with(".safetensors") {
        Some("is not a safetensors file")
    } else {
        None
    }
}

/// Checks that `shard` really lies inside `dir`, or in the `blobs` of the Hugging Face cache that `dir` is a snapshot of
/// (`models--org--name/snapshots/<commit>/`, whose files link to `../../blobs/`).
pub(crate) fn check_place(dir: &Path, index: &Path, tensor: &str, shard: &str) -> Result<(), CheckpointError> {
    let missing = || CheckpointError::ShardMissing { index: index.to_owned(), shard: shard.to_owned() };
    let real = match std::fs::canonicalize(dir.join(shard)) {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(source) => return Err(CheckpointError::Io { action: "open", path: dir.join(shard), source }),
    };
    let home = std::fs::canonicalize(dir).map_err(|source| CheckpointError::Io {
        action: "open",
        path: dir.to_owned(),
        source,
    })?;
    let blobs = home
        .parent()
        .filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))
        .and_then(Path::parent)
        .map(|model| model.join("blobs"));
    let parent = real.parent();
    if parent == Some(home.as_path()) || (parent.is_some() && parent == blobs.as_deref()) {
        return Ok(());
    }
    Err(CheckpointError::ShardName {
        index: index.to_owned(),
        tensor: tensor.to_owned(),
        entry: shard.to_owned(),
        reason: "is a link out of the model directory",
    })
}

/// A JSON object whose keys are all different.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;
            fn expecting(&self, f: &mut Formatter) -> std::fmt::Result {
                f.write_str("an object from tensor names to shard names")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
                    if entries.insert(tensor.clone(), shard).is_some() {
                        return Err(A::Error::custom(format!("weight_map names tensor {tensor:?} twice")));
                    }
                }
                Ok(WeightMap(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
