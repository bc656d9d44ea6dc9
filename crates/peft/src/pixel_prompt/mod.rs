//! Pixel prompts: values that are added to the pixels of every image, in a frame around it or in a square of its upper left
//! corner. The model sees nothing else of the method.
//!
//! Source: Bahng et al. 2022, "Exploring visual prompts for adapting large-scale models", sections 3.1 and 3.2. They are
//! added to pixel values as the model is given them, after these are normalized, and start as standard normal values, both as
//! in the authors' program; what its modules call the tensors, the file does too. PEFT has no such method: `peft_type` is
//! `PIXEL_PROMPT`, which it refuses.
//!
//! | `pixel_prompt` | key in `adapter_model.safetensors` | shape, with `prompt_size` p |
//! |---|---|---|
//! | `padding` | `pad_up`, `pad_down` | `[1, channels, p, width]` |
//! | | `pad_left`, `pad_right` | `[1, channels, height - 2 p, p]` |
//! | `fixed_patch` | `patch` | `[1, channels, p, p]` |
//! | both | `base_model.` and the name of a parameter of `modules_to_save` | its own |

mod adapter;
mod attach;
mod config;
mod layout;

use std::sync::Arc;

use model::Modules;
use tensor::{Parameters, Tensor};

use crate::method::SavedTensor;
use crate::stand_ins::StandIns;

pub use attach::trainable;
pub use config::{PixelPromptConfig, PixelPromptKind};

/// A pixel prompt attached to a model.
pub struct PixelPrompt {
    config: PixelPromptConfig,
    /// Channels, height and width of an image.
    image: [usize; 3],
    /// For each value of an image, 0 if nothing is added to it, otherwise one more than the place of what is among the
    /// trained values, one part after another.
    places: Arc<[u32]>,
    parts: Vec<Tensor>,
    /// One zero, where the parts are.
    zero: Tensor,
    parameters: Parameters,
    stand_ins: StandIns,
    modules: Modules,
    saved: Vec<SavedTensor>,
}

impl PixelPrompt {
    /// The configuration.
    pub fn config(&self) -> &PixelPromptConfig {
        &self.config
    }
}
