//! What a model is opened for: its task, and the classes of a classifier.

use std::path::{Path, PathBuf};

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, SafetensorsFile, read_json};
use data::{DataOptions, Split, Task};
use model::config::{CONFIG_FILE, ClassifierConfig, Labels};
use model::{EncoderDecoderFamily, TaskHead, VisionConfig, VisionFamily};
use peft::formats::Format;
use peft::{AdapterConfig, TaskType};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::config::{self, Config};

/// Names of a classifier's classes, beside its adapter: PEFT's files have no place for them.
pub const LABELS_FILE: &str = "labels.json";
/// The largest such file that is read, and the largest `config.json`.
const LIMIT: u64 = 16 << 20;
/// Ends of the names under which adapters hold the last projection of a head.
const HEADS: [&str; 4] =
    [".classifier.weight", ".cls_classifier.weight", ".classifier.out_proj.weight", ".score.weight"];

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// What is predicted.
    pub task: Task,
    /// The classes, for a classifier.
    pub labels: Labels,
    /// What parameters start from that the model's files do not have.
    pub seed: u64,
}

impl Purpose {
    /// To predict the next token.
    pub fn causal_lm() -> Self {
        Self::without_classes(Task::CausalLm)
    }

    fn without_classes(task: Task) -> Self {
        Self { task, labels: Labels::numbered(0), seed: 0 }
    }

    /// What `config` trains. Classes are those that the rows name, or that the model's `config.json` names.
    ///
    /// # Errors
    /// [`Error::NumLabels`] if the rows name another number of classes than `model.num_labels`; files that cannot be read.
    pub fn of_config(config: &Config) -> Result<Self, Error> {
        let task = match config.model.task_type {
            config::TaskType::CausalLm => return Ok(Self::causal_lm()),
            config::TaskType::Seq2SeqLm => return Ok(Self::without_classes(Task::Seq2SeqLm)),
            config::TaskType::SequenceClassification => Task::SequenceClassification,
            config::TaskType::TokenClassification => Task::TokenClassification,
            config::TaskType::ImageClassification => Task::ImageClassification,
        };
        let path = rows_of(task, Split::Train, &config.data.train)?;
        let named = data::label_names(&path, &DataOptions::new(1))?;
        let file = labels_of_model(task, &config.model.path)?;
        let num_labels = config.model.num_labels;
        if let [label] = named.as_slice() {
            return Err(Error::OneClass { path, label: label.clone() });
        }
        let labels = match num_labels {
            _ if !named.iter().all(|name| file.names().contains(name)) => Labels::named(named),
            Some(num_labels) if num_labels != file.len() => Labels::numbered(num_labels),
            _ => file,
        };
        match num_labels {
            Some(num_labels) if num_labels != labels.len() => {
                Err(Error::NumLabels { path, num_labels, names: labels.names().to_vec() })
            }
            _ => Ok(Self { task, labels, seed: config.training.seed }),
        }
    }

    /// What the adapter in `adapter` was trained for, or without one the model in `model`.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn of_files(model: &Path, adapter: Option<&Path>) -> Result<Self, Error> {
        let directory = adapter.map(directory_of).transpose()?.flatten();
        let saved = directory.as_ref().map(saved_task).transpose()?.flatten();
        let task = match saved {
            Some(TaskType::CausalLm) => Task::CausalLm,
            Some(TaskType::SeqCls) => Task::SequenceClassification,
            Some(TaskType::TokenCls) => Task::TokenClassification,
            Some(TaskType::Seq2SeqLm) => Task::Seq2SeqLm,
            Some(TaskType::QuestionAns | TaskType::FeatureExtraction) | None => task_of_model(model)?,
        };
        if matches!(task, Task::CausalLm | Task::Seq2SeqLm) {
            return Ok(Self::without_classes(task));
        }
        let file = labels_of_model(task, model)?;
        let head = |directory: &AdapterDirectory| num_labels(directory.head.as_ref().unwrap_or(&directory.weights));
        let trained = directory.as_ref().and_then(head);
        let labels = match (adapter.map(read_labels).transpose()?.flatten(), trained) {
            (Some(labels), _) => labels,
            (None, Some(num_labels)) if num_labels != file.len() => Labels::numbered(num_labels),
            _ => file,
        };
        Ok(Self { task, labels, seed: 0 })
    }

    /// Whether classes are predicted, or in a regression a number.
    pub fn is_classifier(&self) -> bool {
        match self.task {
            Task::SequenceClassification | Task::TokenClassification | Task::ImageClassification => true,
            Task::CausalLm | Task::Seq2SeqLm | Task::FeatureExtraction => false,
        }
    }

    /// The head that a classifier of texts has; `None` for another task.
    pub fn head(&self) -> Option<TaskHead> {
        let num_labels = self.labels.len();
        match self.task {
            Task::SequenceClassification => Some(TaskHead::SequenceClassification { num_labels }),
            Task::TokenClassification => Some(TaskHead::TokenClassification { num_labels }),
            Task::CausalLm | Task::Seq2SeqLm | Task::FeatureExtraction | Task::ImageClassification => None,
        }
    }

    /// The head under which the modules of an encoder have the names that the adapter in `adapter` has for them: that of a
    /// classifier, if it was trained as one.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn head_of(&self, adapter: &Path) -> Result<TaskHead, Error> {
        let saved = directory_of(adapter)?.as_ref().map(saved_task).transpose()?.flatten();
        let is_classifier = matches!(saved, Some(TaskType::SeqCls | TaskType::TokenCls));
        Ok(self.head().filter(|_| is_classifier).unwrap_or(TaskHead::FeatureExtraction))
    }

    /// Whether a number is predicted.
    pub fn is_regression(&self) -> bool {
        self.task == Task::SequenceClassification && self.labels.is_regression()
    }

    /// What one prediction is made for.
    pub fn unit(&self) -> &'static str {
        match self.task {
            Task::SequenceClassification => "row",
            Task::ImageClassification => "image",
            _ => "token",
        }
    }

    /// The text of [`LABELS_FILE`]; `None` where there are no classes.
    pub fn labels_text(&self) -> Option<String> {
        let mut object = Map::new();
        self.write_labels(&mut object);
        let text = serde_json::to_string_pretty(&object).ok().filter(|_| self.is_classifier());
        text.map(|text| text + "\n")
    }

    /// Sets `id2label` and `label2id`, as a `config.json` has them.
    pub fn write_labels(&self, object: &mut Map<String, Value>) {
        let names = || self.labels.names().iter().enumerate();
        let id2label: Map<String, Value> = names().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let label2id: Map<String, Value> = names().map(|(id, name)| (name.clone(), json!(id))).collect();
        object.extend([("id2label".to_owned(), id2label.into()), ("label2id".to_owned(), label2id.into())]);
    }
}

/// What transformers' class of the model is for, as `architectures` of its `config.json` names it.
fn task_of_model(dir: &Path) -> Result<Task, Error> {
    let json: Map<String, Value> = read_json(&dir.join(CONFIG_FILE), LIMIT)?;
    let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or_default();
    if EncoderDecoderFamily::find(model_type).is_some() {
        return Ok(Task::Seq2SeqLm);
    }
    if VisionFamily::find(model_type).is_some() {
        return Ok(Task::ImageClassification);
    }
    let architecture = json.get("architectures").and_then(|names| names.get(0)?.as_str()).unwrap_or_default();
    Ok(match architecture {
        name if name.ends_with("ForSequenceClassification") => Task::SequenceClassification,
        name if name.ends_with("ForTokenClassification") => Task::TokenClassification,
        _ => Task::CausalLm,
    })
}

/// Where the rows or images of a split are.
///
/// # Errors
/// A directory without them.
pub fn rows_of(task: Task, split: Split, path: &Path) -> Result<PathBuf, Error> {
    Ok(match task {
        Task::ImageClassification => split.images(path)?,
        _ => split.file(path)?,
    })
}

/// The classes that the model's `config.json` names.
fn labels_of_model(task: Task, dir: &Path) -> Result<Labels, Error> {
    Ok(match task {
        Task::ImageClassification => VisionConfig::read(dir)?.labels,
        _ => ClassifierConfig::read(dir)?.labels,
    })
}

/// Classes of the head in an adapter's file.
fn num_labels(weights: &SafetensorsFile) -> Option<usize> {
    // AdapterHub's names begin with the head's.
    let is_head = |name: &str| HEADS.iter().any(|end| name.ends_with(end) || name == &end[1..]);
    let head = weights.tensors().find(|tensor| is_head(tensor.name()))?;
    head.shape().first().copied()
}

/// The adapter in `dir`, if its files say what it is for without the base: MLX's and llama.cpp's do not.
fn directory_of(dir: &Path) -> Result<Option<AdapterDirectory>, Error> {
    Ok(match Format::of(dir)? {
        Format::Peft | Format::AdapterHub => Some(peft::formats::read(dir, None)?),
        Format::Mlx | Format::Gguf => None,
    })
}

/// What the adapter was trained for, where its configuration says so.
fn saved_task(directory: &AdapterDirectory) -> Result<Option<TaskType>, Error> {
    Ok(AdapterConfig::read(&directory.dir().join(ADAPTER_CONFIG), &directory.config)?.0.task_type())
}

/// The names beside an adapter.
fn read_labels(dir: &Path) -> Result<Option<Labels>, Error> {
    let path = dir.join(LABELS_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let object: Map<String, Value> = read_json(&path, LIMIT)?;
    if !object.contains_key("id2label") {
        return Err(Error::NoLabels { path });
    }
    Ok(Some(Labels::from_json(&path, &object)?))
}
