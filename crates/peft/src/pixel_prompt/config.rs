//! `adapter_config.json` of a pixel prompt.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::Common;
use crate::fields::Fields;
use crate::{PeftError, Warnings};

/// Where in an image the values are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelPromptKind {
    /// In a frame around it.
    #[default]
    Padding,
    /// In a square of its upper left corner.
    FixedPatch,
}

/// A configuration under the names of the authors' program.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelPromptConfig {
    /// What every method has.
    pub common: Common,
    /// Where the values are added.
    pub pixel_prompt: PixelPromptKind,
    /// Width of the frame, or side of the square, in pixels.
    pub prompt_size: usize,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Option<Vec<String>>,
}

impl Default for PixelPromptConfig {
    /// The authors' frame of 30 pixels, for images of 224 by 224.
    fn default() -> Self {
        Self {
            common: Common::default(),
            pixel_prompt: PixelPromptKind::Padding,
            prompt_size: 30,
            modules_to_save: None,
        }
    }
}

impl PixelPromptConfig {
    /// The name of the method in a file.
    pub const PEFT_TYPE: &'static str = "PIXEL_PROMPT";

    /// Reads what is left in `fields` after `peft_type`.
    pub(crate) fn read(mut fields: Fields) -> Result<(Self, Warnings), PeftError> {
        let prompt_size: Option<usize> = fields.take("prompt_size")?;
        let config = Self {
            common: Common::read(&mut fields)?,
            pixel_prompt: fields.take("pixel_prompt")?.ok_or_else(|| fields.wrong("pixel_prompt", "is missing"))?,
            prompt_size: prompt_size.ok_or_else(|| fields.wrong("prompt_size", "is missing"))?,
            modules_to_save: fields.take("modules_to_save")?,
        };
        Ok((config, fields.finish()))
    }

    /// The file's object.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = Map::new();
        self.common.write(&mut json, Self::PEFT_TYPE);
        json.insert("pixel_prompt".to_owned(), json!(self.pixel_prompt));
        json.insert("prompt_size".to_owned(), json!(self.prompt_size));
        json.insert("modules_to_save".to_owned(), json!(self.modules_to_save));
        Value::Object(json)
    }
}
