//! Adapters of a ViT and a DeiT against what Python PEFT and AdapterHub computed and saved, and visual prompts against a few
//! lines of PyTorch: logits, loss, every gradient, three steps of AdamW, and the files.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{ADAPTERHUB_WEIGHTS, SafetensorsFile, StagedDirectory, Storage};
use device::DType;
use model::{ImageClassifier, Images, NoAdapter, Pass};
use serde_json::{Value, json};
use support::{assert_close, data, floats, integers, pass, steps_of_adamw};
use tensor::{Gradients, backward, ops};
use tunesmith_peft::formats::{self, Blueprint, Format};
use tunesmith_peft::updates::LoraUpdates;
use tunesmith_peft::{AdapterConfig, Method, attach, names, open, save};

/// Both sides compute in f32 and differ in the order of sums; logits and gradients here are sums of at most a few hundred
/// terms, each rounded to 6e-8.
const SAME: f32 = 1e-5;
/// Three steps on, differences have gone through AdamW, which divides every gradient by its own size.
const AFTER_TRAINING: f32 = 1e-3;

/// The name of a case begins with that of its base.
const CASES: [&str; 14] = [
    "vit-lora",
    "vit-lora-all-linear",
    "vit-dora",
    "vit-ia3",
    "vit_nf4-lora",
    "vit_nf4-dora",
    "deit-lora",
    "deit_teacher-lora",
    "vit-bottleneck",
    "vit-bottleneck-parallel",
    "vit-prompt",
    "vit-prefix",
    "vit-pixels-padding",
    "vit-pixels-fixed-patch",
];

struct Case {
    name: &'static str,
    base: PathBuf,
    model: ImageClassifier,
    io: SafetensorsFile,
    images: Images,
    labels: Vec<i64>,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        CASES.into_iter().map(Self::read)
    }

    fn read(name: &'static str) -> Self {
        let base = data(&format!("vision/base-{}", name.split('-').next().unwrap()));
        let model = ImageClassifier::load(&base, Some(3), DType::F32, 1).unwrap();
        let io = SafetensorsFile::open(data(&format!("vision/{name}/io.safetensors"))).unwrap();
        let labels = integers(&io, "labels");
        let images = Images::new(&floats(&io, "pixel_values"), labels.len());
        Self { name, base, model, io, images, labels }
    }

    /// The method that the case's configuration asks for, with the values that the other side started from.
    fn start(&self) -> Arc<dyn Method> {
        let path = data(&format!("vision/{}/adapter_config.json", self.name));
        let (config, _) = AdapterConfig::read(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        let (method, _) = attach(config, self.model.base(), 1).unwrap();
        let (parameters, values) = (method.parameters(), self.recorded("trainable_init.safetensors"));
        for (index, (name, _)) in parameters.iter().enumerate() {
            parameters.set(index, values.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.name))).unwrap();
        }
        assert_eq!(parameters.iter().len(), values.len(), "{}", self.name);
        method
    }

    /// What is recorded of trainable parameters, under the names that they have here.
    fn recorded(&self, file: &str) -> BTreeMap<String, Vec<f32>> {
        let file = SafetensorsFile::open(data(&format!("vision/{}/{file}", self.name))).unwrap();
        file.tensors().filter_map(|t| Some((names::without_adapter_name(t.name()), t.to_f32().ok()?))).collect()
    }

    fn logits(&self, pass: &Pass) -> Vec<f32> {
        self.model.logits(&self.images, pass).unwrap().to_vec()
    }

    fn loss_and_gradients(&self, pass: &Pass, method: &Arc<dyn Method>) -> (f32, Gradients) {
        let mut gradients = Gradients::new(method.parameters().tensors()).unwrap();
        let logits = self.model.logits(&self.images, pass).unwrap();
        let loss = ops::cross_entropy(&logits, &self.labels, None).unwrap();
        let images = self.labels.len() as f32;
        backward(&loss, 1.0 / images, &mut gradients).unwrap();
        (loss.item().unwrap() / images, gradients)
    }
}

#[test]
fn logits_loss_and_gradients_at_the_start() {
    for case in Case::all() {
        let (method, name) = (case.start(), case.name);
        assert_close(&format!("{name} base"), &case.logits(&Pass::base()), &floats(&case.io, "logits_base"), SAME);
        assert_close(&format!("{name} logits"), &case.logits(&pass(&method)), &floats(&case.io, "logits_init"), SAME);
        let (loss, gradients) = case.loss_and_gradients(&pass(&method), &method);
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
fn three_steps_of_adamw_with_blocks_computed_again() {
    for case in Case::all() {
        let method = case.start();
        let path = data(&format!("vision/{}/losses.json", case.name));
        let losses: Vec<f32> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let pass = Pass { gradient_checkpointing: true, ..pass(&method) };
        let steps = steps_of_adamw(&method, 3, || case.loss_and_gradients(&pass, &method));
        let got: Vec<f32> = steps.iter().map(|step| step[0]).collect();
        assert_close(&format!("{} losses", case.name), &got, &losses, SAME);
        let trained = case.recorded("trainable_final.safetensors");
        for (key, leaf) in method.parameters().iter() {
            assert_close(&format!("{} {key}", case.name), &leaf.to_vec(), &trained[key], AFTER_TRAINING);
        }
    }
}

#[test]
fn adapters_are_loaded_and_saved_byte_for_byte() {
    let out = tempfile::tempdir().unwrap();
    for case in Case::all() {
        let dir = data(&format!("vision/{}", case.name));
        let (method, warnings) = open(&dir, case.model.base()).unwrap();
        assert!(warnings.is_empty(), "{}: {warnings:?}", case.name);
        assert_close(case.name, &case.logits(&pass(&method)), &floats(&case.io, "logits_final"), SAME);
        save(&*method, &Storage, out.path()).unwrap();
        let files = [method.weights_file(), "model_head.safetensors"];
        for file in files.into_iter().filter(|file| dir.join(file).exists()) {
            let read = |path: &Path| std::fs::read(path.join(file)).unwrap();
            assert_eq!(read(out.path()), read(&dir), "{} {file}", case.name);
        }
        let config = |dir: &Path| -> Value {
            serde_json::from_str(&std::fs::read_to_string(dir.join("adapter_config.json")).unwrap()).unwrap()
        };
        let (saved, recorded) = (config(out.path()), config(&dir));
        assert_eq!(saved["task_type"], Value::Null);
        // The class of the base, which stands in an adapter's file where there is no task.
        assert_eq!(saved["auto_mapping"], recorded["auto_mapping"], "{}", case.name);
        assert_eq!(saved["model_class"], recorded["model_class"], "{}", case.name);
    }
}

#[test]
fn merging_gives_the_same_logits() {
    for case in Case::all() {
        let (method, _) = open(&data(&format!("vision/{}", case.name)), case.model.base()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(case.base.join("config.json"), dir.path().join("config.json")).unwrap();
        let modules = case.model.base().modules();
        let specs: Vec<_> = modules
            .parameters()
            .map(|p| checkpoint::TensorSpec {
                name: p.name.clone(),
                dtype: checkpoint::Dtype::F32,
                shape: p.shape.clone(),
            })
            .collect();
        let merged = checkpoint::write_safetensors::<tunesmith_peft::PeftError>(
            &Storage,
            &dir.path().join("model.safetensors"),
            &specs,
            &[],
            |spec| {
                let id = modules.find_parameter(&spec.name).unwrap().id;
                let mut values = case.model.base().parameter(id)?.to_vec();
                if method.merges(id) {
                    method.merge(id, &mut values)?;
                }
                Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into())
            },
        );
        if ["prompt", "prefix", "pixels", "bottleneck"].iter().any(|method| case.name.contains(method)) {
            let message = merged.unwrap_err().to_string();
            assert!(message.contains("methods that change weights can be merged"), "{message}");
            continue;
        }
        merged.unwrap();
        // The file has the names of transformers 5, which are read like those of transformers 4.
        let model = ImageClassifier::load(dir.path(), Some(3), DType::F32, 1).unwrap();
        let got = model.logits(&case.images, &Pass::base()).unwrap().to_vec();
        assert_close(case.name, &got, &case.logits(&pass(&method)), SAME);
    }
}

#[test]
fn adapters_with_the_names_of_transformers_4_mean_the_same() {
    let older = |text: &str| {
        let renames = [
            ("layers.", "encoder.layer."),
            ("attention.q_proj", "attention.attention.query"),
            ("attention.v_proj", "attention.attention.value"),
            ("attention.k_proj", "attention.attention.key"),
            ("mlp.fc2", "output.dense"),
        ];
        renames.iter().fold(text.to_owned(), |text, (now, then)| text.replace(now, then))
    };
    let cases = [
        ("vit-lora", vec![("target_modules", json!(["query", "value"]))]),
        ("vit-dora", vec![("target_modules", json!(r".*\.(key|layer\.\d\.output\.dense)"))]),
        ("deit-lora", vec![("target_modules", json!(["query", "value"]))]),
        (
            "vit-ia3",
            vec![
                ("target_modules", json!(["key", "value", "layer.0.output.dense", "layer.1.output.dense"])),
                ("feedforward_modules", json!(["layer.0.output.dense", "layer.1.output.dense"])),
            ],
        ),
    ];
    for (name, older_keys) in cases {
        let case = Case::read(name);
        let (from, dir) = (data(&format!("vision/{name}")), tempfile::tempdir().unwrap());
        let text = std::fs::read_to_string(from.join("adapter_config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        for (key, modules) in older_keys {
            config[key] = modules;
        }
        std::fs::write(dir.path().join("adapter_config.json"), config.to_string()).unwrap();
        let file = SafetensorsFile::open(from.join("adapter_model.safetensors")).unwrap();
        let spec = |t: checkpoint::MappedTensor| checkpoint::TensorSpec {
            name: older(t.name()),
            dtype: t.dtype(),
            shape: t.shape().to_vec(),
        };
        let specs: Vec<_> = file.tensors().map(spec).collect();
        checkpoint::write_safetensors::<checkpoint::CheckpointError>(
            &Storage,
            &dir.path().join("adapter_model.safetensors"),
            &specs,
            &[],
            |spec| Ok(file.tensors().find(|t| older(t.name()) == spec.name).unwrap().bytes().to_vec().into()),
        )
        .unwrap();
        let (method, _) = open(dir.path(), case.model.base()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_close(name, &case.logits(&pass(&method)), &floats(&case.io, "logits_final"), SAME);
        // It is saved with the names that its modules have now, and read again.
        let out = tempfile::tempdir().unwrap();
        save(&*method, &Storage, out.path()).unwrap();
        let (again, _) = open(out.path(), case.model.base()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(case.logits(&pass(&again)), case.logits(&pass(&method)), "{name}");
    }
}

#[test]
fn adapters_without_effect_compute_what_the_base_computes() {
    let case = Case::read("vit-lora");
    let base = case.logits(&Pass::evaluation(Arc::new(NoAdapter)));
    for config in [
        json!({"peft_type": "LORA"}),
        json!({"peft_type": "IA3"}),
        json!({"peft_type": "LORA", "target_modules": "all-linear", "modules_to_save": ["classifier", "layernorm"]}),
    ] {
        let path = std::path::Path::new("adapter_config.json");
        let (parsed, _) = AdapterConfig::read(path, &config.to_string()).unwrap();
        let (method, _) = attach(parsed, case.model.base(), 1).unwrap();
        assert_eq!(case.logits(&pass(&method)), base, "{config}");
    }
}

#[test]
fn what_does_not_fit_says_why_and_what_does() {
    let vision = Case::read("vit-lora");
    let text = support::decoder("peft/base-llama");
    let message = |config: Value, base: &model::Base| {
        let path = std::path::Path::new("adapter_config.json");
        let (config, _) = AdapterConfig::read(path, &config.to_string()).unwrap();
        attach(config, base, 1).err().expect("must be refused").to_string()
    };
    let cases = [
        (json!({"peft_type": "LORA", "target_modules": ["projection"]}), "is a convolution; linear modules"),
        (
            json!({"peft_type": "IA3", "target_modules": ["cls_token"], "feedforward_modules": []}),
            "a parameter of the module",
        ),
        (
            json!({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "prompt_tuning_init": "SAMPLE_VOCAB"}),
            "the model has no embedding of tokens to start from; use \"RANDOM\"",
        ),
        (
            json!({"peft_type": "PIXEL_PROMPT", "pixel_prompt": "padding", "prompt_size": 4}),
            "at most 3 for images of 13 x 8, got 4",
        ),
    ];
    for (config, expected) in cases {
        let message = message(config, vision.model.base());
        assert!(message.contains(expected), "{message}");
    }
    let pixels = json!({"peft_type": "PIXEL_PROMPT", "pixel_prompt": "padding", "prompt_size": 1});
    let refused = message(pixels, text.base());
    assert!(refused.contains("a llama model is given no images") && refused.contains("prompt_tuning"), "{refused}");
}

#[test]
fn adapterhub_holds_an_adapter_of_images_with_its_head() {
    for name in ["vit-lora", "vit-lora-all-linear"] {
        let case = Case::read(name);
        let base = Blueprint::from(case.model.base());
        let directory = formats::read(&data(&format!("vision/{name}")), Some(base)).unwrap();
        let (config, _) = AdapterConfig::read(Path::new(name), &directory.config).unwrap();
        let AdapterConfig::Lora(config) = config else { panic!("{name}: a LoRA adapter") };
        let mut updates = LoraUpdates::read(&directory, &config).unwrap();
        assert_eq!(updates.head.len(), 2, "{name}");
        // AdapterHub adapts all but the projection of attention's output.
        updates.updates.retain(|update| !update.module.ends_with("o_proj"));
        let out = tempfile::tempdir().unwrap();
        let written = |format: Format, updates: LoraUpdates| {
            let dir = out.path().join(format!("{name}-{format}"));
            let mut staged = StagedDirectory::create(&Storage, &dir).unwrap();
            formats::write(format, updates, Some(base), "tiny", &mut staged).unwrap();
            staged.commit(serde_json::Map::new()).unwrap();
            let (method, warnings) = open(&dir, case.model.base()).unwrap();
            assert!(warnings.is_empty(), "{name} {format}: {warnings:?}");
            (case.logits(&pass(&method)), dir)
        };
        let (expected, _) = written(Format::Peft, updates.clone());
        let (got, dir) = written(Format::AdapterHub, updates);
        assert_close(&format!("{name} as AdapterHub"), &got, &expected, SAME);
        if name == "vit-lora" {
            assert_close(name, &got, &floats(&case.io, "logits_final"), SAME);
        }
        // The names of transformers 4, on which AdapterHub is.
        let file = SafetensorsFile::open(dir.join(ADAPTERHUB_WEIGHTS)).unwrap();
        assert!(file.names().any(|key| key == "vit.encoder.layer.0.attention.attention.query.loras.tiny.lora_A"));
    }
}
