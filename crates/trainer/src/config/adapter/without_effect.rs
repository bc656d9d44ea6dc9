//! Settings that were written and that nothing reads: those of another method.

use serde::Serialize;

use super::{Adapter, LoraSettings, Method, PromptLearningSettings, Selection};

impl Adapter {
    /// A line for each key that is set and that [`Adapter::method`] does not read.
    pub fn without_effect(&self) -> Vec<String> {
        let selection = keys(&self.selection);
        let [lora, ia3, bottleneck] = [keys(&self.lora), keys(&self.ia3), keys(&self.bottleneck)];
        let [prompt_learning, pixel_prompt] = [keys(&self.prompt_learning), keys(&self.pixel_prompt)];
        let [vera, adalora] = [keys(&self.vera), keys(&self.adalora)];
        let trainable_tokens = keys(&self.trainable_tokens);
        let own = match self.method {
            Method::Lora => [selection.clone(), lora.clone()].concat(),
            Method::AdaLora => [selection.clone(), keys(&self.lora.of_adalora()), adalora.clone()].concat(),
            Method::Vera => [keys(&self.selection.of_vera()), keys(&self.lora.of_vera()), vera.clone()].concat(),
            Method::LnTuning => selection.clone(),
            Method::TrainableTokens => [keys(&self.selection.of_trainable_tokens()), trainable_tokens.clone()].concat(),
            Method::Ia3 => [selection.clone(), ia3.clone()].concat(),
            Method::Bottleneck => bottleneck.clone(),
            Method::PromptTuning | Method::PrefixTuning | Method::PTuning => {
                [keys(&self.selection.of_prompt_learning()), keys(&self.prompt_learning.of(self.method))].concat()
            }
            Method::PixelPrompt => [keys(&self.selection.of_prompt_learning()), pixel_prompt.clone()].concat(),
            Method::Full => Vec::new(),
        };
        let set =
            [selection, lora, ia3, bottleneck, prompt_learning, pixel_prompt, vera, adalora, trainable_tokens].concat();
        let unread = set.iter().filter(|key| !own.contains(key));
        let of_method =
            unread.map(|key| format!("adapter.{key} has no effect on adapter.method = \"{}\"", self.method));
        of_method.chain(self.starts_without_effect()).collect()
    }

    /// How an adapter starts says nothing to one that goes on from another.
    fn starts_without_effect(&self) -> impl Iterator<Item = String> {
        let starts = [
            ("init_lora_weights", self.lora.init_lora_weights.is_some() && self.method == Method::Lora),
            ("init_ia3_weights", self.ia3.init_ia3_weights.is_some() && self.method == Method::Ia3),
        ];
        let init_from = self.init_from.is_some();
        let unread = starts.into_iter().filter(move |(_, set)| *set && init_from);
        unread
            .map(|(key, _)| format!("adapter.{key} has no effect beside adapter.init_from, whose values are the start"))
    }
}

impl Selection {
    /// What prompt tuning, prefix tuning, P-tuning and pixel prompts read: they change no modules.
    fn of_prompt_learning(&self) -> Self {
        Self { modules_to_save: self.modules_to_save.clone(), ..Self::default() }
    }

    /// What VeRA reads.
    fn of_vera(&self) -> Self {
        Self { exclude_modules: None, ..self.clone() }
    }

    /// What trainable tokens read.
    fn of_trainable_tokens(&self) -> Self {
        Self { target_modules: self.target_modules.clone(), ..Self::default() }
    }
}

impl LoraSettings {
    /// What VeRA reads of them.
    fn of_vera(&self) -> Self {
        Self {
            r: self.r,
            bias: self.bias,
            layers_to_transform: self.layers_to_transform.clone(),
            layers_pattern: self.layers_pattern.clone(),
            ..Self::default()
        }
    }

    /// What AdaLoRA reads of them.
    pub(super) fn of_adalora(&self) -> Self {
        Self { r: None, lora_alpha: self.lora_alpha, lora_dropout: self.lora_dropout, ..self.of_vera() }
    }
}

impl PromptLearningSettings {
    /// What `method`, one of the three, reads.
    fn of(&self, method: Method) -> Self {
        let num_virtual_tokens = self.num_virtual_tokens;
        match method {
            Method::PromptTuning => Self {
                num_virtual_tokens,
                prompt_tuning_init: self.prompt_tuning_init,
                prompt_tuning_init_text: self.prompt_tuning_init_text.clone(),
                ..Self::default()
            },
            Method::PrefixTuning => Self {
                num_virtual_tokens,
                prefix_projection: self.prefix_projection,
                init_weights: self.init_weights,
                prefix_tuning_init_text: self.prefix_tuning_init_text.clone(),
                encoder_hidden_size: self.encoder_hidden_size.filter(|_| self.prefix_projection == Some(true)),
                ..Self::default()
            },
            _ => Self {
                num_virtual_tokens,
                encoder_reparameterization_type: self.encoder_reparameterization_type,
                encoder_hidden_size: self.encoder_hidden_size,
                encoder_num_layers: self.encoder_num_layers,
                ..Self::default()
            },
        }
    }
}

/// The keys that are set: the others are not serialized.
fn keys(settings: &impl Serialize) -> Vec<String> {
    let value = serde_json::to_value(settings).unwrap_or_default();
    value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn lines(adapter: &str) -> Vec<String> {
        let text =
            format!("[model]\npath = 'm'\n[data]\ntrain = 'd'\n[training]\noutput_dir = 'o'\n[adapter]\n{adapter}");
        Config::parse("c.toml", &text, &Overrides::default()).unwrap().adapter.without_effect()
    }

    #[test]
    fn settings_of_the_method_have_an_effect() {
        assert!(lines("r = 4\ntarget_modules = ['q_proj']\ninit_lora_weights = 'pissa'").is_empty());
        assert!(lines("method = 'prefix_tuning'\nprefix_projection = true\nencoder_hidden_size = 8").is_empty());
        assert!(lines("method = 'bottleneck'\nreduction_factor = 4").is_empty());
    }

    #[test]
    fn settings_of_another_method_have_none() {
        assert_eq!(
            lines("method = 'ia3'\nr = 4\nnum_virtual_tokens = 8"),
            [
                "adapter.r has no effect on adapter.method = \"ia3\"",
                "adapter.num_virtual_tokens has no effect on adapter.method = \"ia3\""
            ]
        );
        assert_eq!(
            lines("method = 'prompt_tuning'\nencoder_hidden_size = 8\ntarget_modules = ['q_proj']"),
            [
                "adapter.target_modules has no effect on adapter.method = \"prompt_tuning\"",
                "adapter.encoder_hidden_size has no effect on adapter.method = \"prompt_tuning\""
            ]
        );
        assert_eq!(
            lines("method = 'prefix_tuning'\nencoder_hidden_size = 8"),
            ["adapter.encoder_hidden_size has no effect on adapter.method = \"prefix_tuning\""]
        );
        assert_eq!(lines("method = 'full'\nr = 4").len(), 1);
    }

    #[test]
    fn a_start_has_no_effect_beside_an_adapter_to_go_on_from() {
        assert_eq!(
            lines("init_from = 'a'\ninit_lora_weights = 'pissa'"),
            ["adapter.init_lora_weights has no effect beside adapter.init_from, whose values are the start"]
        );
    }
}
