//! What two runs must have in common for one to go on where the other stopped.

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::{Checkpoint, CheckpointError, sha256_hex};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::schedule::SchedulerType;

/// Settings that change where, how fast or how often, and no number of the result.
const INDIFFERENT: [&str; 23] = [
    // Paths may change; contents are compared.
    "model.path",
    "data.train",
    "data.eval",
    "data.chat_template",
    "data.cache",
    "data.cache_dir",
    "adapter.init_from",
    // What it stands for is compared.
    "adapter.recipe",
    "training.output_dir",
    "training.max_steps",
    "training.num_train_epochs",
    "training.per_device_eval_batch_size",
    "training.gradient_checkpointing",
    "training.activation_offload",
    "training.logging_steps",
    "training.eval_steps",
    "training.save_steps",
    "training.save_total_limit",
    "training.device",
    "training.device_memory_mib",
    "training.cuda_graphs",
    "training.threads",
    "training.resume",
];
/// Settings of the report.
const REPORT: &str = "training.sample_";
/// How much of a tensor its fingerprint looks at.
const FIRST_BYTES: usize = 256;

/// Names and values that decide what a run computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(BTreeMap<String, String>);

impl Identity {
    /// Of a run with `config` and `max_steps` steps over the model and rows with these fingerprints.
    pub fn new(config: &Config, max_steps: u64, model: String, rows: String) -> Self {
        let mut values = BTreeMap::new();
        if let Ok(toml::Value::Table(tables)) = toml::Value::try_from(config) {
            for (table, keys) in tables {
                for (key, value) in keys.as_table().into_iter().flatten() {
                    let name = format!("{table}.{key}");
                    if !INDIFFERENT.contains(&name.as_str()) && !name.starts_with(REPORT) {
                        values.insert(name, value.to_string());
                    }
                }
            }
        }
        // With a constant learning rate a longer run begins exactly as a shorter one, and may go on from it.
        let type_ = config.training.lr_scheduler_type;
        if !matches!(type_, SchedulerType::Constant | SchedulerType::ConstantWithWarmup) {
            values.insert("number of steps".to_owned(), max_steps.to_string());
        }
        values.insert("content of model.path".to_owned(), model);
        values.insert("content of data.train".to_owned(), rows);
        Self(values)
    }

    /// One line for each value that is not the same in `now`.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let names = self.0.keys().chain(now.0.keys().filter(|name| !self.0.contains_key(*name)));
        let show = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
        names
            .map(|name| (name, self.0.get(name), now.0.get(name)))
            .filter(|(_, then, now)| then != now)
            .map(|(name, then, now)| format!("{name}: {} then, {} now", show(then), show(now)))
            .collect()
    }
}

/// Tells one model from another without reading all of it: its `config.json`, and of every tensor the name, the type, the
/// shape and the first values. Training changes them all, and an adapter that was merged those of the tensors it changed.
///
/// # Errors
/// `config.json` cannot be read.
pub fn model_fingerprint(dir: &Path, weights: &Checkpoint) -> Result<String, CheckpointError> {
    let config = dir.join("config.json");
    let failed = |source| CheckpointError::Io { action: "read", path: config.clone(), source };
    let mut seen = std::fs::read(&config).map_err(failed)?;
    for tensor in weights.tensors() {
        seen.extend(format!("{} {:?} {:?}", tensor.name(), tensor.dtype(), tensor.shape()).as_bytes());
        seen.extend(&tensor.bytes()[..tensor.bytes().len().min(FIRST_BYTES)]);
    }
    Ok(sha256_hex(&seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    const CONFIG: &str = "[model]\npath = 'm'\n[data]\ntrain = 't'\n[training]\noutput_dir = 'o'\nmax_steps = 10\n";

    fn identity(set: &[&str]) -> Identity {
        let set = set.iter().map(|s| (*s).to_owned()).collect();
        let config = Config::parse("c", CONFIG, &Overrides { set, ..Overrides::default() }).unwrap();
        let max_steps = config.training.max_steps.unwrap();
        Identity::new(&config, max_steps, "m1".to_owned(), "d1".to_owned())
    }

    #[test]
    fn what_changes_no_number_may_change() {
        let now = identity(&[
            "model.path=/elsewhere",
            "training.save_steps=7",
            "training.threads=1",
            "training.output_dir=p",
            "training.device_memory_mib=512",
            "training.cuda_graphs=false",
        ]);
        assert_eq!(identity(&[]).differences(&now), Vec::<String>::new());
    }

    #[test]
    fn what_changes_a_number_is_named_with_both_values() {
        let then = identity(&["adapter.r=8"]);
        let now = identity(&["adapter.r=16", "training.seed=43", "adapter.use_rslora=true"]);
        assert_eq!(
            then.differences(&now),
            [
                "adapter.r: 8 then, 16 now",
                "training.seed: 42 then, 43 now",
                "adapter.use_rslora: not set then, true now"
            ]
        );
    }

    #[test]
    fn a_constant_schedule_may_be_prolonged() {
        let constant = "training.lr_scheduler_type=constant";
        let longer = "training.max_steps=20";
        assert!(identity(&[constant]).differences(&identity(&[constant, longer])).is_empty());
        assert_eq!(identity(&[]).differences(&identity(&[longer])), ["number of steps: 10 then, 20 now"]);
    }
}
