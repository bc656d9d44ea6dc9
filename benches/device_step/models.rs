//! Models whose files are true but for their weights, which are holes: they take no room on a disk.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use model::DecoderConfig;
use serde_json::{Map, Value, json};

/// Name and configuration of each model; scripts/gpu-peers.py reads the same.
const MODELS: &str = include_str!("../reference_models.json");

/// A model that many people train.
pub(crate) struct Model {
    /// As its publisher calls it.
    pub(crate) name: String,
    config: Value,
}

/// All models.
pub(crate) fn models() -> Vec<Model> {
    let models: Map<String, Value> = serde_json::from_str(MODELS).expect("the file is an object");
    models.into_iter().map(|(name, config)| Model { name, config }).collect()
}

impl Model {
    /// Writes its configuration and a safetensors file of bf16 zeros to `dir`.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::write(dir.join("config.json"), self.config.to_string())?;
        let modules = DecoderConfig::read(dir).map_err(io::Error::other)?.modules();
        let (mut header, mut end) = (Map::new(), 0u64);
        for parameter in modules.parameters().filter(|parameter| parameter.tied_to.is_none()) {
            let start = end;
            end += 2 * parameter.shape.iter().map(|&size| size as u64).product::<u64>();
            let entry = json!({ "dtype": "BF16", "shape": parameter.shape, "data_offsets": [start, end] });
            header.insert(parameter.name.clone(), entry);
        }
        let mut header = Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut file = File::create(dir.join("model.safetensors"))?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.set_len(8 + header.len() as u64 + end)
    }
}
