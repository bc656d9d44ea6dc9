//! What holds for every (IA)^3 adapter: ones change nothing, merging and saving keep what it computes.

mod support;

use std::sync::Arc;

use checkpoint::Storage;
use model::{Decoder, Pass};
use proptest::prelude::*;
use support::kept::assert_kept;
use support::{batch, by_key, cases, decoder, logits, loss_and_gradients, pass, train};
use tunesmith_peft::ia3::{Ia3Config, ia3_modules};
use tunesmith_peft::{AdapterConfig, Method, ModuleNames, PeftError, attach, open, save, trainable};

fn list(names: &[&str]) -> ModuleNames {
    ModuleNames::List(names.iter().map(|&name| name.to_owned()).collect())
}

fn ia3(config: Ia3Config, model: &Decoder) -> Arc<dyn Method> {
    attach(AdapterConfig::Ia3(config), model.base(), 7).unwrap().0
}

fn refusal(config: Ia3Config, model: &Decoder) -> PeftError {
    attach(AdapterConfig::Ia3(config), model.base(), 7).err().expect("must be refused")
}

#[test]
fn ones_change_nothing_and_every_factor_gets_a_gradient() {
    for variant in cases("families", "config.json") {
        let model = decoder(&format!("families/{variant}"));
        // PEFT has no default for Phi-3, whose projections are fused.
        let config = match ia3_modules(model.base().dimensions().model_type) {
            Some(_) => Ia3Config::default(),
            None => Ia3Config {
                target_modules: Some(ModuleNames::Pattern("all-linear".to_owned())),
                feedforward_modules: Some(list(&["down_proj"])),
                ..Ia3Config::default()
            },
        };
        let method = ia3(config, &model);
        let base = logits(&model, &batch().input, &Pass::base());
        assert_eq!(logits(&model, &batch().input, &pass(&method)), base, "{variant}");
        let (_, gradients) = loss_and_gradients(&model, &batch(), &method, &pass(&method));
        for (key, gradient) in by_key(&method, |leaf| gradients.of(leaf).unwrap().to_vec()) {
            assert!(gradient.iter().any(|g| *g != 0.0), "{variant} {key}");
        }
    }
}

#[test]
fn which_side_is_scaled_follows_the_end_of_the_name_without_a_dot() {
    let model = decoder("peft/base-gpt2");
    let config = Ia3Config {
        target_modules: Some(list(&["c_attn", "c_proj"])),
        feedforward_modules: Some(list(&["c_proj"])),
        ..Ia3Config::default()
    };
    let shapes = |config: Ia3Config| -> Vec<(String, Vec<usize>)> {
        let base = model.base();
        let declared = trainable(&AdapterConfig::Ia3(config), base.dimensions(), base.modules()).unwrap();
        let last = |name: String| name.replace("base_model.model.transformer.h.0.", "");
        declared.into_iter().take(3).map(|(name, shape)| (last(name), shape.sizes().to_vec())).collect()
    };
    let expected = |c_attn: [usize; 2]| {
        let rest = [("attn.c_proj.ia3_l", vec![1, 32]), ("mlp.c_proj.ia3_l", vec![1, 128])];
        let all = [("attn.c_attn.ia3_l", c_attn.to_vec())].into_iter().chain(rest);
        all.map(|(name, shape)| (name.to_owned(), shape)).collect::<Vec<_>>()
    };
    assert_eq!(shapes(config.clone()), expected([96, 1]));
    let pattern = ModuleNames::Pattern(r".*(attn|mlp\.c_proj|attn\.c_proj)".to_owned());
    assert_eq!(shapes(Ia3Config { feedforward_modules: Some(pattern), ..config }), expected([1, 32]));
}

#[test]
fn defaults_beside_other_targets_are_saved_as_peft_can_read_them() {
    let model = decoder("peft/base-gpt2");
    let config = Ia3Config { target_modules: Some(list(&["c_attn", "c_proj"])), ..Ia3Config::default() };
    let method = ia3(config, &model);
    let text = method.config_text().unwrap();
    // A list would have to be a part of target_modules.
    assert!(text.contains(r#""feedforward_modules": ".*(mlp\\.c_proj)""#), "{text}");
    let dir = tempfile::tempdir().unwrap();
    save(&*method, &Storage, dir.path()).unwrap();
    let (opened, _) = open(dir.path(), model.base()).unwrap();
    let shapes =
        |method: &Arc<dyn Method>| method.parameters().tensors().map(|l| l.shape().to_vec()).collect::<Vec<_>>();
    assert_eq!(shapes(&opened), shapes(&method));
    assert_eq!(shapes(&method)[..3], [vec![96, 1], vec![32, 1], vec![1, 128]]);
}

#[test]
fn what_cannot_be_scaled_is_named() {
    let model = decoder("peft/base-llama");
    let targets = |names: &[&str]| Ia3Config { target_modules: Some(list(names)), ..Ia3Config::default() };
    let message = refusal(targets(&["embed_tokens"]), &model).to_string();
    assert!(message.contains("which is an embedding; linear modules can be adapted"), "{message}");
    assert!(matches!(refusal(targets(&["zzz"]), &model), PeftError::NoTargets { .. }));
    let phi3 = decoder("families/phi3");
    assert!(matches!(refusal(Ia3Config::default(), &phi3), PeftError::NoDefaultTargets { .. }));
    let message = refusal(targets(&["qkv_proj"]), &phi3).to_string();
    assert!(message.contains("`feedforward_modules`: there is no default for model_type \"phi3\""), "{message}");
    let saved = Ia3Config { modules_to_save: Some(vec!["score".to_owned()]), ..Ia3Config::default() };
    assert!(matches!(refusal(saved, &model), PeftError::NoModuleToSave { .. }));
}

/// Configurations over modules called `names`.
fn configurations(names: &'static [&'static str]) -> impl Strategy<Value = Ia3Config> {
    let targets = prop::sample::subsequence(names, 1..=names.len());
    let saved = prop::option::of(prop::sample::select(names));
    (targets, any::<u64>(), saved, any::<bool>()).prop_map(|(targets, feedforward, saved, init_ia3_weights)| {
        let chosen = targets.iter().enumerate().filter(|(i, _)| feedforward >> i & 1 == 1);
        let feedforward: Vec<&str> = chosen.map(|(_, name)| *name).collect();
        Ia3Config {
            target_modules: Some(list(&targets)),
            feedforward_modules: Some(list(&feedforward)),
            modules_to_save: saved.map(|name| vec![name.to_owned()]),
            init_ia3_weights,
            ..Ia3Config::default()
        }
    })
}

/// Merging and saving keep what an adapter computes after training.
fn check(folder: &str, config: Ia3Config) {
    let model = decoder(folder);
    let method = match attach(AdapterConfig::Ia3(config), model.base(), 3) {
        Ok((method, _)) => method,
        // The only target may be trained in full instead.
        Err(PeftError::NoTargets { .. } | PeftError::Setting { key: "modules_to_save", .. }) => return,
        Err(error) => panic!("{error}"),
    };
    train(&model, &batch(), &method, 2);
    assert_kept(folder, &model, &method);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn qwen2_with_its_biases_is_the_same_merged_and_saved(
        config in configurations(&["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "lm_head"])
    ) {
        check("peft/base-qwen2", config);
    }

    #[test]
    fn gpt2_with_its_transposed_weights_is_the_same_merged_and_saved(
        config in configurations(&["c_attn", "attn.c_proj", "mlp.c_proj", "c_fc"])
    ) {
        check("peft/base-gpt2", config);
    }
}
