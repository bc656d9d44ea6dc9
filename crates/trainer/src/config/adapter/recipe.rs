//! Recipes: what a method does best with, for whatever is not set.

use serde::Serialize;

use super::{Adapter, Method};
use crate::config::model::TaskType;
use crate::config::training::Training;
use crate::config::value::Choice;

/// Where settings that are not written come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipe {
    /// A learning rate for the method, and a start that lets it learn:
    ///
    /// | method | learning rate | beside it |
    /// |---|---|---|
    /// | `lora` | 2e-4 | |
    /// | `adalora` | 1e-3 | `tinit` a tenth and `tfinal` a fifth of the steps (Zhang et al. 2023, tables 6 to 9) |
    /// | `vera` | 4e-3 | (Kopiczko et al. 2023, table 8) |
    /// | `ia3` | 3e-3 | (Liu et al. 2022, section 3.4) |
    /// | `ln_tuning`, `trainable_tokens` | 1e-3 | |
    /// | `prompt_tuning` | 3e-2 | `prompt_tuning_init = "SAMPLE_VOCAB"`: embeddings of a size that the model knows (Lester et al. 2021, section 3.2) |
    /// | `prefix_tuning` | 1e-2 | |
    /// | `p_tuning` | 1e-3 | |
    /// | `bottleneck` | 1e-4 | AdapterHub's |
    /// | `full` | 2e-5 | |
    #[default]
    Recommended,
    /// PEFT's defaults, and the learning rate 2e-4 for every method.
    Peft,
}

/// The learning rate of [`Recipe::Peft`].
const LEARNING_RATE: f64 = 2e-4;

impl Recipe {
    fn learning_rate(self, method: Method) -> f64 {
        match (self, method) {
            (Recipe::Peft, _) | (_, Method::Lora) => LEARNING_RATE,
            (_, Method::Full) => 2e-5,
            (_, Method::Bottleneck) => 1e-4,
            (_, Method::AdaLora | Method::LnTuning | Method::TrainableTokens | Method::PTuning) => 1e-3,
            (_, Method::Ia3) => 3e-3,
            (_, Method::Vera) => 4e-3,
            (_, Method::PrefixTuning) => 1e-2,
            (_, Method::PromptTuning | Method::PixelPrompt) => 3e-2,
        }
    }
}

impl Choice for Recipe {
    const CHOICES: &'static [(&'static str, Self)] = &[("recommended", Self::Recommended), ("peft", Self::Peft)];
}

impl Adapter {
    /// Sets what the recipe has for this method on this task and nobody has set: a line for each key, `key = value`.
    /// `has_learning_rate` says that `training` has one.
    pub(in crate::config) fn follow_recipe(
        &mut self,
        task_type: TaskType,
        training: &mut Training,
        has_learning_rate: bool,
    ) -> Vec<String> {
        let mut followed = Vec::new();
        if !has_learning_rate {
            training.learning_rate = self.recipe.learning_rate(self.method);
            followed.push(format!("training.learning_rate = {}", training.learning_rate));
        }
        // What goes on from another adapter does not start.
        if self.recipe == Recipe::Peft || self.init_from.is_some() {
            return followed;
        }
        match self.method {
            // Images have no vocabulary to draw from.
            Method::PromptTuning if task_type != TaskType::ImageClassification => {
                let own = &mut self.prompt_learning;
                if own.prompt_tuning_init.is_none() && own.prompt_tuning_init_text.is_none() {
                    own.prompt_tuning_init = Some(peft::prompt_learning::PromptTuningInit::SampleVocab);
                    followed.push("adapter.prompt_tuning_init = SAMPLE_VOCAB".to_owned());
                }
            }
            Method::AdaLora => {
                let own = &mut self.adalora;
                let steps = own.total_step.or(training.max_steps).unwrap_or(0);
                if own.tinit.is_none() && own.tfinal.is_none() {
                    let (tinit, tfinal) = (steps / 10, steps / 5);
                    (own.tinit, own.tfinal) = (Some(tinit), Some(tfinal));
                    followed.push(format!("adapter.tinit = {tinit}, adapter.tfinal = {tfinal}"));
                }
            }
            _ => {}
        }
        followed
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn parse(adapter: &str, training: &str) -> Config {
        let text = format!(
            "[model]\npath = 'm'\n[data]\ntrain = 'd'\n[training]\noutput_dir = 'o'\nmax_steps = 100\n{training}\n\
             [adapter]\n{adapter}"
        );
        Config::parse("c.toml", &text, &Overrides::default()).unwrap()
    }

    #[test]
    fn prompts_of_images_start_at_random() {
        let set = vec!["model.task_type=IMAGE_CLS".to_owned()];
        let text = "[model]\npath = 'm'\n[data]\ntrain = 'd'\n[training]\noutput_dir = 'o'\n[adapter]\nmethod = 'prompt_tuning'";
        let config = Config::parse("c.toml", text, &Overrides { set, ..Overrides::default() }).unwrap();
        assert_eq!(config.from_recipe, ["training.learning_rate = 0.03"]);
    }

    #[test]
    fn what_is_set_is_kept_and_the_rest_is_told() {
        let config = parse("method = 'prompt_tuning'", "");
        assert_eq!(config.training.learning_rate, 3e-2);
        assert_eq!(config.from_recipe, ["training.learning_rate = 0.03", "adapter.prompt_tuning_init = SAMPLE_VOCAB"]);
        let config = parse("method = 'prompt_tuning'\nprompt_tuning_init = 'RANDOM'", "learning_rate = 2e-4");
        assert_eq!((config.training.learning_rate, config.from_recipe.len()), (2e-4, 0));
        let config = parse("method = 'adalora'\ntfinal = 3", "");
        assert_eq!((config.adapter.adalora.tinit, config.adapter.adalora.tfinal), (None, Some(3)));
        assert_eq!(parse("method = 'adalora'", "").adapter.adalora.tinit, Some(10));
    }

    #[test]
    fn pefts_defaults_have_a_name() {
        let config = parse("method = 'prompt_tuning'\nrecipe = 'peft'", "");
        assert_eq!((config.training.learning_rate, config.adapter.prompt_learning.prompt_tuning_init), (2e-4, None));
        assert_eq!(parse("", "").training.learning_rate, 2e-4);
    }
}
