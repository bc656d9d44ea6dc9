//! Bottleneck adapters: against what AdapterHub computed and saved, and what holds for every model.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{SafetensorsFile, Storage};
use model::{Decoder, Dropout, Input, Pass};
use support::adapterhub::Recorded;
use support::network::{Network, logits_of};
use support::{
    Batch, assert_close, batch, by_key, cases, data, decoder, floats, logits, loss_and_gradients, merge_into, pass,
    train,
};
use tunesmith_peft::bottleneck::{BottleneckConfig, Init, ReductionFactor, ResidualBeforeLn};
use tunesmith_peft::{AdapterConfig, Method, PeftError, attach, open, save};

/// Both sides compute in f32 and differ in the order of sums; logits and gradients here are sums of at most a few hundred
/// terms, each rounded to 6e-8.
const SAME: f32 = 1e-5;
/// Three steps on, differences have gone through AdamW, which divides every gradient by its own size, the small ones with
/// the large relative errors too: those of Compacter's rule nearly cancel.
const AFTER_TRAINING: f32 = 5e-3;

struct Case {
    folder: PathBuf,
    network: Box<dyn Network>,
    io: SafetensorsFile,
    batch: Batch,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        cases("adapterhub", "adapter_config.json").into_iter().map(|name| Self::read(&name))
    }

    fn read(name: &str) -> Self {
        let Recorded { folder, network, io, batch } = Recorded::open("adapterhub", name);
        Self { network, folder, io, batch }
    }

    /// The adapters that the case's configuration asks for, with the values that AdapterHub started from.
    fn start(&self) -> Arc<dyn Method> {
        let path = self.folder.join("adapter_config.json");
        let (config, warnings) = AdapterConfig::read(&path, &std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (method, warnings) = attach(config, self.network.base(), 1).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let init = SafetensorsFile::open(self.folder.join("trainable_init.safetensors")).unwrap();
        for (index, (name, _)) in method.parameters().iter().enumerate() {
            method.parameters().set(index, &floats(&init, name)).unwrap();
        }
        assert_eq!(method.parameters().iter().count(), init.len(), "{}", self.what(""));
        method
    }

    /// Recorded logits of the rows that are no padding.
    fn expected_logits(&self, name: &str) -> Vec<f32> {
        let mut logits = floats(&self.io, name);
        logits.truncate(self.batch.targets.len() * self.network.base().dimensions().vocab_size);
        logits
    }

    fn logits(&self, pass: &Pass) -> Vec<f32> {
        logits_of(&*self.network, &self.batch, pass)
    }

    fn what(&self, of: &str) -> String {
        format!("{} {of}", self.folder.file_name().unwrap().display())
    }
}

#[test]
fn logits_loss_and_gradients_at_the_start() {
    for case in Case::all() {
        let method = case.start();
        assert_close(&case.what("logits"), &case.logits(&pass(&method)), &case.expected_logits("logits_init"), SAME);
        let (loss, gradients) = loss_and_gradients(&*case.network, &case.batch, &method, &pass(&method));
        assert_close(&case.what("loss"), &[loss], &floats(&case.io, "loss_init"), SAME);
        for (key, leaf) in method.parameters().iter() {
            let expected = floats(&case.io, &format!("grad.{key}"));
            assert_close(&case.what(key), gradients.of(leaf).unwrap(), &expected, SAME);
        }
    }
}

#[test]
fn three_steps_of_adamw() {
    for case in Case::all() {
        let method = case.start();
        let losses: Vec<f32> =
            serde_json::from_str(&std::fs::read_to_string(case.folder.join("losses.json")).unwrap()).unwrap();
        let got: Vec<f32> = train(&*case.network, &case.batch, &method, 3).iter().map(|[loss, _]| *loss).collect();
        assert_close(&case.what("losses"), &got, &losses, SAME);
        let files = ["adapter.safetensors", "model_head.safetensors"].map(|file| case.folder.join(file));
        let files = files.iter().filter(|path| path.exists()).map(|path| SafetensorsFile::open(path).unwrap());
        let mut compared = 0;
        for file in files {
            for (key, leaf) in method.parameters().iter().filter(|(key, _)| file.contains(key)) {
                assert_close(&case.what(key), &leaf.to_vec(), &floats(&file, key), AFTER_TRAINING);
                compared += 1;
            }
        }
        // AdapterHub loses the rule that T5's layers share.
        let lost = usize::from(case.what("").starts_with("t5-compacter"));
        assert_eq!(compared + lost, method.parameters().iter().count(), "{}", case.what(""));
    }
}

#[test]
fn an_adapter_of_adapterhub_is_loaded_and_saved_byte_for_byte() {
    for case in Case::all() {
        let out = tempfile::tempdir().unwrap();
        if case.what("").starts_with("t5-compacter") {
            let error = open(&case.folder, case.network.base()).err().expect("must be refused");
            assert!(matches!(&error, PeftError::NoSharedRule { key, .. } if key == "shared_parameters.tiny.phm_rule"));
            continue;
        }
        let (method, warnings) = open(&case.folder, case.network.base()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let (got, expected) = (case.logits(&pass(&method)), case.expected_logits("logits_final"));
        assert_close(&case.what("reloaded"), &got, &expected, SAME);
        save(&*method, &Storage, out.path()).unwrap();
        for file in ["adapter.safetensors", "adapter_config.json", "model_head.safetensors"] {
            let read = |dir: &Path| std::fs::read(dir.join(file)).ok();
            assert_eq!(read(out.path()), read(&case.folder), "{}", case.what(file));
        }
    }
}

#[test]
fn a_head_that_was_not_saved_is_told() {
    let case = Case::read("bert-seq_bn");
    let dir = tempfile::tempdir().unwrap();
    for file in ["adapter.safetensors", "adapter_config.json"] {
        std::fs::copy(case.folder.join(file), dir.path().join(file)).unwrap();
    }
    let (_, warnings) = open(dir.path(), case.network.base()).unwrap();
    assert!(warnings[0].ends_with("there is no model_head.safetensors; the head of the base is used"), "{warnings:?}");
}

/// AdapterHub's configuration of this name with the factor that suits tiny models of 32 elements.
fn preset(name: &str) -> BottleneckConfig {
    BottleneckConfig { reduction_factor: ReductionFactor::Same(4.0), ..BottleneckConfig::preset(name).unwrap() }
}

fn attached(config: BottleneckConfig, base: &Decoder) -> Arc<dyn Method> {
    let (method, warnings) = attach(AdapterConfig::Bottleneck(config), base.base(), 7).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    method
}

/// Adapters with an effect: no parameter of theirs is zero.
fn stirred(config: BottleneckConfig, base: &Decoder) -> Arc<dyn Method> {
    let method = attached(config, base);
    for (index, leaf) in method.parameters().tensors().enumerate() {
        let values: Vec<f32> = (0..leaf.count()).map(|i| ((i * 7 + index * 5) % 11) as f32 / 20.0 - 0.27).collect();
        method.parameters().set(index, &values).unwrap();
    }
    method
}

#[test]
fn an_adapter_that_starts_at_zero_changes_nothing() {
    for variant in cases("families", "config.json") {
        let base = decoder(&format!("families/{variant}"));
        let parallel = attached(preset("par_bn"), &base);
        let sequential = attached(BottleneckConfig { init_weights: Init::MamAdapter, ..preset("houlsby") }, &base);
        let input = batch().input;
        let expected = logits(&base, &input, &Pass::base());
        assert_eq!(logits(&base, &input, &pass(&parallel)), expected, "{variant}");
        assert_eq!(logits(&base, &input, &pass(&sequential)), expected, "{variant}");
    }
}

#[test]
fn every_preset_trains_on_every_family_and_survives_saving() {
    for variant in ["llama", "gemma2", "gpt_neox", "gpt2", "qwen3"] {
        let base = decoder(&format!("families/{variant}"));
        for name in BottleneckConfig::PRESETS {
            let reduction_factor = ReductionFactor::Same(base.base().dimensions().hidden_size as f64 / 8.0);
            let method = stirred(BottleneckConfig { reduction_factor, ..preset(name) }, &base);
            let (_, gradients) = loss_and_gradients(&base, &batch(), &method, &pass(&method));
            for (key, gradient) in by_key(&method, |leaf| gradients.of(leaf).unwrap().to_vec()) {
                assert!(gradient.iter().any(|g| *g != 0.0), "{variant} {key}");
            }
            let losses = train(&base, &batch(), &method, 3);
            assert!(losses[2][0] < losses[0][0], "{variant} {name}: {losses:?}");

            let out = tempfile::tempdir().unwrap();
            save(&*method, &Storage, out.path()).unwrap();
            let (again, _) = open(out.path(), base.base()).unwrap();
            let computed = |method| logits(&base, &batch().input, &pass(method));
            assert_eq!(computed(&again), computed(&method), "{variant} {name}");
            assert_eq!(again.config_text(), method.config_text());
        }
    }
}

#[test]
fn dropout_is_a_function_of_seed_and_step_and_survives_recomputation() {
    let base = decoder("peft/base-llama");
    for ln_after in [false, true] {
        let config = BottleneckConfig { dropout: 0.5, ln_after, ..preset("double_seq_bn") };
        let method = stirred(config.clone(), &base);
        let gradient = |seed, step, gradient_checkpointing| {
            let pass = Pass { dropout: Some(Dropout { seed, step }), gradient_checkpointing, ..pass(&method) };
            let (loss, gradients) = loss_and_gradients(&base, &batch(), &method, &pass);
            (loss, gradients.flat().unwrap().to_vec())
        };
        assert_eq!(gradient(1, 1, false), gradient(1, 1, true));
        assert_ne!(gradient(1, 1, false).0, gradient(1, 2, false).0);
        let (evaluated, _) = loss_and_gradients(&base, &batch(), &method, &pass(&method));
        let undropped = stirred(BottleneckConfig { dropout: 0.0, ..config }, &base);
        assert_eq!(evaluated, loss_and_gradients(&base, &batch(), &undropped, &pass(&undropped)).0);
    }
}

#[test]
fn sequences_do_not_see_each_other() {
    let base = decoder("peft/base-gpt2");
    for name in BottleneckConfig::PRESETS {
        let method = stirred(preset(name), &base);
        let together = logits(&base, &batch().input, &pass(&method));
        let alone = |ids: &[u32]| logits(&base, &Input::from_sequences(&[ids]).unwrap(), &pass(&method));
        let apart = [alone(&[3, 17, 5, 40, 8, 21]), alone(&[9, 9, 30])].concat();
        // Products of other heights are summed in another order.
        assert_close(name, &together, &apart, SAME);
    }
}

#[test]
fn an_adapter_cannot_be_merged_and_says_what_can() {
    let base = decoder("peft/base-llama");
    let out = tempfile::tempdir().unwrap();
    let error = merge_into(&*attached(preset("seq_bn"), &base), &base, out.path()).unwrap_err();
    assert!(matches!(error, PeftError::Unmergeable { .. }), "{error}");
    assert!(
        error.to_string().contains("`default` cannot be merged: a bottleneck adapter has an activation"),
        "{error}"
    );
}

#[test]
fn starting_values_are_those_of_the_configuration() {
    let base = decoder("peft/base-llama");
    let deviation = |values: &[f32]| (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
    let values = |config: BottleneckConfig| by_key(&attached(config, &base), |leaf| leaf.to_vec());
    let bert = values(preset("seq_bn"));
    assert_eq!(bert[0].0, "model.layers.0.output_adapters.adapters.default.adapter_down.0.weight");
    // 256 values: +-22 % are five standard errors.
    assert!((deviation(&bert[0].1) / 0.02 - 1.0).abs() <= 0.22 && (deviation(&bert[2].1) / 0.02 - 1.0).abs() <= 0.22);
    assert!(bert[1].1.iter().chain(&bert[3].1).all(|&bias| bias == 0.0));
    let mam = values(preset("par_bn"));
    let bound = 1.0 / 32f32.sqrt();
    assert!(mam[0].1.iter().all(|w| w.abs() <= bound) && mam[0].1.iter().any(|w| w.abs() > 0.9 * bound));
    assert!(mam[2].1.iter().all(|&w| w == 0.0));
    let houlsby = values(BottleneckConfig { init_weights: Init::Houlsby, ..preset("seq_bn") });
    assert!(houlsby[0].1.iter().chain(&houlsby[2].1).all(|w| w.abs() <= 0.02 && *w != 0.0));
    let compacter = values(preset("compacter"));
    assert_eq!(compacter[0].0, "model.shared_parameters.default.phm_rule");
    // 64 values: +-44 % are five standard errors. The factors' deviation is sqrt(2 / (8 + 1)).
    assert!((deviation(&compacter[0].1) / 1e-4 - 1.0).abs() <= 0.44);
    assert!((deviation(&compacter[1].1) / 0.4714 - 1.0).abs() <= 0.63);
}

#[test]
fn what_a_model_cannot_have_is_named() {
    let base = decoder("peft/base-llama");
    let refusal = |config| attach(AdapterConfig::Bottleneck(config), base.base(), 0).err().expect("must be refused");
    let error = |config| refusal(config).to_string();
    let seq_bn = || preset("seq_bn");
    let nowhere = error(BottleneckConfig { leave_out: vec![0, 1], ..seq_bn() });
    assert!(nowhere.contains("no layer of this model gets an adapter"), "{nowhere}");
    let factor = |factor| BottleneckConfig { reduction_factor: ReductionFactor::Same(factor), ..seq_bn() };
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
        assert!(matches!(refusal(factor(wrong)), PeftError::Setting { key: "reduction_factor", .. }), "{wrong}");
    }
    let by_layer = ReductionFactor::ByLayer([("0".to_owned(), 4.0)].into());
    let missing = error(BottleneckConfig { reduction_factor: by_layer, ..seq_bn() });
    assert_eq!(missing, "`reduction_factor`: names neither layer 1 nor a default");
    let odd = error(BottleneckConfig { reduction_factor: ReductionFactor::Same(5.0), ..preset("compacter") });
    assert_eq!(odd, "`reduction_factor`: 5 makes 6 of 32; `phm_dim` 4 has to divide both");
    let activation = error(BottleneckConfig { non_linearity: "relux".to_owned(), ..seq_bn() });
    assert!(activation.starts_with("`non_linearity`: ") && activation.contains("relux"), "{activation}");
    let post_add =
        BottleneckConfig { original_ln_before: false, residual_before_ln: ResidualBeforeLn::PostAdd, ..seq_bn() };
    assert!(matches!(refusal(post_add), PeftError::Setting { key: "residual_before_ln", .. }));
    let dotted = BottleneckConfig { name: "a.b".to_owned(), ..seq_bn() };
    assert!(matches!(refusal(dotted), PeftError::Setting { key: "name", .. }));
    let mam = BottleneckConfig { init_weights: Init::MamAdapter, ..preset("compacter") };
    assert!(matches!(refusal(mam), PeftError::Setting { key: "init_weights", .. }));
    let far = BottleneckConfig { leave_out: vec![7], ..seq_bn() };
    let (_, warnings) = attach(AdapterConfig::Bottleneck(far), base.base(), 0).unwrap();
    assert_eq!(warnings, ["`leave_out` names layer 7 of 2, counted from 0"]);
}

#[test]
fn what_a_file_asks_for_beyond_is_refused_by_name() {
    let case = data("adapterhub/gpt2-compacter");
    let text = std::fs::read_to_string(case.join("adapter_config.json")).unwrap();
    let path = Path::new("adapter_config.json");
    let error = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        AdapterConfig::read(path, &text.replace(from, to)).unwrap_err().to_string()
    };
    let unsupported = error("\"use_gating\": false", "\"use_gating\": true");
    assert!(unsupported.contains("`use_gating` is `true`, which is not supported"), "{unsupported}");
    let inverted = error("\"inv_adapter\": null", "\"inv_adapter\": \"nice\"");
    assert!(inverted.contains("`inv_adapter`"), "{inverted}");
    let learned = error("\"scaling\": 1.0", "\"scaling\": \"learned\"");
    assert!(learned.contains("`scaling`: expected a number, got \"learned\""), "{learned}");
    let rule = error("\"learn_phm\": true", "\"learn_phm\": false");
    assert!(rule.contains("`learn_phm`: expected true"), "{rule}");
    let depth = error("\"stochastic_depth\": 0.0", "\"stochastic_depth\": 0.5");
    assert!(depth.contains("`stochastic_depth`: expected 0"), "{depth}");
    let other = error("\"adapter_residual_before_ln\"", "\"architecture\": \"lora\", \"adapter_residual_before_ln\"");
    assert!(other.contains("`architecture`: `lora` is not supported"), "{other}");
    let missing = error("\"non_linearity\": \"gelu\",", "");
    assert!(missing.contains("`non_linearity`: is missing"), "{missing}");
    let unknown = text.replace("\"use_gating\": false", "\"use_gating\": false, \"new_key\": 3");
    let (_, warnings) = AdapterConfig::read(path, &unknown).unwrap();
    assert_eq!(warnings, ["adapter_config.json: `new_key` is unknown and ignored"]);
}

#[test]
fn a_pickle_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let config = data("adapterhub/gpt2-seq_bn/adapter_config.json");
    std::fs::copy(config, dir.path().join("adapter_config.json")).unwrap();
    std::fs::write(dir.path().join("pytorch_adapter.bin"), b"\x80\x02}").unwrap();
    let error = open(dir.path(), decoder("peft/base-gpt2").base()).err().expect("must be refused").to_string();
    assert!(error.contains("pytorch_adapter.bin is a pickle") && error.contains("use_safetensors=True"), "{error}");
}
