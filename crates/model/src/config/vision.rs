//! A model of images as data.

use std::path::Path;

use checkpoint::read_json;
use device::DType;
use serde_json::{Map, Value};

use super::{BlockConfig, CONFIG_FILE, Keys, Labels, LayerConfig, check_quantization, read::MAX_BYTES};
use crate::families::VisionFamily;
use crate::load::Renames;
use crate::module::Modules;
use crate::vision::Network;
use crate::{Dimensions, ModelError, Result};

/// One vision transformer. Nothing is allocated by the sizes in it before they were checked.
#[derive(Clone, Debug)]
pub struct VisionConfig {
    /// The family, whose [`VisionFamily::model_type`] is Hugging Face's name of it.
    pub family: &'static VisionFamily,
    /// The class of transformers under its head.
    pub architecture: &'static str,
    /// The part of the tree that a model without a head consists of.
    pub base: &'static str,
    /// Height and width of an image.
    pub image_size: [usize; 2],
    /// Height and width of a patch. What a whole number of patches leaves of an image is not looked at.
    pub patch_size: [usize; 2],
    /// Channels of an image.
    pub num_channels: usize,
    /// The parameters that are tokens in front of the patches: that of the class first.
    pub special_tokens: &'static [&'static str],
    /// The heads, one for each special token from the first on; scores are their mean.
    pub heads: &'static [&'static str],
    /// The dtype that the file says the weights are meant for.
    pub dtype: Option<DType>,
    /// What the blocks are built from.
    pub block: BlockConfig,
    /// One entry for each block.
    pub layers: Vec<LayerConfig>,
    /// The list of blocks.
    pub blocks: &'static str,
    /// Parts of names that older releases of transformers have otherwise.
    pub(crate) older: Renames,
    /// The classes of `id2label`, or two.
    pub labels: Labels,
    /// The standard deviation of a new head's weights.
    pub initializer_range: f32,
}

impl VisionConfig {
    /// Reads the `config.json` of the model in `dir`, as transformers 4 or 5 wrote it.
    ///
    /// # Errors
    /// As [`super::DecoderConfig::read`].
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG_FILE);
        Self::from_json(&path, &read_json(&path, MAX_BYTES)?)
    }

    /// Reads the content of a `config.json`; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`VisionConfig::read`].
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self> {
        let keys = Keys::new(path, json);
        check_quantization(&keys)?;
        let model_type = keys.model_type(&VisionFamily::supported)?;
        match VisionFamily::find(model_type) {
            Some(family) => (family.read)(&keys),
            None => Err(ModelError::UnsupportedFamily {
                path: path.to_owned(),
                got: model_type.to_owned(),
                supported: VisionFamily::supported(),
                hint: "; models of text are for other task types than IMAGE_CLS",
            }),
        }
    }

    /// Patches down and across an image.
    pub fn grid(&self) -> [usize; 2] {
        [0, 1].map(|side| self.image_size[side] / self.patch_size[side])
    }

    /// Patches of an image.
    pub fn num_patches(&self) -> usize {
        self.grid().iter().product()
    }

    /// Tokens of an image: its patches, and the special ones.
    pub fn num_tokens(&self) -> usize {
        self.special_tokens.len() + self.num_patches()
    }

    /// Values of a patch.
    pub(crate) fn patch_values(&self) -> usize {
        self.num_channels * self.patch_size.iter().product::<usize>()
    }

    /// Values of an image, `[num_channels, height, width]`.
    pub fn image_shape(&self) -> [usize; 3] {
        [self.num_channels, self.image_size[0], self.image_size[1]]
    }

    /// The modules of this model, without reading a weight: under a head of `num_labels` classes, or without one.
    pub fn modules(&self, num_labels: Option<usize>) -> Modules {
        Network::declare(self, num_labels).1
    }

    /// Its sizes, as every kind of model has them. It has no vocabulary.
    pub fn dimensions(&self) -> Dimensions {
        Dimensions {
            model_type: self.family.model_type,
            architecture: self.architecture,
            vocab_size: 0,
            hidden_size: self.block.hidden_size,
            intermediate_size: self.block.intermediate_size,
            num_layers: self.layers.len(),
            heads: self.block.heads,
            learned_positions: None,
            rotations_follow_length: false,
            image: Some(self.image_shape()),
        }
    }
}
