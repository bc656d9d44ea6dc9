//! Prompts, prefixes and P-tuning encoders against what Python PEFT computed and saved, and what holds for all of them.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::{ADAPTER_WEIGHTS, ENCODER_STATE, SafetensorsFile, Storage};
use model::{Input, Pass};
use proptest::prelude::*;
use support::network::{Network, logits_of, network};
use support::{Batch, assert_close, cases, data, decoder, floats, integers, logits, loss_and_gradients, pass, train};
use tensor::no_grad;
use tunesmith_peft::prompt_learning::{
    EncoderReparameterization, InitWeights, PTuning, PrefixTuning, PromptLearning, PromptLearningConfig, PromptMethod,
    PromptTuning, PromptTuningInit,
};
use tunesmith_peft::{AdapterConfig, Method, PeftError, attach, names, open, save, trainable};

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
        batch(&[(&ids[..10], &labels[..10]), (&ids[10..17], &labels[10..17])], prompt_len)
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

/// Rows of token ids and labels. The label of a token belongs to the row before it, the last of the prompt for the first.
fn batch(rows: &[(&[i64], &[i64])], prompt_len: usize) -> Batch {
    let targets = |labels: &[i64]| [&vec![-100; prompt_len][..], labels, &[-100]].concat()[1..].to_vec();
    Batch::of_targets(&rows.iter().map(|(ids, labels)| (ids.to_vec(), targets(labels))).collect::<Vec<_>>())
}

/// Every label supervised, the first token's too.
fn small_batch(prompt_len: usize) -> Batch {
    let (a, b) = ([3, 17, 5, 40, 8, 21], [9, 9, 30]);
    batch(&[(&a, &a), (&b, &b)], prompt_len)
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
        assert!(error.contains(reason) && error.contains("lora and ia3"), "{error}");
    }
}

fn prompt(method: PromptTuning) -> PromptLearningConfig {
    PromptLearningConfig::new(4, PromptMethod::PromptTuning(method))
}

#[test]
fn a_prompt_starts_from_the_embeddings_of_tokens() {
    let text = [7, 3, 11];
    for variant in cases("families", "config.json") {
        let model = decoder(&format!("families/{variant}"));
        let config = prompt(PromptTuning {
            prompt_tuning_init: PromptTuningInit::Text,
            init_token_ids: text.to_vec(),
            ..PromptTuning::default()
        });
        let (method, _) = attach(AdapterConfig::PromptLearning(config), model.base(), 0).unwrap();
        // The text, repeated to four tokens and spelled out: Gemma's scale is in the rows.
        let spelled = Input::from_sequences(&[&[7, 3, 11, 7, 20, 21, 22]]).unwrap();
        let tokens = Input::from_sequences(&[&[20, 21, 22]]).unwrap();
        assert_eq!(logits(&model, &tokens, &pass(&method)), logits(&model, &spelled, &Pass::base()), "{variant}");
    }
    let model = decoder("peft/base-llama");
    let sampled = prompt(PromptTuning { prompt_tuning_init: PromptTuningInit::SampleVocab, ..PromptTuning::default() });
    let rows = |seed| {
        let config = AdapterConfig::PromptLearning(sampled.clone());
        attach(config, model.base(), seed).unwrap().0.parameters().tensors().next().unwrap().to_vec()
    };
    let table = model.base().parameter(model.base().modules().iter().next().unwrap().weight).unwrap().to_vec();
    assert!(rows(1).chunks(32).all(|row| table.chunks(32).any(|token| token == row)));
    assert_ne!(rows(1), rows(2));
}

#[test]
fn a_prefix_starts_as_a_text_that_was_read_before() {
    for variant in cases("families", "config.json") {
        let model = decoder(&format!("families/{variant}"));
        let config = PromptLearningConfig::new(3, PromptMethod::PrefixTuning(PrefixTuning::default()));
        let (prefix, _) = PromptLearning::new(config, model.base(), 0).unwrap();
        prefix.start_from_keys_and_values(&model.keys_and_values(&[7, 3, 11]).unwrap()).unwrap();
        let method: Arc<dyn Method> = Arc::new(prefix);
        let whole = logits(&model, &Input::from_sequences(&[&[7, 3, 11, 20, 21, 22]]).unwrap(), &Pass::base());
        let after = logits(&model, &Input::from_sequences(&[&[20, 21, 22]]).unwrap(), &pass(&method));
        // Frequencies that depend on the length were those of the short text when its keys were rotated.
        if variant != "phi3-longrope" && variant != "llama-rope-dynamic" {
            assert_close(&variant, &after, &whole[whole.len() - after.len()..], SAME);
        }
    }
    let model = decoder("peft/base-llama");
    let refuse = |method, blocks: usize| {
        let (prompt, _) = PromptLearning::new(PromptLearningConfig::new(3, method), model.base(), 0).unwrap();
        let all = model.keys_and_values(&[7, 3, 11]).unwrap();
        prompt.start_from_keys_and_values(&all[..blocks]).unwrap_err().to_string()
    };
    assert!(refuse(PromptMethod::PrefixTuning(PrefixTuning::default()), 1).contains("2 blocks of 3 tokens"));
    let projected = PrefixTuning { prefix_projection: true, ..PrefixTuning::default() };
    assert!(refuse(PromptMethod::PrefixTuning(projected), 2).contains("prefix_projection = false"));
    assert!(refuse(PromptMethod::PromptTuning(PromptTuning::default()), 2).contains("only prefix tuning"));
}

#[test]
fn starting_values_follow_their_distributions() {
    let model = decoder("peft/base-llama");
    let built = |method| {
        let config = AdapterConfig::PromptLearning(PromptLearningConfig::new(50, method));
        attach(config, model.base(), 3).unwrap().0
    };
    let variance = |values: &[f32]| values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64;
    let method = built(PromptMethod::PTuning(PTuning { encoder_hidden_size: Some(100), ..PTuning::default() }));
    let of = |name: &str| method.parameters().get(&format!("prompt_encoder.{name}")).unwrap().to_vec();
    // 1600 standard normal values: five standard errors of their variance are 18 %.
    assert!((variance(&of("embedding.weight")) - 1.0).abs() <= 0.18);
    // Uniform in +-1/sqrt(32): 3200 values, five standard errors are 8 %.
    let weight = of("mlp_head.0.weight");
    assert!(weight.iter().all(|w| w.abs() <= 1.0 / 32f32.sqrt()));
    assert!((variance(&weight) * 3.0 * 32.0 - 1.0).abs() <= 0.08);
    assert!(
        of("mlp_head.2.bias").iter().all(|w| w.abs() <= 0.1) && of("mlp_head.2.bias").iter().any(|w| w.abs() > 0.05)
    );
    let zero = PrefixTuning { init_weights: Some(InitWeights::Zero), ..PrefixTuning::default() };
    assert!(
        built(PromptMethod::PrefixTuning(zero)).parameters().tensors().all(|t| t.to_vec().iter().all(|&v| v == 0.0))
    );
}

#[test]
fn what_does_not_fit_is_named() {
    let model = decoder("peft/base-llama");
    let refuse = |config: PromptLearningConfig| {
        attach(AdapterConfig::PromptLearning(config), model.base(), 0).err().expect("must be refused").to_string()
    };
    let other = PromptLearningConfig { token_dim: Some(64), ..prompt(PromptTuning::default()) };
    assert_eq!(refuse(other), "`token_dim`: is 64, but 32 for this base model; the adapter belongs to another");
    let none = PromptLearningConfig { num_virtual_tokens: 0, ..prompt(PromptTuning::default()) };
    assert!(refuse(none).contains("`num_virtual_tokens`: must be at least 1"));
    let saved =
        PromptLearningConfig { modules_to_save: Some(vec!["score".to_owned()]), ..prompt(PromptTuning::default()) };
    assert!(refuse(saved).contains("`modules_to_save` names `score`"));
    let embedding = PromptLearningConfig {
        modules_to_save: Some(vec!["embed_tokens".to_owned()]),
        ..prompt(PromptTuning::default())
    };
    assert!(refuse(embedding).contains("`modules_to_save`: PEFT leaves `model.embed_tokens` as it is under a prompt"));
    let text = PromptTuning { prompt_tuning_init: PromptTuningInit::Text, ..PromptTuning::default() };
    assert!(refuse(prompt(text)).contains("`prompt_tuning_init_text`: the text has no tokens"));
    let dropout = PTuning {
        encoder_reparameterization_type: EncoderReparameterization::Lstm,
        encoder_dropout: 0.1,
        ..PTuning::default()
    };
    assert!(refuse(PromptLearningConfig::new(2, PromptMethod::PTuning(dropout))).contains("`encoder_dropout`"));
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

/// A method of every kind.
fn methods() -> impl Strategy<Value = PromptMethod> {
    let hidden = || prop::option::of(1usize..20);
    let zero = prop::option::of(Just(InitWeights::Zero));
    prop_oneof![
        Just(PromptMethod::PromptTuning(PromptTuning::default())),
        (any::<bool>(), hidden(), zero).prop_map(|(prefix_projection, encoder_hidden_size, init_weights)| {
            PromptMethod::PrefixTuning(PrefixTuning { prefix_projection, encoder_hidden_size, init_weights })
        }),
        (any::<bool>(), hidden(), 1usize..4).prop_map(|(lstm, encoder_hidden_size, encoder_num_layers)| {
            let kinds = [EncoderReparameterization::Mlp, EncoderReparameterization::Lstm];
            PromptMethod::PTuning(PTuning {
                encoder_reparameterization_type: kinds[usize::from(lstm)],
                encoder_hidden_size,
                encoder_num_layers,
                encoder_dropout: 0.0,
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn planned_packed_recomputed_saved_and_cached_alike(
        method in methods(),
        num_virtual_tokens in 1usize..7,
        family in prop::sample::select(vec!["peft/base-llama", "peft/base-qwen2", "peft/base-gpt2", "families/gemma3_text"]),
    ) {
        let model = decoder(family);
        let base = model.base();
        let config = AdapterConfig::PromptLearning(PromptLearningConfig::new(num_virtual_tokens, method));
        let planned = trainable(&config, base.dimensions(), base.modules()).unwrap();
        let (method, _) = attach(config, base, 5).unwrap();
        let made: Vec<_> = method.parameters().iter().map(|(name, leaf)| (name.to_owned(), leaf.shape().into())).collect();
        prop_assert_eq!(planned, made);

        let batch = small_batch(method.prompt_len());
        let losses = train(&model, &batch, &method, 2);
        prop_assert!(losses[1][0].is_finite());
        let all = logits(&model, &batch.input, &pass(&method));
        let alone = |ids: &[u32]| logits(&model, &Input::from_sequences(&[ids]).unwrap(), &pass(&method));
        let (a, b) = ([3, 17, 5, 40, 8, 21], [9, 9, 30]);
        assert_close("packed", &[alone(&a), alone(&b)].concat(), &all, SAME);

        let (_, kept) = loss_and_gradients(&model, &batch, &method, &pass(&method));
        let checkpointed = Pass { gradient_checkpointing: true, ..pass(&method) };
        let (_, again) = loss_and_gradients(&model, &batch, &method, &checkpointed);
        prop_assert_eq!(kept.flat().unwrap(), again.flat().unwrap());

        let dir = tempfile::tempdir().unwrap();
        save(&*method, &Storage, dir.path()).unwrap();
        let (opened, warnings) = open(dir.path(), base).unwrap();
        prop_assert!(warnings.len() <= 1, "{warnings:?}");
        prop_assert_eq!(opened.config_text(), method.config_text());
        prop_assert_eq!(logits(&model, &batch.input, &pass(&opened)), all);

        let whole = alone(&a);
        let mut cache = model.new_cache().unwrap();
        let mut cached = Vec::new();
        for part in [&a[..2], &a[2..3], &a[3..]] {
            let hidden = model.forward_cached(&mut cache, part, &pass(&method)).unwrap();
            cached.extend(no_grad(|| model.logits(&hidden, &pass(&method))).unwrap().to_vec());
        }
        assert_close("cached", &cached, &whole[whole.len() - cached.len()..], SAME);
    }
}
