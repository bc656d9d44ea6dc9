//! A base model as its configuration describes it, without its weights.

use std::path::Path;

use data::Task;
use model::config::TrunkConfig;
use model::{ClassifierConfig, Dimensions, EncoderDecoderConfig, Modules, TaskHead, VisionConfig};
use peft::formats::Blueprint;

use super::purpose::Purpose;
use crate::Error;

/// Sizes and modules of a model.
pub struct Headers {
    dimensions: Dimensions,
    modules: Modules,
}

impl Headers {
    /// Those of the model in `dir`, used for `purpose`.
    ///
    /// # Errors
    /// A configuration that cannot be read or does not suit the purpose.
    pub fn read(dir: &Path, purpose: &Purpose) -> Result<Self, Error> {
        if purpose.task == Task::Seq2SeqLm {
            let config = EncoderDecoderConfig::read(dir)?;
            return Ok(Self { dimensions: config.dimensions(), modules: config.modules() });
        }
        if purpose.task == Task::ImageClassification {
            let config = VisionConfig::read(dir)?;
            return Ok(Self { dimensions: config.dimensions(), modules: config.modules(Some(purpose.labels.len())) });
        }
        let config = ClassifierConfig::read(dir)?;
        let modules = match (&config.trunk, purpose.head()) {
            (_, Some(head)) => config.modules(head)?,
            (TrunkConfig::Decoder(decoder), None) => decoder.modules(),
            (TrunkConfig::Encoder(encoder), None) => encoder.modules(TaskHead::FeatureExtraction),
        };
        Ok(Self { dimensions: config.dimensions(), modules })
    }

    /// As adapters see it.
    pub fn blueprint(&self) -> Blueprint<'_> {
        Blueprint { dimensions: &self.dimensions, modules: &self.modules }
    }
}
