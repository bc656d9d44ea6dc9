//! Adapters of classifiers against what Python PEFT computed and saved: logits, loss, every gradient, three steps of AdamW,
//! and the files, the head among them.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use checkpoint::{SafetensorsFile, Storage};
use device::DType;
use model::{Classifier, ClassifierConfig, Input, Pass, TaskHead};
use support::{assert_close, data, floats, integers, pass, steps_of_adamw};
use tensor::{Gradients, Tensor, backward, ops};
use tunesmith_peft::{AdapterConfig, Method, PeftError, attach, names, open, save};

/// Both sides compute in f32 and differ in the order of sums; logits and gradients here are sums of at most a few hundred
/// terms, each rounded to 6e-8.
const SAME: f32 = 1e-5;
/// Three steps on, differences have gone through AdamW, which divides every gradient by its own size.
const AFTER_TRAINING: f32 = 1e-3;

const CASES: [&str; 11] = [
    "bert-lora",
    "bert-lora-all-linear",
    "bert_token-lora",
    "roberta-lora",
    "distilbert-lora",
    "llama-lora",
    "regression-lora",
    "bert-ia3",
    "bert-prompt",
    "bert-prefix",
    "bert-ptuning-mlp",
];

struct Case {
    name: &'static str,
    model: Classifier,
    io: SafetensorsFile,
    input: Input,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        CASES.into_iter().map(Self::read)
    }

    fn read(name: &'static str) -> Self {
        let base = data(&format!("peft-classifiers/base-{}", name.split('-').next().unwrap()));
        let num_labels = ClassifierConfig::read(&base).unwrap().labels.len();
        let head = match name.contains("_token") {
            true => TaskHead::TokenClassification { num_labels },
            false => TaskHead::SequenceClassification { num_labels },
        };
        let model = Classifier::load(&base, head, DType::F32, 1).unwrap();
        let io = SafetensorsFile::open(data(&format!("peft-classifiers/{name}/io.safetensors"))).unwrap();
        let ids: Vec<u32> = integers(&io, "input_ids").iter().map(|&id| id as u32).collect();
        // The last three tokens of the second row are padding.
        let input = Input::from_sequences(&[&ids[..10], &ids[10..17]]).unwrap();
        Self { name, model, io, input }
    }

    fn file(&self, file: &str) -> SafetensorsFile {
        SafetensorsFile::open(data(&format!("peft-classifiers/{}/{file}", self.name))).unwrap()
    }

    /// The method that the case's configuration asks for, with the values that PEFT started from.
    fn start(&self) -> Arc<dyn Method> {
        let path = data(&format!("peft-classifiers/{}/adapter_config.json", self.name));
        let (config, _) = AdapterConfig::read(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        let (method, _) = attach(config, self.model.base(), 1).unwrap();
        let (parameters, values) = (method.parameters(), self.recorded("trainable_init.safetensors"));
        for (index, (name, _)) in parameters.iter().enumerate() {
            parameters.set(index, &values[name]).unwrap();
        }
        assert_eq!(parameters.iter().len(), values.len(), "{}", self.name);
        method
    }

    /// What is recorded of trainable parameters, under the names that they have here.
    fn recorded(&self, file: &str) -> BTreeMap<String, Vec<f32>> {
        let file = self.file(file);
        file.tensors().filter_map(|t| Some((names::without_adapter_name(t.name()), t.to_f32().ok()?))).collect()
    }

    /// What was recorded for the labels: one for a sequence, or for each token that is no padding.
    fn expected(&self, name: &str) -> Vec<f32> {
        let values = floats(&self.io, name);
        match self.name.contains("_token") {
            true => values[..17 * values.len() / 20].to_vec(),
            false => values,
        }
    }

    fn logits(&self, pass: &Pass) -> Vec<f32> {
        self.model.logits(&self.input, pass).unwrap().to_vec()
    }

    /// The loss sum, and what it is divided by.
    fn loss(&self, pass: &Pass) -> (Tensor, f32) {
        let logits = self.model.logits(&self.input, pass).unwrap();
        if self.model.labels().is_regression() {
            let targets = floats(&self.io, "labels");
            return (ops::squared_error(&logits, &targets).unwrap(), targets.len() as f32);
        }
        let mut labels = integers(&self.io, "labels");
        labels.truncate(logits.shape()[0]);
        let supervised = labels.iter().filter(|&&label| label != -100).count();
        (ops::cross_entropy(&logits, &labels, None).unwrap(), supervised as f32)
    }

    fn loss_and_gradients(&self, method: &Arc<dyn Method>) -> (f32, Gradients) {
        let mut gradients = Gradients::new(method.parameters().tensors()).unwrap();
        let (loss, supervised) = self.loss(&pass(method));
        backward(&loss, 1.0 / supervised, &mut gradients).unwrap();
        (loss.item().unwrap() / supervised, gradients)
    }
}

#[test]
fn logits_loss_and_gradients_at_the_start() {
    for case in Case::all() {
        let (method, name) = (case.start(), case.name);
        assert_close(&format!("{name} base"), &case.logits(&Pass::base()), &case.expected("logits_base"), SAME);
        assert_close(&format!("{name} logits"), &case.logits(&pass(&method)), &case.expected("logits_init"), SAME);
        let (loss, gradients) = case.loss_and_gradients(&method);
        assert_close(&format!("{name} loss"), &[loss], &floats(&case.io, "loss_init"), SAME);
        let recorded = case.recorded("io.safetensors");
        assert_eq!(recorded.keys().filter(|name| name.starts_with("grad.")).count(), method.parameters().iter().len());
        for (key, leaf) in method.parameters().iter() {
            let expected = &recorded[&format!("grad.{key}")];
            assert_close(&format!("{name} {key}"), gradients.of(leaf).unwrap(), expected, SAME);
        }
    }
}

#[test]
fn three_steps_of_adamw() {
    for case in Case::all() {
        let method = case.start();
        let path = data(&format!("peft-classifiers/{}/losses.json", case.name));
        let losses: Vec<f32> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let got: Vec<f32> =
            steps_of_adamw(&method, 3, || case.loss_and_gradients(&method)).iter().map(|s| s[0]).collect();
        assert_close(&format!("{} losses", case.name), &got, &losses, SAME);
        let trained = case.recorded("trainable_final.safetensors");
        for (key, leaf) in method.parameters().iter() {
            assert_close(&format!("{} {key}", case.name), &leaf.to_vec(), &trained[key], AFTER_TRAINING);
        }
    }
}

#[test]
fn an_adapter_of_peft_is_loaded_with_its_head_and_saved_byte_for_byte() {
    let out = tempfile::tempdir().unwrap();
    for case in Case::all() {
        let dir = data(&format!("peft-classifiers/{}", case.name));
        let (method, _) = open(&dir, case.model.base()).unwrap();
        assert_close(case.name, &case.logits(&pass(&method)), &case.expected("logits_final"), SAME);
        save(&*method, &Storage, out.path()).unwrap();
        let read = |path: &std::path::Path| std::fs::read(path.join("adapter_model.safetensors")).unwrap();
        assert_eq!(read(out.path()), read(&dir), "{}", case.name);
        let config = std::fs::read_to_string(out.path().join("adapter_config.json")).unwrap();
        assert!(config.contains("\"classifier\",\n    \"score\"\n"), "{config}");
    }
}

#[test]
fn a_new_head_is_trained_and_saved_with_everything_else_that_is_new() {
    let base = data("encoders/bert-features");
    let file = SafetensorsFile::open(base.join("model.safetensors")).unwrap();
    assert!(file.names().any(|name| name.starts_with("pooler.")));
    // The same model without its pooler, as models of masked tokens are saved.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(base.join("config.json"), dir.path().join("config.json")).unwrap();
    support::write_without(&file, "pooler.", &dir.path().join("model.safetensors"));
    let head = TaskHead::SequenceClassification { num_labels: 4 };
    let model = Classifier::load(dir.path(), head, DType::F32, 1).unwrap();
    let config = |text| AdapterConfig::read(&dir.path().join("adapter_config.json"), text).unwrap().0;
    // Files of trainable tokens have no place for a head: it would start anew wherever they are loaded.
    let rows = config(r#"{"peft_type": "TRAINABLE_TOKENS", "task_type": "SEQ_CLS", "token_indices": [3]}"#);
    let error = attach(rows, model.base(), 1).err().expect("must be refused").to_string();
    assert!(error.contains("`bert.pooler.dense` is newly initialized"), "{error}");
    assert!(error.contains("lora with trainable_token_indices"), "{error}");
    let lora = config(r#"{"peft_type": "LORA", "task_type": "SEQ_CLS"}"#);
    let (method, warnings) = attach(lora, model.base(), 1).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("bert.pooler.dense is newly initialized"), "{warnings:?}");
    save(&*method, &Storage, dir.path()).unwrap();
    let saved = SafetensorsFile::open(dir.path().join("adapter_model.safetensors")).unwrap();
    for name in ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"] {
        assert!(saved.names().any(|key| key == format!("base_model.model.{name}")), "{name}");
    }
    // Loaded over a base that starts from another seed it computes the same: nothing is drawn anew.
    let input = Input::from_sequences(&[&[3, 4, 5]]).unwrap();
    let other = Classifier::load(dir.path(), head, DType::F32, 2).unwrap();
    let (loaded, warnings) = open(dir.path(), other.base()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let logits = |model: &Classifier, pass: &Pass| model.logits(&input, pass).unwrap().to_vec();
    assert_eq!(logits(&other, &pass(&loaded)), logits(&model, &pass(&method)));
    assert_ne!(logits(&other, &Pass::base()), logits(&model, &Pass::base()));
}

#[test]
fn an_adapter_without_its_head_is_refused() {
    let case = Case::read("bert-lora");
    let dir = tempfile::tempdir().unwrap();
    let path = data("peft-classifiers/bert-lora");
    std::fs::copy(path.join("adapter_config.json"), dir.path().join("adapter_config.json")).unwrap();
    let file = case.file("adapter_model.safetensors");
    support::write_without(&file, "base_model.model.classifier.", &dir.path().join("adapter_model.safetensors"));
    let error = open(dir.path(), case.model.base()).err().expect("must be refused");
    let PeftError::Keys { problems, .. } = &error else { panic!("{error}") };
    assert_eq!(problems.missing, ["base_model.model.classifier.weight", "base_model.model.classifier.bias"]);
}
