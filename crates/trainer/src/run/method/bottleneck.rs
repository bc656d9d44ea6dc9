//! The configuration of bottleneck adapters.

use model::Base;
use peft::AdapterConfig;
use peft::bottleneck::{BottleneckConfig, ModelFacts};

use super::init_from;
use crate::Error;
use crate::config::{Config, TaskType};

/// The configuration of bottleneck adapters of `config`.
pub(super) fn config(config: &Config, base: &Base) -> Result<BottleneckConfig, Error> {
    let settings = &config.adapter.bottleneck;
    let own = match init_from(config, base)? {
        None => settings.over_preset(),
        Some((dir, AdapterConfig::Bottleneck(saved))) => {
            let conflict = |differences| Error::OtherStructure { dir: dir.to_owned(), differences };
            settings.over_adapter(&saved).map_err(conflict)?
        }
        Some((dir, _)) => {
            return Err(Error::OtherMethod { dir: dir.to_owned(), method: config.adapter.method });
        }
    };
    let model = ModelFacts {
        model_name: config.model.path.display().to_string(),
        model_class: model_class(base.dimensions().architecture, config.model.task_type),
        ..ModelFacts::default()
    };
    Ok(BottleneckConfig { model, ..own })
}

/// The class of transformers that does `task` with what `architecture` is built from.
fn model_class(architecture: &str, task: TaskType) -> String {
    let family = ["LMHeadModel", "ForCausalLM", "Model"].iter().find_map(|end| architecture.strip_suffix(end));
    match task {
        TaskType::CausalLm | TaskType::Seq2SeqLm | TaskType::ImageClassification => architecture.to_owned(),
        TaskType::SequenceClassification => format!("{}ForSequenceClassification", family.unwrap_or(architecture)),
        TaskType::TokenClassification => format!("{}ForTokenClassification", family.unwrap_or(architecture)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_transformers() {
        let class = |architecture, task| model_class(architecture, task);
        assert_eq!(class("GPT2LMHeadModel", TaskType::CausalLm), "GPT2LMHeadModel");
        assert_eq!(class("BertModel", TaskType::TokenClassification), "BertForTokenClassification");
        assert_eq!(class("LlamaForCausalLM", TaskType::SequenceClassification), "LlamaForSequenceClassification");
        assert_eq!(class("GPT2LMHeadModel", TaskType::SequenceClassification), "GPT2ForSequenceClassification");
    }
}
