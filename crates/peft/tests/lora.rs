//! What holds for LoRA, whatever its configuration, and for training in full. What holds for every method is in `laws.rs`.

mod support;

use std::sync::Arc;

use checkpoint::{
    CheckpointError, Dtype, MappedTensor, SafetensorsFile, Storage, TensorSpec, sha256_file, write_safetensors,
};
use device::DType;
use model::{Decoder, Dropout, Pass};
use proptest::prelude::*;
use support::kept::assert_kept;
use support::laws::SAME;
use support::{assert_close, batch, by_key, cases, data, decoder, logits, loss_and_gradients, merge_into, pass, train};
use tunesmith_peft::lora::{Bias, InitLoraWeights, Lora, LoraConfig, trainable};
use tunesmith_peft::{AdapterConfig, Full, Method, ModuleNames, OneOrMany, PeftError, attach, load, open, save};

fn names(list: &[&str]) -> Option<ModuleNames> {
    Some(ModuleNames::List(list.iter().map(|&name| name.to_owned()).collect()))
}

fn lora(config: LoraConfig, model: &Decoder) -> Arc<dyn Method> {
    attach(AdapterConfig::Lora(config), model.base(), 7).unwrap().0
}

/// An adapter with an effect from the start.
fn random(targets: Option<ModuleNames>) -> LoraConfig {
    LoraConfig { r: 3, target_modules: targets, init_lora_weights: InitLoraWeights::Random, ..LoraConfig::default() }
}

fn all_linear() -> Option<ModuleNames> {
    Some(ModuleNames::Pattern("all-linear".to_owned()))
}

#[test]
fn a_new_adapter_changes_nothing() {
    for variant in cases("families", "config.json") {
        let model = decoder(&format!("families/{variant}"));
        let config = LoraConfig { target_modules: all_linear(), ..LoraConfig::default() };
        let input = batch().input;
        assert_eq!(
            logits(&model, &input, &pass(&lora(config, &model))),
            logits(&model, &input, &Pass::base()),
            "{variant}"
        );
    }
}

#[test]
fn every_parameter_gets_a_gradient_and_the_base_file_stays() {
    for family in ["llama", "gpt2", "qwen2"] {
        let folder = format!("peft/base-{family}");
        let file = data(&folder).join("model.safetensors");
        let before = sha256_file(&file).unwrap();
        let model = decoder(&folder);
        let embedding = if family == "gpt2" { "wte" } else { "embed_tokens" };
        let targets = ["c_attn", "c_fc", "q_proj", "v_proj", "down_proj", "lm_head", embedding];
        let mut config = LoraConfig { bias: Bias::All, ..random(names(&targets)) };
        config.modules_to_save = Some(vec![if family == "gpt2" { "ln_f".to_owned() } else { "up_proj".to_owned() }]);
        let method = lora(config, &model);
        let (_, gradients) = loss_and_gradients(&model, &batch(), &method, &pass(&method));
        for (key, gradient) in by_key(&method, |leaf| gradients.of(leaf).unwrap().to_vec()) {
            // A bias of the keys moves all scores of a query alike, so the softmax takes it out: its gradient is zero.
            if !key.ends_with("k_proj.bias") {
                assert!(gradient.iter().any(|g| *g != 0.0), "{family} {key}");
            }
        }
        let losses = train(&model, &batch(), &method, 3);
        assert!(losses[2][0] < losses[0][0]);
        assert_eq!(sha256_file(&file).unwrap(), before);
    }
}

#[test]
fn dropout_is_a_function_of_seed_and_step_and_survives_recomputation() {
    for use_dora in [false, true] {
        check_dropout(LoraConfig { use_dora, ..random(all_linear()) });
    }
}

fn check_dropout(undropped: LoraConfig) {
    let model = decoder("peft/base-llama");
    let config = LoraConfig { lora_dropout: 0.5, ..undropped.clone() };
    let method = lora(config, &model);
    let gradient = |seed, step, gradient_checkpointing| {
        let pass = Pass { dropout: Some(Dropout { seed, step }), gradient_checkpointing, ..pass(&method) };
        let (loss, gradients) = loss_and_gradients(&model, &batch(), &method, &pass);
        (loss, gradients.flat().unwrap().to_vec())
    };
    assert_eq!(gradient(1, 1, false), gradient(1, 1, true));
    assert_ne!(gradient(1, 1, false).0, gradient(1, 2, false).0);
    assert_ne!(gradient(1, 1, false).0, gradient(2, 1, false).0);
    let (evaluated, _) = loss_and_gradients(&model, &batch(), &method, &pass(&method));
    let undropped = lora(undropped, &model);
    assert_eq!(evaluated, loss_and_gradients(&model, &batch(), &undropped, &pass(&undropped)).0);
}

#[test]
fn norms_start_as_those_of_the_weights() {
    for family in ["llama", "qwen2", "gpt2"] {
        let model = decoder(&format!("peft/base-{family}"));
        for init_lora_weights in [InitLoraWeights::Default, InitLoraWeights::Random] {
            let embedding = if family == "gpt2" { "wte" } else { "embed_tokens" };
            let targets = names(&["q_proj", "down_proj", "c_attn", "mlp.c_proj", embedding]);
            let config = LoraConfig { init_lora_weights, ..random(targets) };
            let plain = lora(config.clone(), &model);
            let dora = lora(LoraConfig { use_dora: true, ..config }, &model);
            for (index, (name, _)) in plain.parameters().iter().enumerate() {
                plain.parameters().set(index, &dora.parameters().get(name).unwrap().to_vec()).unwrap();
            }
            let plain = logits(&model, &batch().input, &pass(&plain));
            // Factors are 1 up to the rounding of a norm.
            assert_close(family, &logits(&model, &batch().input, &pass(&dora)), &plain, SAME);
            let half = dora.parameters().iter().filter(|(name, _)| name.ends_with("magnitude_vector")).count();
            assert_eq!(half, dora.parameters().iter().len() / 3);
        }
    }
}

#[test]
fn an_adapter_that_starts_as_a_part_of_the_base_is_saved_as_what_it_adds() {
    for (family, target) in [("llama", "down_proj"), ("qwen2", "q_proj"), ("gpt2", "c_attn")] {
        let folder = format!("peft/base-{family}");
        let model = decoder(&folder);
        let base = logits(&model, &batch().input, &Pass::base());
        for (init, use_rslora) in [("pissa", false), ("pissa_niter_3", true), ("olora", true), ("orthogonal", false)] {
            let init_lora_weights = InitLoraWeights::try_from(serde_json::json!(init)).unwrap();
            let config = LoraConfig {
                init_lora_weights,
                use_rslora,
                lora_alpha: 3.0,
                rank_pattern: vec![(r".*\.1\..*".to_owned(), 2)],
                ..random(names(&[target]))
            };
            let method = lora(LoraConfig { r: 4, ..config }, &model);
            let start = by_key_of_parameters(&method);
            assert!(start.iter().all(|(_, values)| values.iter().any(|v| *v != 0.0)), "{family} {init}");
            // What was taken out and what was put in its place cancel up to rounding.
            assert_close(init, &logits(&model, &batch().input, &pass(&method)), &base, SAME);
            let losses = train(&model, &batch(), &method, 3);
            assert!(losses[2][0] < losses[0][0], "{family} {init} {losses:?}");
            let adapted = logits(&model, &batch().input, &pass(&method));

            let dir = tempfile::tempdir().unwrap();
            save(&*method, &Storage, dir.path()).unwrap();
            let (opened, warnings) = open(dir.path(), model.base()).unwrap();
            assert!(warnings.is_empty(), "{warnings:?}");
            assert_close(init, &logits(&model, &batch().input, &pass(&opened)), &adapted, SAME);
            let ranks = |layer: &str| {
                let leaf = opened.parameters().iter().find(|(name, _)| name.contains(layer) && name.contains("lora_A"));
                leaf.unwrap().1.shape()[0]
            };
            let doubled = if init == "orthogonal" { 1 } else { 2 };
            assert_eq!([ranks(".0."), ranks(".1.")], [4 * doubled, 2 * doubled], "{family} {init}");

            std::fs::copy(data(&folder).join("config.json"), dir.path().join("config.json")).unwrap();
            merge_into(&*method, &model, dir.path()).unwrap();
            let merged = Decoder::load(dir.path(), DType::F32).unwrap();
            assert_close(init, &logits(&merged, &batch().input, &Pass::base()), &adapted, SAME);
        }
    }
    let wide = LoraConfig {
        r: 17,
        init_lora_weights: InitLoraWeights::Olora,
        target_modules: names(&["v_proj"]),
        ..LoraConfig::default()
    };
    let error = attach(AdapterConfig::Lora(wide), decoder("peft/base-llama").base(), 1).err().unwrap().to_string();
    assert_eq!(error, "`r`: 17 of model.layers.0.self_attn.v_proj is more than its weight has, 16");
}

/// Names and values of all parameters.
fn by_key_of_parameters(method: &Arc<dyn Method>) -> Vec<(String, Vec<f32>)> {
    method.parameters().iter().map(|(name, leaf)| (name.to_owned(), leaf.to_vec())).collect()
}

#[test]
fn starting_values_follow_the_seed() {
    let model = decoder("peft/base-llama");
    let values = |init, seed| {
        let config = LoraConfig { init_lora_weights: init, ..LoraConfig::default() };
        by_key(&attach(AdapterConfig::Lora(config), model.base(), seed).unwrap().0, |leaf| leaf.to_vec())
    };
    let default = values(InitLoraWeights::Default, 1);
    assert_eq!(default, values(InitLoraWeights::Default, 1));
    assert_ne!(default, values(InitLoraWeights::Default, 2));
    // U(-1/sqrt(32), 1/sqrt(32)), and another draw for each module.
    let bound = 1.0 / 32f32.sqrt();
    assert!(default[0].1.iter().all(|a| a.abs() <= bound) && default[0].1.iter().any(|a| a.abs() > 0.9 * bound));
    assert_ne!(default[0].1, default[2].1);
    assert!(default[1].1.iter().all(|&b| b == 0.0));
    // N(0, 1/r) with r = 8: 256 values have a standard deviation of 0.125, +-22 % being five standard errors.
    let gaussian = &values(InitLoraWeights::Gaussian, 1)[0].1;
    let deviation = (gaussian.iter().map(|a| a * a).sum::<f32>() / gaussian.len() as f32).sqrt();
    assert!((deviation - 0.125).abs() <= 0.028, "{deviation}");
}

#[test]
fn weights_without_a_direction_are_refused_for_dora() {
    // As a padding row of a tied head is.
    let base = data("peft/base-llama");
    let file = SafetensorsFile::open(base.join("model.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(base.join("config.json"), dir.path().join("config.json")).unwrap();
    let spec = |t: MappedTensor| TensorSpec { name: t.name().to_owned(), dtype: t.dtype(), shape: t.shape().to_vec() };
    let specs: Vec<TensorSpec> = file.tensors().map(spec).collect();
    write_safetensors::<CheckpointError>(&Storage, &dir.path().join("model.safetensors"), &specs, &[], |spec| {
        let mut bytes = file.get(&spec.name).unwrap().bytes().to_vec();
        if spec.name == "lm_head.weight" {
            let row = bytes.len() / spec.shape[0];
            bytes[2 * row..3 * row].fill(0);
        }
        Ok(bytes.into())
    })
    .unwrap();
    let model = Decoder::load(dir.path(), DType::F32).unwrap();
    let config = LoraConfig { use_dora: true, target_modules: names(&["lm_head"]), ..LoraConfig::default() };
    let error = Lora::new(config, model.base(), 0).err().expect("must be refused").to_string();
    assert!(error.starts_with("`use_dora`: the weights of output 2 of `lm_head` are all zero"), "{error}");
}

#[test]
fn what_cannot_be_adapted_is_named() {
    let model = decoder("peft/base-llama");
    let refusal = |config: LoraConfig| Lora::new(config, model.base(), 0).err().expect("must be refused");
    let targets = |list: &[&str]| LoraConfig { target_modules: names(list), ..LoraConfig::default() };
    assert!(matches!(refusal(LoraConfig { r: 0, ..LoraConfig::default() }), PeftError::Setting { key: "r", .. }));
    assert!(matches!(refusal(targets(&["query"])), PeftError::NoTargets { .. }));
    let error = refusal(targets(&["input_layernorm"])).to_string();
    assert!(error.contains("input_layernorm`, which is a norm"), "{error}");
    let embedding = LoraConfig { lora_bias: true, ..targets(&["embed_tokens"]) };
    assert!(matches!(refusal(embedding), PeftError::UnsupportedTarget { .. }));
    let saved = LoraConfig { modules_to_save: Some(vec!["score".to_owned()]), ..LoraConfig::default() };
    assert!(matches!(refusal(saved), PeftError::NoModuleToSave { name } if name == "score"));
    let (_, warnings) = Lora::new(targets(&["q_proj", "c_attn"]), model.base(), 0).unwrap();
    assert_eq!(warnings, ["`target_modules` name `c_attn` means no module"]);
    let rank_pattern = vec![("zzz".to_owned(), 3), ("q_proj".to_owned(), 2), ("yyy".to_owned(), 4)];
    let (_, warnings) = Lora::new(LoraConfig { rank_pattern, ..LoraConfig::default() }, model.base(), 0).unwrap();
    assert_eq!(warnings, ["`rank_pattern` `zzz` means no adapted module, and so 1 more"]);
    let (wide, warnings) = Lora::new(LoraConfig { r: 17, ..LoraConfig::default() }, model.base(), 0).unwrap();
    let expected = "rank 17 of `model.layers.0.self_attn.v_proj` is more than the smaller side of its weight, 16, can use, and \
                    so in 1 more";
    assert_eq!(warnings, [expected]);
    assert_eq!(wide.parameters().tensors().next().unwrap().shape(), [17, 32]);
}

#[test]
fn full_training_saves_a_model() {
    for (family, folder) in [("llama", "peft/base-llama"), ("qwen2", "peft/base-qwen2"), ("gpt2", "peft/base-gpt2")] {
        let model = decoder(folder);
        let method: Arc<dyn Method> = Arc::new(Full::new(model.base()).unwrap());
        assert_eq!(method.parameters().count(), model.base().modules().count());
        assert_eq!(logits(&model, &batch().input, &pass(&method)), logits(&model, &batch().input, &Pass::base()));
        let losses = train(&model, &batch(), &method, 5);
        assert!(losses[4][0] < 0.8 * losses[0][0], "{family}: {losses:?}");
        let trained = logits(&model, &batch().input, &pass(&method));
        for merged in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::copy(data(folder).join("config.json"), dir.path().join("config.json")).unwrap();
            if merged {
                merge_into(&*method, &model, dir.path()).unwrap();
            } else {
                save(&*method, &Storage, dir.path()).unwrap();
            }
            let saved = Decoder::load(dir.path(), DType::F32).unwrap();
            assert_eq!(logits(&saved, &batch().input, &Pass::base()), trained, "{family}");
        }
    }
}

#[test]
fn numbers_that_are_none_are_not_saved() {
    let model = decoder("peft/base-llama");
    let method = lora(LoraConfig::default(), &model);
    method.parameters().update(|flat| flat[3] = f32::NAN).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = save(&*method, &Storage, dir.path()).unwrap_err();
    assert!(matches!(error, PeftError::NonFinite { element: 3, .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let id = model.base().modules().find("model.layers.0.self_attn.q_proj").unwrap().weight;
    assert!(matches!(method.merge(id, &mut vec![0.0; 32 * 32]), Err(PeftError::NonFinite { .. })));
}

/// Configurations over the modules of `names`.
fn configurations(names: &'static [&'static str]) -> impl Strategy<Value = LoraConfig> {
    let targets = prop_oneof![
        Just(Some(ModuleNames::Pattern("all-linear".to_owned()))),
        Just(None),
        prop::sample::subsequence(names, 1..names.len())
            .prop_map(|list| Some(ModuleNames::List(list.into_iter().map(str::to_owned).collect()))),
    ];
    let layers = prop::option::of(0usize..2);
    let bias = prop_oneof![Just(Bias::None), Just(Bias::All), Just(Bias::LoraOnly)];
    (targets, 1usize..8, 1u32..32, any::<[bool; 2]>(), layers, bias, 1usize..4).prop_map(
        |(target_modules, r, alpha, [use_rslora, use_dora], layer, bias, first)| LoraConfig {
            layers_to_transform: layer
                .filter(|_| matches!(target_modules, Some(ModuleNames::List(_))))
                .map(OneOrMany::One),
            target_modules,
            r,
            lora_alpha: f64::from(alpha) / 8.0,
            use_rslora,
            use_dora,
            bias,
            rank_pattern: vec![(r".*\.0\..*".to_owned(), first), ("proj".to_owned(), 9), (".*proj".to_owned(), 2)],
            alpha_pattern: vec![("c_attn".to_owned(), 2.5)],
            init_lora_weights: InitLoraWeights::Random,
            ..LoraConfig::default()
        },
    )
}

/// Merging and saving keep what an adapter computes.
fn check(folder: &str, config: LoraConfig) {
    let model = decoder(folder);
    let modules = model.base().modules();
    let method = match Lora::new(config.clone(), model.base(), 3) {
        Ok((method, _)) => Arc::new(method) as Arc<dyn Method>,
        // A layer may have none of the targets.
        Err(PeftError::NoTargets { .. } | PeftError::Setting { key: "layers_to_transform", .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let planned = trainable(&config, model.base().dimensions().model_type, modules).unwrap();
    let made: Vec<_> = method.parameters().iter().map(|(name, leaf)| (name.to_owned(), leaf.shape().into())).collect();
    assert_eq!(planned, made);
    train(&model, &batch(), &method, 1);
    assert_kept(folder, &model, &method);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn llama_is_the_same_merged_and_saved(
        config in configurations(&["q_proj", "k_proj", "o_proj", "up_proj", "down_proj", "embed_tokens", "lm_head"])
    ) {
        check("peft/base-llama", config);
    }

    #[test]
    fn qwen2_with_its_tied_head_is_the_same_merged_and_saved(
        config in configurations(&["q_proj", "v_proj", "gate_proj", "embed_tokens", "lm_head"])
    ) {
        check("peft/base-qwen2", config);
    }

    #[test]
    fn gpt2_with_its_transposed_weights_is_the_same_merged_and_saved(
        config in configurations(&["c_attn", "attn.c_proj", "mlp.c_proj", "c_fc", "wte", "wpe"])
    ) {
        check("peft/base-gpt2", config);
    }
}

#[test]
fn patterns_that_overlap_mean_the_same_after_loading() {
    let model = decoder("peft/base-llama");
    // By name the second comes first.
    let ranks = vec![("q_proj".to_owned(), 5), (r"layers\.0\..*".to_owned(), 2)];
    let config = LoraConfig { rank_pattern: ranks, ..random(all_linear()) };
    let method = lora(config, &model);
    let dir = tempfile::tempdir().unwrap();
    save(&*method, &Storage, dir.path()).unwrap();
    let (opened, _) = open(dir.path(), model.base()).unwrap();
    assert_eq!(by_key(&opened, |leaf| leaf.to_vec()), by_key(&method, |leaf| leaf.to_vec()));
    let a = method.parameters().get("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight").unwrap();
    assert_eq!(a.shape(), [5, 32]);
}

#[test]
fn an_adapter_of_half_precision_is_loaded() {
    let model = decoder("peft/base-llama");
    let method = lora(random(None), &model);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter_model.safetensors");
    let tensors = by_key(&method, |leaf| leaf.to_vec());
    let specs: Vec<TensorSpec> = method
        .parameters()
        .iter()
        .map(|(name, leaf)| TensorSpec { name: name.to_owned(), dtype: Dtype::BF16, shape: leaf.shape().to_vec() })
        .collect();
    write_safetensors::<CheckpointError>(&Storage, &path, &specs, &[], |spec| {
        let values = &tensors.iter().find(|(key, _)| *key == spec.name).unwrap().1;
        Ok(values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect::<Vec<_>>().into())
    })
    .unwrap();
    load(&*method, &SafetensorsFile::open(&path).unwrap()).unwrap();
    for ((key, loaded), (_, original)) in by_key(&method, |leaf| leaf.to_vec()).iter().zip(&tensors) {
        let rounded: Vec<f32> = original.iter().map(|v| half::bf16::from_f32(*v).to_f32()).collect();
        assert_eq!(loaded, &rounded, "{key}");
    }
}
