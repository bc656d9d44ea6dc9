//! Every method and way of configuring it against what Python PEFT computed and saved: logits, loss, every gradient, three steps of
//! AdamW, the files, and the merged model.

mod support;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{CheckpointError, SafetensorsFile, Storage, TensorSpec, write_safetensors};
use model::Pass;
use support::network::{Network, logits_of, network};
use support::{
    Batch, as_saved, assert_close, by_key, cases, data, floats, integers, loss_and_gradients, merge_into, pass, train,
};
use tunesmith_peft::{AdapterConfig, Method, PeftError, attach, load, names, open, save};

/// Both sides compute in f32 and differ in the order of sums; logits and gradients here are sums of at most a few hundred
/// terms, each rounded to 6e-8.
const SAME: f32 = 1e-5;
/// Three steps on, differences have gone through AdamW, which divides every gradient by its own size, the small ones with
/// the large relative errors too.
const AFTER_TRAINING: f32 = 2e-3;

struct Case {
    folder: String,
    base: PathBuf,
    family: String,
    network: Box<dyn Network>,
    io: SafetensorsFile,
    batch: Batch,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        cases("peft", "adapter_config.json").into_iter().map(|name| Self::read(&name))
    }

    fn read(name: &str) -> Self {
        let folder = format!("peft/{name}");
        let family = name.split('-').next().unwrap();
        let io = SafetensorsFile::open(data(&folder).join("io.safetensors")).unwrap();
        let (ids, mask, labels) =
            (integers(&io, "input_ids"), integers(&io, "attention_mask"), integers(&io, "labels"));
        let real = |row: usize| row * 10..row * 10 + mask[row * 10..row * 10 + 10].iter().sum::<i64>() as usize;
        let row = |row: usize| match family {
            // Labels of their own, six for each row.
            "t5" => (ids[real(row)].to_vec(), labels[6 * row..][..6].to_vec()),
            _ => (ids[real(row)].to_vec(), labels[real(row)].to_vec()),
        };
        let rows = [row(0), row(1)];
        let batch = if family == "t5" { Batch::of_targets(&rows) } else { Batch::new(&rows) };
        let base = data(&format!("peft/base-{family}"));
        Self { network: network(&base, family), family: family.to_owned(), base, folder, io, batch }
    }

    fn path(&self, file: &str) -> PathBuf {
        data(&self.folder).join(file)
    }

    /// The method that the case's configuration asks for, with the values that PEFT started from.
    fn start(&self) -> Arc<dyn Method> {
        let path = self.path("adapter_config.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let (config, _) = AdapterConfig::read(&path, &text).unwrap();
        if matches!(&config, AdapterConfig::Lora(lora) if lora.init_lora_weights.takes_from_base()) {
            // A new one would save what it adds to the base; this is one that PEFT saved.
            let dir = tempfile::tempdir().unwrap();
            std::fs::copy(&path, dir.path().join("adapter_config.json")).unwrap();
            std::fs::copy(self.path("trainable_init.safetensors"), dir.path().join("adapter_model.safetensors"))
                .unwrap();
            return open(dir.path(), self.network.base()).unwrap().0;
        }
        let (method, warnings) = attach(config, self.network.base(), 1).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        load(&*method, &SafetensorsFile::open(self.path("trainable_init.safetensors")).unwrap()).unwrap();
        method
    }

    /// Recorded logits of the tokens that are no padding: ten of the first row, seven of the second; all of a decoder with
    /// labels of its own.
    fn expected_logits(&self, name: &str) -> Vec<f32> {
        let mut logits = floats(&self.io, name);
        logits.truncate(self.batch.targets.len() * self.network.base().dimensions().vocab_size);
        logits
    }

    fn logits(&self, pass: &Pass) -> Vec<f32> {
        logits_of(&*self.network, &self.batch, pass)
    }
}

#[test]
fn logits_loss_and_gradients_at_the_start() {
    for case in Case::all() {
        let method = case.start();
        let folder = &case.folder;
        assert_close(
            &format!("{folder} base"),
            &case.logits(&Pass::base()),
            &case.expected_logits("logits_base"),
            SAME,
        );
        assert_close(
            &format!("{folder} logits"),
            &case.logits(&pass(&method)),
            &case.expected_logits("logits_init"),
            SAME,
        );
        let (loss, gradients) = loss_and_gradients(&*case.network, &case.batch, &method, &pass(&method));
        assert_close(&format!("{folder} loss"), &[loss], &floats(&case.io, "loss_init"), SAME);
        let got = by_key(&method, |leaf| gradients.of(leaf).unwrap().to_vec());
        let recorded = case.io.names().filter_map(|name| name.strip_prefix("grad."));
        let recorded: Vec<(String, &str)> = recorded.map(|name| (names::without_adapter_name(name), name)).collect();
        assert_eq!(recorded.len(), got.len(), "{folder}");
        for (key, gradient) in got {
            let (_, name) = recorded.iter().find(|(recorded, _)| *recorded == key).unwrap();
            assert_close(&format!("{folder} {key}"), &gradient, &floats(&case.io, &format!("grad.{name}")), SAME);
        }
    }
}

#[test]
fn three_steps_of_adamw() {
    for case in Case::all() {
        let method = case.start();
        let losses: Vec<f32> =
            serde_json::from_str(&std::fs::read_to_string(case.path("losses.json")).unwrap()).unwrap();
        let got: Vec<f32> = train(&*case.network, &case.batch, &method, 3).iter().map(|[loss, _]| *loss).collect();
        assert_close(&format!("{} losses", case.folder), &got, &losses, SAME);
        let saved = SafetensorsFile::open(case.path("adapter_model.safetensors")).unwrap();
        for (key, values) in as_saved(&method) {
            assert_close(&format!("{} {key}", case.folder), &values, &floats(&saved, &key), AFTER_TRAINING);
        }
    }
}

#[test]
fn an_adapter_of_peft_is_loaded_and_saved_byte_for_byte() {
    let out = tempfile::tempdir().unwrap();
    for case in Case::all() {
        let (method, warnings) = open(&data(&case.folder), case.network.base()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (got, expected) = (case.logits(&pass(&method)), case.expected_logits("logits_final"));
        assert_close(&format!("{} reloaded", case.folder), &got, &expected, SAME);
        save(&*method, &Storage, out.path()).unwrap();
        let read = |path: &Path| std::fs::read(path.join("adapter_model.safetensors")).unwrap();
        assert_eq!(read(out.path()), read(&data(&case.folder)), "{}", case.folder);
        let (again, _) = open(out.path(), case.network.base()).unwrap();
        assert_eq!(case.logits(&pass(&again)), got);
    }
}

#[test]
fn the_merged_model_computes_what_the_adapted_one_did() {
    for case in Case::all() {
        let (method, _) = open(&data(&case.folder), case.network.base()).unwrap();
        let out = tempfile::tempdir().unwrap();
        std::fs::copy(case.base.join("config.json"), out.path().join("config.json")).unwrap();
        let merged = merge_into(&*method, &*case.network, out.path());
        if case.folder.ends_with("llama-lora-bias") {
            // As in PEFT: the base has no bias that could take it up.
            assert!(matches!(merged, Err(PeftError::Unmergeable { .. })));
            continue;
        }
        merged.unwrap();
        let merged = network(out.path(), &case.family);
        let got = logits_of(&*merged, &case.batch, &Pass::base());
        assert_close(&format!("{} merged", case.folder), &got, &case.expected_logits("logits_final"), SAME);
    }
}

#[test]
fn what_does_not_fit_a_file_is_listed() {
    let case = Case::read("llama-lora");
    let method = case.start();
    let other = |name: &str| {
        let file = SafetensorsFile::open(data(&format!("peft/{name}")).join("adapter_model.safetensors")).unwrap();
        load(&*method, &file).unwrap_err()
    };
    let before = by_key(&method, |leaf| leaf.to_vec());
    let error = other("gpt2-lora");
    let PeftError::Keys { problems, .. } = &error else { panic!("{error}") };
    assert_eq!((problems.missing.len(), problems.unexpected.len()), (8, 4));
    assert!(error.to_string().contains("8 missing:") && error.to_string().contains("c_attn.lora_A.weight"), "{error}");
    let PeftError::Keys { problems, .. } = other("llama-lora-layers") else { panic!() };
    assert_eq!((problems.missing.len(), problems.unexpected.len(), problems.misshapen.len()), (4, 2, 0));
    let PeftError::Keys { problems, .. } = other("llama-lora-rslora-pattern-all-linear") else { panic!() };
    assert_eq!(problems.misshapen.len(), 2);
    assert!(problems.misshapen[0].ends_with("q_proj.lora_A.weight is [2, 32], expected [4, 32]"));
    assert_eq!(by_key(&method, |leaf| leaf.to_vec()), before);
}

#[test]
fn ranks_of_a_configuration_are_checked_against_the_file_first() {
    let case = Case::read("llama-lora");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(case.path("adapter_model.safetensors"), dir.path().join("adapter_model.safetensors")).unwrap();
    let text = std::fs::read_to_string(case.path("adapter_config.json")).unwrap();
    // The largest rank that is read at all: 1 GB for all matrices of these four modules.
    let absurd = text.replace("\"r\": 4", "\"r\": 1048576");
    assert_ne!(absurd, text);
    std::fs::write(dir.path().join("adapter_config.json"), absurd).unwrap();
    let error = open(dir.path(), case.network.base()).err().expect("must be refused").to_string();
    assert!(error.contains("q_proj.lora_A.weight is [4, 32], expected [1048576, 32]"), "{error}");
}

#[test]
fn biases_that_peft_saves_twice_are_passed_over() {
    // With `bias = "all"` PEFT writes those of a module in `modules_to_save` again, and those of the module in the base.
    let case = Case::read("qwen2-lora-biasall");
    let file = SafetensorsFile::open(case.path("adapter_model.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(case.path("adapter_config.json")).unwrap();
    std::fs::write(dir.path().join("adapter_config.json"), text).unwrap();
    let mut specs: Vec<TensorSpec> = file
        .tensors()
        .map(|t| TensorSpec { name: t.name().to_owned(), dtype: t.dtype(), shape: t.shape().to_vec() })
        .collect();
    let repeats = ["classifier.modules_to_save.dense.bias", "classifier.original_module.dense.bias"];
    let repeat =
        |name: &str| TensorSpec { name: format!("base_model.model.{name}"), shape: vec![3], ..specs[0].clone() };
    specs.extend(repeats.map(repeat));
    write_safetensors::<CheckpointError>(
        &Storage,
        &dir.path().join("adapter_model.safetensors"),
        &specs,
        &[],
        |spec| {
            let bytes = file.get(&spec.name).map(|tensor| tensor.bytes().to_vec());
            Ok(Cow::Owned(bytes.unwrap_or_else(|| vec![0; 4 * spec.shape.iter().product::<usize>()])))
        },
    )
    .unwrap();
    let (method, warnings) = open(dir.path(), case.network.base()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_close("logits", &case.logits(&pass(&method)), &case.expected_logits("logits_final"), SAME);
}

#[test]
fn adapters_of_another_base_or_with_nan_are_refused() {
    let case = Case::read("llama-lora-embed-head");
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(case.path("adapter_config.json"), dir.path().join("adapter_config.json")).unwrap();
    let original = SafetensorsFile::open(case.path("adapter_model.safetensors")).unwrap();
    let damaged = |key: &str, value: f32| {
        let specs: Vec<TensorSpec> = original
            .tensors()
            .map(|t| TensorSpec { name: t.name().to_owned(), dtype: t.dtype(), shape: t.shape().to_vec() })
            .collect();
        write_safetensors::<CheckpointError>(
            &Storage,
            &dir.path().join("adapter_model.safetensors"),
            &specs,
            &[],
            |spec| {
                let mut bytes = original.get(&spec.name).unwrap().bytes().to_vec();
                if spec.name.ends_with(key) {
                    bytes[..4].copy_from_slice(&value.to_le_bytes());
                }
                Ok(Cow::Owned(bytes))
            },
        )
        .unwrap();
        open(dir.path(), case.network.base()).err().expect("must be refused")
    };
    assert!(matches!(damaged("embed_tokens.base_layer.weight", 9.0), PeftError::OtherBase { .. }));
    let error = damaged("layers.1.self_attn.q_proj.lora_B.weight", f32::NAN);
    assert!(error.to_string().contains("q_proj.lora_B.weight` is not finite at element 0"), "{error}");
    let file = dir.path().join("adapter_model.safetensors").display().to_string();
    assert!(error.to_string().starts_with(&file), "{error}");
}
