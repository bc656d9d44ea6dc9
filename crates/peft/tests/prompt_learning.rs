//! Prompts, prefixes and P-tuning encoders: where they start, what is refused, and what holds for all of them.

mod support;

use std::sync::Arc;

use checkpoint::Storage;
use model::{Input, Pass};
use proptest::prelude::*;
use support::{Batch, after_prompt, assert_close, cases, decoder, logits, loss_and_gradients, pass, train};
use tensor::no_grad;
use tunesmith_peft::prompt_learning::{
    EncoderReparameterization, InitWeights, PTuning, PrefixTuning, PromptLearning, PromptLearningConfig, PromptMethod,
    PromptTuning, PromptTuningInit,
};
use tunesmith_peft::{AdapterConfig, Method, attach, open, save, trainable};

/// Both sides compute in f32 and differ in the order of sums.
const SAME: f32 = 1e-5;

/// Every label supervised, the first token's too.
fn small_batch(prompt_len: usize) -> Batch {
    let (a, b) = ([3, 17, 5, 40, 8, 21], [9, 9, 30]);
    after_prompt(&[(&a, &a), (&b, &b)], prompt_len)
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
    let two = PromptLearningConfig { num_transformer_submodules: Some(2), ..prompt(PromptTuning::default()) };
    assert_eq!(
        refuse(two),
        "`num_transformer_submodules`: is 2, but 1 for this base model; the adapter belongs to another"
    );
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
            let hidden = model.forward_cached(&mut cache, &[part], &pass(&method)).unwrap();
            cached.extend(no_grad(|| model.logits(&hidden, &pass(&method))).unwrap().to_vec());
        }
        assert_close("cached", &cached, &whole[whole.len() - cached.len()..], SAME);
    }
}
