//! All parts of a vision transformer, and the list of their modules.

use tensor::Layout;

use super::embeddings::PatchEmbeddings;
use crate::config::VisionConfig;
use crate::load::renamed;
use crate::module::Modules;
use crate::parts::{Blocks, Linear, Norm};

/// A vision transformer without its weights.
#[derive(Debug)]
pub(crate) struct Network {
    pub(super) embeddings: PatchEmbeddings,
    pub(super) blocks: Blocks,
    /// After the last block.
    pub(super) norm: Norm,
    /// One for each special token from the first on; none without a head.
    pub(super) heads: Vec<Linear>,
}

impl Network {
    /// Makes the parts that `config` describes and lists their modules.
    pub(crate) fn declare(config: &VisionConfig, num_labels: Option<usize>) -> (Self, Modules) {
        let mut modules = Modules::default();
        let path = |path: &str| match num_labels {
            Some(_) => format!("{}.{path}", config.base),
            None => path.to_owned(),
        };
        let hidden = config.block.hidden_size;
        let embeddings = PatchEmbeddings::declare(&mut modules, config, &path("embeddings"));
        let blocks = Blocks::declare(&mut modules, &config.block, &config.layers, &path(config.blocks));
        let norm = Norm::declare(&mut modules, path("layernorm"), None, hidden, config.block.norm);
        let declare_head = |(name, num_labels): (&&str, usize)| {
            let size = [hidden, num_labels];
            let head = Linear::declare(&mut modules, (*name).to_owned(), None, size, Layout::OutIn, true);
            modules.set_head(head.module, None);
            head
        };
        let heads = config.heads.iter().zip(num_labels.into_iter().cycle()).map(declare_head).collect();
        modules.set_older_paths(|path| renamed(path, config.older));
        (Self { embeddings, blocks, norm, heads }, modules)
    }
}
