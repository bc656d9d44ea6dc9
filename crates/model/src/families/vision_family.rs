//! The families of models of images.

use super::{deit, vit};
use crate::Result;
use crate::config::{Keys, VisionConfig};

/// A family of models of images.
#[derive(Debug)]
pub struct VisionFamily {
    /// What `config.json` calls it.
    pub model_type: &'static str,
    /// Starts of the names of tensors that only other heads than the model's have.
    pub(crate) other_heads: &'static [&'static str],
    /// Maps the keys of the configuration to the parts of a model.
    pub(crate) read: fn(&Keys<'_>) -> Result<VisionConfig>,
}

static FAMILIES: [&VisionFamily; 2] = [&deit::FAMILY, &vit::FAMILY];

impl VisionFamily {
    /// Every family, in alphabetical order.
    pub fn all() -> impl ExactSizeIterator<Item = &'static VisionFamily> {
        FAMILIES.into_iter()
    }

    /// The family of a `model_type`.
    pub fn find(model_type: &str) -> Option<&'static VisionFamily> {
        Self::all().find(|family| family.model_type == model_type)
    }

    /// The names of all families, for a message.
    pub(crate) fn supported() -> String {
        Self::all().map(|family| family.model_type).collect::<Vec<_>>().join(", ")
    }
}
