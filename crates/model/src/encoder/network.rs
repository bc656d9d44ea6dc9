//! All parts of an encoder, and the list of their modules.

use tensor::Layout;

use super::TaskHead;
use super::embeddings::Embeddings;
use crate::ModuleId;
use crate::config::EncoderConfig;
use crate::module::Modules;
use crate::parts::{Blocks, ClassifierHead, Linear};

/// An encoder without its weights.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) embeddings: Embeddings,
    pub(crate) blocks: Blocks,
    pub(crate) head: Option<ClassifierHead>,
    /// A module that belongs to a model without a head and that mean pooling does not use.
    pooler: Option<ModuleId>,
}

impl Network {
    /// Makes the parts that `config` describes and lists their modules.
    pub(crate) fn declare(config: &EncoderConfig, head: TaskHead) -> (Self, Modules) {
        let mut modules = Modules::default();
        let path = |path: &str| match head {
            TaskHead::FeatureExtraction => path.to_owned(),
            _ => format!("{}.{path}", config.base),
        };
        let hidden = config.block.hidden_size;
        let embeddings = Embeddings::declare(&mut modules, config, path);
        let blocks = Blocks::declare(&mut modules, &config.block, &config.layers, &path(config.blocks));
        let (mut pooler, mut classes) = (None, None);
        match head {
            TaskHead::FeatureExtraction => {
                let declare = |path: &str| {
                    Linear::declare(&mut modules, path.to_owned(), None, [hidden, hidden], Layout::OutIn, true).module
                };
                pooler = config.heads.pooler.map(declare);
            }
            TaskHead::SequenceClassification { num_labels } => {
                classes = Some((config.heads.sequence, num_labels));
            }
            TaskHead::TokenClassification { num_labels } => classes = Some((config.heads.token, num_labels)),
        }
        let head = classes.map(|(head, num_labels)| ClassifierHead::declare(&mut modules, &head, [hidden, num_labels]));
        (Self { embeddings, blocks, head, pooler }, modules)
    }

    /// The modules that the files of a model made for another task do not have.
    pub(crate) fn new_modules(&self) -> Vec<ModuleId> {
        self.head.iter().flat_map(ClassifierHead::modules).chain(self.pooler).collect()
    }
}
