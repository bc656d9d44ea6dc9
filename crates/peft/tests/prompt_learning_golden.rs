//! Prompts, prefixes and P-tuning encoders against what Python PEFT computed and saved.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::{
    ADAPTER_WEIGHTS, CheckpointError, ENCODER_STATE, SafetensorsFile, Storage, TensorSpec, write_safetensors,
};
use model::Pass;
use support::network::{Network, logits_of, network};
use support::{Batch, after_prompt, assert_close, cases, data, floats, integers, loss_and_gradients, pass, train};
use tunesmith_peft::{AdapterConfig, Method, PeftError, attach, names, open, save};

/// Both sides compute in f32 and differ in the order of sums.
const SAME: f32 = 1e-5;
/// Three steps on, differences have gone through AdamW, which divides every gradient by its own size.
const AFTER_TRAINING: f32 = 1e-3;

struct Case {
    name: String,
    network: Box<dyn Network>,
    io: SafetensorsFile,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        cases("prompt_learning", "adapter_config.json").into_iter().map(|name| Self::read(&name))
    }

    fn read(name: &str) -> Self {
        let family = name.split('-').next().unwrap();
        let base = format!("base-{family}");
        let own = data("prompt_learning").join(&base).exists();
        let folder = if own { "prompt_learning" } else { "peft" };
        let io = SafetensorsFile::open(data("prompt_learning").join(name).join("io.safetensors")).unwrap();
        Self { name: name.to_owned(), network: network(&data(&format!("{folder}/{base}")), family), io }
    }

    fn dir(&self) -> PathBuf {
        data("prompt_learning").join(&self.name)
    }

    /// The configured method, with the values that PEFT started from.
    fn start(&self) -> Arc<dyn Method> {
        let path = self.dir().join("adapter_config.json");
        let (config, warnings) = AdapterConfig::read(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (method, _) = attach(config, self.network.base(), 1).unwrap();
        let values = self.recorded("trainable_init.safetensors");
        let parameters = method.parameters();
        for (index, (name, _)) in parameters.iter().enumerate() {
            let (_, values) = values.iter().find(|(recorded, _)| recorded == name).unwrap();
            parameters.set(index, values).unwrap();
        }
        assert_eq!(parameters.iter().len(), values.len(), "{}", self.name);
        method
    }

    /// Trainable parameters under the names that they have here.
    fn recorded(&self, file: &str) -> Vec<(String, Vec<f32>)> {
        let file = SafetensorsFile::open(self.dir().join(file)).unwrap();
        let values = file.tensors().map(|t| (names::without_adapter_name(t.name()), t.to_f32().unwrap()));
        values.collect()
    }

    /// Whether a decoder has labels of its own.
    fn has_own_labels(&self) -> bool {
        self.name.starts_with("t5-")
    }

    /// The recorded batch, ten tokens and seven, for an adapter with this many rows before each.
    fn batch(&self, prompt_len: usize) -> Batch {
        let (ids, labels) = (integers(&self.io, "input_ids"), integers(&self.io, "labels"));
        if self.has_own_labels() {
            let rows = [(&ids[..10], &labels[..6]), (&ids[10..17], &labels[6..])];
            return Batch::of_targets(&rows.map(|(ids, labels)| (ids.to_vec(), labels.to_vec())));
        }
        after_prompt(&[(&ids[..10], &labels[..10]), (&ids[10..17], &labels[10..17])], prompt_len)
    }

    /// Recorded logits without those of padding.
    fn expected_logits(&self, name: &str, prompt_len: usize) -> Vec<f32> {
        let logits = floats(&self.io, name);
        if self.has_own_labels() {
            return logits;
        }
        let row = logits.len() / 2;
        let kept = row / (10 + prompt_len) * (7 + prompt_len);
        [&logits[..row], &logits[row..row + kept]].concat()
    }

    fn logits(&self, method: &Arc<dyn Method>) -> Vec<f32> {
        logits_of(&*self.network, &self.batch(0), &pass(method))
    }
}

#[test]
fn logits_loss_and_gradients_at_the_start() {
    for case in Case::all() {
        let (method, name) = (case.start(), &case.name);
        let prompt_len = method.prompt_len();
        assert_close(name, &case.logits(&method), &case.expected_logits("logits_init", prompt_len), SAME);
        let batch = case.batch(prompt_len);
        let (loss, gradients) = loss_and_gradients(&*case.network, &batch, &method, &pass(&method));
        assert_close(name, &[loss], &floats(&case.io, "loss_init"), SAME);
        let recorded = case.io.names().filter_map(|name| name.strip_prefix("grad."));
        let recorded: Vec<(String, &str)> = recorded.map(|name| (names::without_adapter_name(name), name)).collect();
        assert_eq!(recorded.len(), method.parameters().iter().len(), "{name}");
        for (key, leaf) in method.parameters().iter() {
            let (_, recorded) = recorded.iter().find(|(recorded, _)| recorded == key).unwrap();
            let expected = floats(&case.io, &format!("grad.{recorded}"));
            assert_close(&format!("{name} {key}"), gradients.of(leaf).unwrap(), &expected, SAME);
        }
        let checkpointed = Pass { gradient_checkpointing: true, ..pass(&method) };
        let (_, again) = loss_and_gradients(&*case.network, &batch, &method, &checkpointed);
        assert_eq!(again.flat().unwrap(), gradients.flat().unwrap(), "{name}");
    }
}

#[test]
fn three_steps_of_adamw() {
    for case in Case::all() {
        let (method, name) = (case.start(), &case.name);
        let losses = std::fs::read_to_string(case.dir().join("losses.json")).unwrap();
        let losses: Vec<f32> = serde_json::from_str(&losses).unwrap();
        let steps = train(&*case.network, &case.batch(method.prompt_len()), &method, 3);
        assert_close(name, &steps.iter().map(|[loss, _]| *loss).collect::<Vec<_>>(), &losses, SAME);
        let recorded = case.recorded("trainable_final.safetensors");
        for (key, leaf) in method.parameters().iter() {
            let (_, expected) = recorded.iter().find(|(recorded, _)| recorded == key).unwrap();
            assert_close(&format!("{name} {key}"), &leaf.to_vec(), expected, AFTER_TRAINING);
        }
    }
}

#[test]
fn an_adapter_of_peft_is_loaded_and_saved_byte_for_byte() {
    let out = tempfile::tempdir().unwrap();
    for case in Case::all() {
        let (method, warnings) = open(&case.dir(), case.network.base()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (got, expected) = (case.logits(&method), case.expected_logits("logits_final", method.prompt_len()));
        assert_close(&case.name, &got, &expected, SAME);
        save(&*method, &Storage, out.path()).unwrap();
        let bytes = |dir: PathBuf| std::fs::read(dir.join(ADAPTER_WEIGHTS)).unwrap();
        assert_eq!(bytes(out.path().to_owned()), bytes(case.dir()), "{}", case.name);
        let (again, _) = open(out.path(), case.network.base()).unwrap();
        assert_eq!(case.logits(&again), got);
    }
}

#[test]
fn an_encoder_with_a_decoder_takes_a_prompt_of_its_own_alone() {
    // With `num_transformer_submodules` 1, PEFT saves no rows for the decoder, which are never used.
    let case = Case::read("t5-prompt");
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(case.dir().join("adapter_config.json")).unwrap();
    let alone = text.replace("\"num_transformer_submodules\": 2", "\"num_transformer_submodules\": 1");
    assert_ne!(alone, text);
    std::fs::write(dir.path().join("adapter_config.json"), alone).unwrap();
    let file = SafetensorsFile::open(case.dir().join(ADAPTER_WEIGHTS)).unwrap();
    let both = file.get("prompt_embeddings").unwrap();
    let (name, shape) = (both.name().to_owned(), vec![both.shape()[0] / 2, both.shape()[1]]);
    let spec = TensorSpec { name, dtype: both.dtype(), shape };
    write_safetensors::<CheckpointError>(&Storage, &dir.path().join(ADAPTER_WEIGHTS), &[spec], &[], |_| {
        Ok(both.bytes()[..both.bytes().len() / 2].into())
    })
    .unwrap();
    let (method, warnings) = open(dir.path(), case.network.base()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_close("logits", &case.logits(&method), &case.expected_logits("logits_final", method.prompt_len()), SAME);
}

#[test]
fn configurations_of_peft_are_written_again_with_the_keys_that_every_release_knows() {
    for case in Case::all() {
        let text = std::fs::read_to_string(case.dir().join("adapter_config.json")).unwrap();
        let mut expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        let newer = ["modules_to_save", "init_weights", "peft_version"];
        expected
            .as_object_mut()
            .unwrap()
            .retain(|key, value| !newer.contains(&key.as_str()) || (key != "peft_version" && !value.is_null()));
        let (method, _) = open(&case.dir(), case.network.base()).unwrap();
        let written: serde_json::Value = serde_json::from_str(&method.config_text().unwrap()).unwrap();
        assert_eq!(written, expected, "{}", case.name);
    }
}

#[test]
fn an_encoder_is_saved_and_trained_on_as_if_never_interrupted() {
    for case in Case::all() {
        let (method, name) = (case.start(), &case.name);
        let batch = case.batch(method.prompt_len());
        train(&*case.network, &batch, &method, 2);
        let dir = tempfile::tempdir().unwrap();
        save(&*method, &Storage, dir.path()).unwrap();
        let has_encoder = !method.encoder_state().is_empty();
        assert_eq!(dir.path().join(ENCODER_STATE).exists(), has_encoder, "{name}");
        let (opened, warnings) = open(dir.path(), case.network.base()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(case.logits(&opened), case.logits(&method), "{name}");
        let values =
            |method: &Arc<dyn Method>| method.parameters().tensors().flat_map(|t| t.to_vec()).collect::<Vec<_>>();
        assert_eq!(values(&opened), values(&method), "{name}");
        if !has_encoder {
            continue;
        }
        // Under the names of PEFT's modules.
        let state = SafetensorsFile::open(dir.path().join(ENCODER_STATE)).unwrap();
        let recorded = SafetensorsFile::open(case.dir().join("trainable_final.safetensors")).unwrap();
        let expected: Vec<_> =
            recorded.names().filter_map(|name| name.strip_prefix("prompt_encoder.default.")).collect();
        assert_eq!(state.names().collect::<Vec<_>>(), expected, "{name}");
        // What Python made of the prompt since then counts, and the encoder does not.
        std::fs::copy(case.dir().join(ADAPTER_WEIGHTS), dir.path().join(ADAPTER_WEIGHTS)).unwrap();
        let (flat, warnings) = open(dir.path(), case.network.base()).unwrap();
        assert!(warnings[0].contains("does not compute prompt_embeddings"), "{warnings:?}");
        assert!(flat.encoder_state().is_empty());
        assert_close(name, &case.logits(&flat), &case.expected_logits("logits_final", flat.prompt_len()), SAME);
    }
}

#[test]
fn a_merge_is_refused_with_a_method_that_merges() {
    for (name, reason) in
        [("llama-prompt", "a prompt is rows of input"), ("gpt2-prefix", "a prefix is keys and values")]
    {
        let case = Case::read(name);
        let method = case.start();
        let id = case.network.base().modules().parameters().next().unwrap().id;
        assert!(method.merges(id));
        let error = method.merge(id, &mut []).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("methods that change weights"), "{error}");
    }
}

#[test]
fn files_that_do_not_fit_are_refused_before_memory_is_taken_for_them() {
    let case = Case::read("llama-prompt");
    let refuse = |edit: &dyn Fn(&str) -> String| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(case.dir().join(ADAPTER_WEIGHTS), dir.path().join(ADAPTER_WEIGHTS)).unwrap();
        let text = std::fs::read_to_string(case.dir().join("adapter_config.json")).unwrap();
        std::fs::write(dir.path().join("adapter_config.json"), edit(&text)).unwrap();
        open(dir.path(), case.network.base()).err().expect("must be refused")
    };
    let more = refuse(&|text| text.replace("\"num_virtual_tokens\": 5", "\"num_virtual_tokens\": 1048576"));
    assert!(more.to_string().contains("prompt_embeddings is [5, 32], expected [1048576, 32]"), "{more}");
    let many =
        refuse(&|text| text.replace("\"num_virtual_tokens\": 5", "\"num_virtual_tokens\": 18446744073709551615"));
    assert!(many.to_string().contains("at most 1048576"), "{many}");
    let missing = refuse(&|text| text.replace("\"num_virtual_tokens\": 5,", ""));
    assert!(missing.to_string().contains("`num_virtual_tokens`: is missing"), "{missing}");
    let init = refuse(&|text| text.replace("RANDOM", "NORMAL"));
    assert!(init.to_string().contains("`prompt_tuning_init`: unknown variant `NORMAL`"), "{init}");
    let prefix = refuse(&|text| text.replace("PROMPT_TUNING", "PREFIX_TUNING"));
    assert!(matches!(prefix, PeftError::InFile { .. }), "{prefix}");
    assert!(prefix.to_string().contains("`token_dim`: is 32, but 16 for this base model"), "{prefix}");
}
