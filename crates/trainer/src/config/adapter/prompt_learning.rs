//! Settings of prompt tuning, prefix tuning and P-tuning.

use peft::prompt_learning::{
    EncoderReparameterization, InitWeights, PTuning, PrefixTuning, PromptLearningConfig, PromptMethod, PromptTuning,
    PromptTuningInit,
};
use serde::Serialize;

use super::Selection;
use super::conflicts::Conflicts;
use crate::config::section::Section;
use crate::config::value::Choice;

/// PEFT has no default.
const NUM_VIRTUAL_TOKENS: usize = 20;

/// The settings as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PromptLearningSettings {
    /// Virtual tokens before each sequence. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_virtual_tokens: Option<usize>,
    /// Where the embeddings of prompt tuning start. Default `RANDOM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tuning_init: Option<PromptTuningInit>,
    /// The text that they start from; sets `prompt_tuning_init` to `TEXT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tuning_init_text: Option<String>,
    /// Whether an MLP makes a prefix. Default false: P-tuning v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_projection: Option<bool>,
    /// `zero` starts a prefix at zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_weights: Option<InitWeights>,
    /// A text whose keys and values a prefix starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_tuning_init_text: Option<String>,
    /// What the encoder of P-tuning is. Default `MLP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_reparameterization_type: Option<EncoderReparameterization>,
    /// Width of an encoder or of the MLP of a prefix. Default: that of a virtual token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_hidden_size: Option<usize>,
    /// Layers of an LSTM. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_num_layers: Option<usize>,
}

impl PromptLearningSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            num_virtual_tokens: s.get_within("num_virtual_tokens", 1..=1 << 16),
            prompt_tuning_init: s.get("prompt_tuning_init"),
            prompt_tuning_init_text: s.get("prompt_tuning_init_text"),
            prefix_projection: s.get("prefix_projection"),
            init_weights: s.get("init_weights"),
            prefix_tuning_init_text: s.get("prefix_tuning_init_text"),
            encoder_reparameterization_type: s.get("encoder_reparameterization_type"),
            encoder_hidden_size: s.get_within("encoder_hidden_size", 1..=1 << 16),
            encoder_num_layers: s.get_within("encoder_num_layers", 1..=64),
        }
    }

    /// These settings for `method`, PEFT's defaults for the rest.
    pub fn over_defaults(&self, method: PromptMethod, selection: &Selection) -> PromptLearningConfig {
        self.over(selection, &PromptLearningConfig::new(NUM_VIRTUAL_TOKENS, method))
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from, whose structure is taken over. How it
    /// started is over: it is not started again.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(
        &self,
        selection: &Selection,
        adapter: &PromptLearningConfig,
    ) -> Result<PromptLearningConfig, Vec<String>> {
        let merged = self.over(selection, adapter);
        let mut conflicts = Conflicts::default();
        conflicts.check("num_virtual_tokens", &merged.num_virtual_tokens, &adapter.num_virtual_tokens);
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        match (&merged.method, &adapter.method) {
            (PromptMethod::PrefixTuning(merged), PromptMethod::PrefixTuning(adapter)) => {
                conflicts.check("prefix_projection", &merged.prefix_projection, &adapter.prefix_projection);
                conflicts.check("encoder_hidden_size", &merged.encoder_hidden_size, &adapter.encoder_hidden_size);
            }
            (PromptMethod::PTuning(merged), PromptMethod::PTuning(adapter)) => {
                let (set, own) = (merged.encoder_reparameterization_type, adapter.encoder_reparameterization_type);
                conflicts.check("encoder_reparameterization_type", &set, &own);
                conflicts.check("encoder_hidden_size", &merged.encoder_hidden_size, &adapter.encoder_hidden_size);
                conflicts.check("encoder_num_layers", &merged.encoder_num_layers, &adapter.encoder_num_layers);
            }
            _ => {}
        }
        conflicts.none()?;
        Ok(merged)
    }

    fn over(&self, selection: &Selection, base: &PromptLearningConfig) -> PromptLearningConfig {
        let method = match &base.method {
            PromptMethod::PromptTuning(base) => {
                let text = self.prompt_tuning_init_text.clone();
                let of_text = text.as_ref().map(|_| PromptTuningInit::Text);
                PromptMethod::PromptTuning(PromptTuning {
                    prompt_tuning_init: self.prompt_tuning_init.or(of_text).unwrap_or(base.prompt_tuning_init),
                    prompt_tuning_init_text: text.or_else(|| base.prompt_tuning_init_text.clone()),
                    ..base.clone()
                })
            }
            PromptMethod::PrefixTuning(base) => PromptMethod::PrefixTuning(PrefixTuning {
                prefix_projection: self.prefix_projection.unwrap_or(base.prefix_projection),
                encoder_hidden_size: self.encoder_hidden_size.or(base.encoder_hidden_size),
                init_weights: self.init_weights.or(base.init_weights),
            }),
            PromptMethod::PTuning(base) => PromptMethod::PTuning(PTuning {
                encoder_reparameterization_type: self
                    .encoder_reparameterization_type
                    .unwrap_or(base.encoder_reparameterization_type),
                encoder_hidden_size: self.encoder_hidden_size.or(base.encoder_hidden_size),
                encoder_num_layers: self.encoder_num_layers.unwrap_or(base.encoder_num_layers),
                encoder_dropout: base.encoder_dropout,
            }),
        };
        PromptLearningConfig {
            num_virtual_tokens: self.num_virtual_tokens.unwrap_or(base.num_virtual_tokens),
            modules_to_save: selection.modules_to_save.clone().or_else(|| base.modules_to_save.clone()),
            method,
            ..base.clone()
        }
    }
}

impl Choice for PromptTuningInit {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("RANDOM", Self::Random), ("SAMPLE_VOCAB", Self::SampleVocab), ("TEXT", Self::Text)];
}

impl Choice for InitWeights {
    const CHOICES: &'static [(&'static str, Self)] = &[("zero", Self::Zero)];
}

impl Choice for EncoderReparameterization {
    const CHOICES: &'static [(&'static str, Self)] = &[("MLP", Self::Mlp), ("LSTM", Self::Lstm)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_a_prompt_starts_from() {
        let settings =
            PromptLearningSettings { prompt_tuning_init_text: Some("Classify:".to_owned()), ..Default::default() };
        let config = settings.over_defaults(PromptMethod::PromptTuning(PromptTuning::default()), &Selection::default());
        assert_eq!(config.num_virtual_tokens, 20);
        let PromptMethod::PromptTuning(own) = config.method else { panic!("{config:?}") };
        assert_eq!(own.prompt_tuning_init, PromptTuningInit::Text);
    }

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let lstm = PTuning {
            encoder_reparameterization_type: EncoderReparameterization::Lstm,
            encoder_hidden_size: Some(64),
            ..PTuning::default()
        };
        let adapter = PromptLearningConfig::new(8, PromptMethod::PTuning(lstm));
        let none = Selection::default();
        assert_eq!(PromptLearningSettings::default().over_adapter(&none, &adapter).unwrap(), adapter);
        let other = PromptLearningSettings {
            num_virtual_tokens: Some(9),
            encoder_reparameterization_type: Some(EncoderReparameterization::Mlp),
            ..Default::default()
        };
        assert_eq!(
            other.over_adapter(&none, &adapter).unwrap_err(),
            [
                "adapter.num_virtual_tokens is 9, and the adapter has 8",
                "adapter.encoder_reparameterization_type is \"MLP\", and the adapter has \"LSTM\""
            ]
        );
    }
}
