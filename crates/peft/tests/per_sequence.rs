//! Several adapters in one pass give every sequence what its own adapter alone would.

mod support;

use std::sync::Arc;

use model::{Adapter, Decoder, Dropout, Input, NoAdapter, Pass};
use support::{assert_close, decoder, logits};
use tunesmith_peft::bottleneck::{BottleneckConfig, ReductionFactor};
use tunesmith_peft::ia3::Ia3Config;
use tunesmith_peft::lora::LoraConfig;
use tunesmith_peft::prompt_learning::{PromptLearningConfig, PromptMethod, PromptTuning};
use tunesmith_peft::{AdapterConfig, Method, ModuleNames, PerSequence, attach};

/// Rows of a product do not depend on how many there are; sums are in another order where the tiles end elsewhere.
const SAME: f32 = 1e-6;

/// An adapter with an effect everywhere.
fn stirred(config: AdapterConfig, base: &Decoder) -> Arc<dyn Method> {
    let (method, _) = attach(config, base.base(), 7).unwrap();
    for (index, leaf) in method.parameters().tensors().enumerate() {
        let values: Vec<f32> = (0..leaf.count()).map(|i| ((i * 7 + index * 5) % 11) as f32 / 30.0 - 0.17).collect();
        method.parameters().set(index, &values).unwrap();
    }
    method
}

fn lora(dora: bool) -> AdapterConfig {
    let target_modules = Some(ModuleNames::Pattern("all-linear".to_owned()));
    AdapterConfig::Lora(LoraConfig { r: 4, lora_dropout: 0.3, use_dora: dora, target_modules, ..LoraConfig::default() })
}

fn adapters(base: &Decoder) -> Vec<Arc<dyn Adapter>> {
    let reduction_factor = ReductionFactor::Same(base.base().dimensions().hidden_size as f64 / 8.0);
    let houlsby = BottleneckConfig { reduction_factor, ..BottleneckConfig::preset("houlsby").unwrap() };
    let methods = [
        stirred(lora(false), base),
        stirred(lora(true), base),
        stirred(AdapterConfig::Ia3(Ia3Config::default()), base),
        stirred(AdapterConfig::Bottleneck(houlsby), base),
    ];
    let methods = methods.map(|method| method as Arc<dyn Adapter>);
    methods.into_iter().chain([Arc::new(NoAdapter) as Arc<dyn Adapter>]).collect()
}

const ROWS: [&[u32]; 6] = [&[3, 17, 5, 40, 8, 21], &[9], &[9, 9, 30], &[5, 4], &[11, 2, 6, 7], &[20, 21]];

#[test]
fn every_sequence_has_its_own_adapter() {
    for variant in ["llama", "gpt2", "gemma2", "gpt_neox"] {
        let base = decoder(&format!("families/{variant}"));
        let adapters = adapters(&base);
        let modules = base.base().modules();
        assert!(adapters.iter().all(|adapter| PerSequence::can_share(&**adapter, modules)), "{variant}");
        for choice in [[0, 0, 1, 2, 4, 3], [3, 1, 0, 1, 2, 4], [2; 6]] {
            let shared = Pass::evaluation(Arc::new(PerSequence::new(adapters.clone(), &choice)));
            let together = logits(&base, &Input::from_sequences(&ROWS).unwrap(), &shared);
            let alone: Vec<f32> = ROWS
                .iter()
                .zip(choice)
                .flat_map(|(row, adapter)| {
                    let pass = Pass::evaluation(Arc::clone(&adapters[adapter]));
                    logits(&base, &Input::from_sequences(&[row]).unwrap(), &pass)
                })
                .collect();
            assert_close(&format!("{variant} {choice:?}"), &together, &alone, SAME);
        }
    }
}

#[test]
fn one_adapter_for_all_is_that_adapter_with_its_dropout() {
    let base = decoder("families/llama");
    let adapters = adapters(&base);
    let input = Input::from_sequences(&ROWS).unwrap();
    let dropout = Some(Dropout { seed: 3, step: 5 });
    let own = Pass { dropout, ..Pass::evaluation(Arc::clone(&adapters[0])) };
    let shared = Pass { dropout, ..Pass::evaluation(Arc::new(PerSequence::new(adapters, &[0; 6]))) };
    assert_eq!(logits(&base, &input, &own), logits(&base, &input, &shared));
}

#[test]
fn what_is_the_same_for_all_rows_cannot_be_shared() {
    let base = decoder("families/llama");
    let can_share = |config| PerSequence::can_share(&*stirred(config, &base), base.base().modules());
    let named = |name: &str| LoraConfig {
        target_modules: Some(ModuleNames::List(vec![name.to_owned()])),
        ..LoraConfig::default()
    };
    assert!(can_share(AdapterConfig::Lora(named("q_proj"))));
    assert!(!can_share(AdapterConfig::Lora(named("lm_head"))));
    assert!(!can_share(AdapterConfig::Lora(named("embed_tokens"))));
    let saved = LoraConfig { modules_to_save: Some(vec!["norm".to_owned()]), ..named("q_proj") };
    assert!(!can_share(AdapterConfig::Lora(saved)));
    let prompt = PromptLearningConfig::new(4, PromptMethod::PromptTuning(PromptTuning::default()));
    assert!(!can_share(AdapterConfig::PromptLearning(prompt)));
}
