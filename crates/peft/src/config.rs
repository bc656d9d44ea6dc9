//! `adapter_config.json`: what all methods share, and which method it is.

use std::path::Path;

use model::Base;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::adalora::AdaLoraConfig;
use crate::bottleneck::BottleneckConfig;
use crate::fields::Fields;
use crate::ia3::Ia3Config;
use crate::ln_tuning::LnTuningConfig;
use crate::lora::LoraConfig;
use crate::pixel_prompt::PixelPromptConfig;
use crate::prompt_learning::{PTuning, PrefixTuning, PromptLearningConfig, PromptMethod, PromptTuning};
use crate::trainable_tokens::TrainableTokensConfig;
use crate::vera::VeraConfig;
use crate::{PeftError, Warnings, modules_to_save, python_json};

/// What the model is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskType {
    /// Next-token prediction.
    CausalLm,
    /// One label for a text.
    SeqCls,
    /// One label for a token.
    TokenCls,
    /// Text to text.
    #[serde(rename = "SEQ_2_SEQ_LM")]
    Seq2SeqLm,
    /// A span of a text.
    QuestionAns,
    /// Hidden states.
    FeatureExtraction,
}

/// Keys that every method has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// The base model's path or name on the Hugging Face Hub.
    pub base_model_name_or_path: Option<String>,
    /// Its revision there.
    pub revision: Option<String>,
    /// What it is used for.
    pub task_type: Option<TaskType>,
    /// The base model's Python class; written by PEFT where there is no `task_type`.
    pub auto_mapping: Option<Value>,
}

impl Common {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, PeftError> {
        for key in ["inference_mode", "peft_version", "runtime_config"] {
            fields.ignore(key);
        }
        Ok(Self {
            base_model_name_or_path: fields.take("base_model_name_or_path")?,
            revision: fields.take("revision")?,
            task_type: fields.take("task_type")?,
            auto_mapping: fields.take("auto_mapping")?,
        })
    }

    pub(crate) fn write(&self, json: &mut Map<String, Value>, peft_type: &str) {
        let keys = [
            ("auto_mapping", json!(self.auto_mapping)),
            ("base_model_name_or_path", json!(self.base_model_name_or_path)),
            // PEFT always writes true, for a trained adapter is loaded to be used.
            ("inference_mode", json!(true)),
            ("peft_type", json!(peft_type)),
            ("revision", json!(self.revision)),
            ("task_type", json!(self.task_type)),
        ];
        json.extend(keys.map(|(key, value)| (key.to_owned(), value)));
    }
}

/// The configuration of an adapter: one variant a method.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AdapterConfig {
    /// Low-rank adaptation.
    Lora(LoraConfig),
    /// Bottleneck adapters, in AdapterHub's format.
    Bottleneck(BottleneckConfig),
    /// Learned scaling of channels.
    Ia3(Ia3Config),
    /// Prompt tuning, prefix tuning and P-tuning.
    PromptLearning(PromptLearningConfig),
    /// Values added to the pixels of images.
    PixelPrompt(PixelPromptConfig),
    /// Training of norms.
    LnTuning(LnTuningConfig),
    /// Learned scaling of random low-rank updates.
    Vera(VeraConfig),
    /// Low-rank adaptation whose ranks are distributed in training.
    AdaLora(AdaLoraConfig),
    /// Training of single rows of an embedding.
    TrainableTokens(TrainableTokensConfig),
}

/// Every `peft_type` that can be read, for a message.
const PEFT_TYPES: [&str; 10] = [
    LoraConfig::PEFT_TYPE,
    Ia3Config::PEFT_TYPE,
    PromptLearningConfig::PROMPT_TUNING,
    PromptLearningConfig::PREFIX_TUNING,
    PromptLearningConfig::P_TUNING,
    PixelPromptConfig::PEFT_TYPE,
    LnTuningConfig::PEFT_TYPE,
    VeraConfig::PEFT_TYPE,
    AdaLoraConfig::PEFT_TYPE,
    TrainableTokensConfig::PEFT_TYPE,
];

impl AdapterConfig {
    /// Reads the text of the file `path`. Only `peft_type` has to be there.
    ///
    /// # Errors
    /// [`PeftError::Checkpoint`] if it is not JSON, [`PeftError::ConfigKey`] for a wrong value, [`PeftError::UnknownMethod`],
    /// [`PeftError::Unsupported`] for a feature that this crate does not have.
    pub fn read(path: &Path, text: &str) -> Result<(Self, Warnings), PeftError> {
        let mut fields = Fields::parse(path, text)?;
        let method: Option<String> = fields.take("peft_type")?;
        if method.is_none()
            && let Some(config) = fields.object("config")
        {
            return adapterhub(fields, config);
        }
        match method.as_deref() {
            Some(LoraConfig::PEFT_TYPE) => {
                let (config, warnings) = LoraConfig::read(fields)?;
                Ok((AdapterConfig::Lora(config), warnings))
            }
            Some(Ia3Config::PEFT_TYPE) => {
                let (config, warnings) = Ia3Config::read(fields)?;
                Ok((AdapterConfig::Ia3(config), warnings))
            }
            Some(PromptLearningConfig::PROMPT_TUNING) => {
                prompt_learning(fields, PromptMethod::PromptTuning(PromptTuning::default()))
            }
            Some(PromptLearningConfig::PREFIX_TUNING) => {
                prompt_learning(fields, PromptMethod::PrefixTuning(PrefixTuning::default()))
            }
            Some(PromptLearningConfig::P_TUNING) => prompt_learning(fields, PromptMethod::PTuning(PTuning::default())),
            Some(PixelPromptConfig::PEFT_TYPE) => {
                let (config, warnings) = PixelPromptConfig::read(fields)?;
                Ok((AdapterConfig::PixelPrompt(config), warnings))
            }
            Some(LnTuningConfig::PEFT_TYPE) => {
                let (config, warnings) = LnTuningConfig::read(fields)?;
                Ok((AdapterConfig::LnTuning(config), warnings))
            }
            Some(VeraConfig::PEFT_TYPE) => {
                let (config, warnings) = VeraConfig::read(fields)?;
                Ok((AdapterConfig::Vera(config), warnings))
            }
            Some(AdaLoraConfig::PEFT_TYPE) => {
                let (config, warnings) = AdaLoraConfig::read(fields)?;
                Ok((AdapterConfig::AdaLora(config), warnings))
            }
            Some(TrainableTokensConfig::PEFT_TYPE) => {
                let (config, warnings) = TrainableTokensConfig::read(fields)?;
                Ok((AdapterConfig::TrainableTokens(config), warnings))
            }
            Some(other) => Err(PeftError::UnknownMethod {
                path: path.to_owned(),
                method: other.to_owned(),
                supported: PEFT_TYPES.join(", "),
            }),
            None => Err(fields.wrong("peft_type", "is missing; the file is neither PEFT's nor AdapterHub's")),
        }
    }

    /// What all of PEFT's methods have; `None` of AdapterHub's.
    pub fn common(&self) -> Option<&Common> {
        match self {
            AdapterConfig::Lora(config) => Some(&config.common),
            AdapterConfig::Ia3(config) => Some(&config.common),
            AdapterConfig::PromptLearning(config) => Some(&config.common),
            AdapterConfig::PixelPrompt(config) => Some(&config.common),
            AdapterConfig::LnTuning(config) => Some(&config.common),
            AdapterConfig::Vera(config) => Some(&config.common),
            AdapterConfig::AdaLora(config) => Some(&config.lora.common),
            AdapterConfig::TrainableTokens(config) => Some(&config.common),
            AdapterConfig::Bottleneck(_) => None,
        }
    }

    /// What the adapter was trained for, where its file says so.
    pub fn task_type(&self) -> Option<TaskType> {
        match self {
            AdapterConfig::Bottleneck(config) => config.model.task_type(),
            other => other.common().and_then(|common| common.task_type),
        }
    }

    /// The configuration with the modules that an adapter of its task and of a base with new parameters has to save.
    pub(crate) fn with_heads(mut self, base: Option<&Base>) -> (Self, Warnings) {
        let (task, names) = match &mut self {
            AdapterConfig::Lora(config) => (config.common.task_type, &mut config.modules_to_save),
            AdapterConfig::Ia3(config) => (config.common.task_type, &mut config.modules_to_save),
            AdapterConfig::PromptLearning(config) => (config.common.task_type, &mut config.modules_to_save),
            AdapterConfig::PixelPrompt(config) => (config.common.task_type, &mut config.modules_to_save),
            AdapterConfig::LnTuning(config) => (config.common.task_type, &mut config.modules_to_save),
            AdapterConfig::Vera(config) => (config.common.task_type, &mut config.modules_to_save),
            AdapterConfig::AdaLora(config) => (config.lora.common.task_type, &mut config.lora.modules_to_save),
            // AdapterHub saves heads by themselves, and PEFT's trainable tokens have no place for them: new ones are refused.
            AdapterConfig::Bottleneck(_) | AdapterConfig::TrainableTokens(_) => return (self, Warnings::new()),
        };
        modules_to_save::add_heads(names, task);
        let warnings = base.map_or_else(Warnings::new, |base| modules_to_save::add_new(names, base));
        (self, warnings)
    }

    /// The text of the file, as PEFT or AdapterHub would write it. `fan_in_fan_out` says whether the adapted weights are stored
    /// `[in, out]`, as GPT-2's are.
    pub fn to_text(&self, fan_in_fan_out: bool) -> String {
        match self {
            AdapterConfig::Lora(config) => python_json::dumps(&config.to_json(fan_in_fan_out)),
            AdapterConfig::Bottleneck(config) => python_json::dumps(&config.to_json()),
            AdapterConfig::Ia3(config) => python_json::dumps(&config.to_json(fan_in_fan_out)),
            AdapterConfig::PromptLearning(config) => python_json::dumps(&config.to_json()),
            AdapterConfig::PixelPrompt(config) => python_json::dumps(&config.to_json()),
            AdapterConfig::LnTuning(config) => python_json::dumps(&config.to_json()),
            AdapterConfig::Vera(config) => python_json::dumps(&config.to_json(fan_in_fan_out)),
            AdapterConfig::AdaLora(config) => python_json::dumps(&config.to_json(fan_in_fan_out)),
            AdapterConfig::TrainableTokens(config) => python_json::dumps(&config.to_json()),
        }
    }
}

/// A file of AdapterHub: `config` is within what it says about the model.
fn adapterhub(file: Fields, mut config: Fields) -> Result<(AdapterConfig, Warnings), PeftError> {
    match config.take::<String>("architecture")? {
        None => {
            let (config, warnings) = BottleneckConfig::read(file, config)?;
            Ok((AdapterConfig::Bottleneck(config), warnings))
        }
        Some(other) => Err(config.wrong(
            "architecture",
            format!(
                "{} is not supported; of AdapterHub's methods bottleneck adapters, LoRA and (IA)^3 are",
                checkpoint::Quoted(&other)
            ),
        )),
    }
}

fn prompt_learning(fields: Fields, method: PromptMethod) -> Result<(AdapterConfig, Warnings), PeftError> {
    let (config, warnings) = PromptLearningConfig::read(fields, method)?;
    Ok((AdapterConfig::PromptLearning(config), warnings))
}
