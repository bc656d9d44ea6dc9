//! Settings of pixel prompts.

use peft::pixel_prompt::{PixelPromptConfig, PixelPromptKind};
use serde::Serialize;

use super::Selection;
use super::conflicts::Conflicts;
use crate::config::section::Section;
use crate::config::value::Choice;

/// The settings as far as they were written: what is `None` takes the default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PixelPromptSettings {
    /// Where the pixels are: `padding`, a frame around the image, or `fixed_patch`, a square of its upper left corner. Default
    /// `padding`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_prompt: Option<PixelPromptKind>,
    /// Width of the frame, or side of the square, in pixels. Default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_size: Option<usize>,
}

impl PixelPromptSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self { pixel_prompt: s.get("pixel_prompt"), prompt_size: s.get_within("prompt_size", 1..=1 << 13) }
    }

    /// These settings, the defaults for the rest.
    pub fn over_defaults(&self, selection: &Selection) -> PixelPromptConfig {
        self.over(selection, &PixelPromptConfig::default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from, whose structure is taken over.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(
        &self,
        selection: &Selection,
        adapter: &PixelPromptConfig,
    ) -> Result<PixelPromptConfig, Vec<String>> {
        let merged = self.over(selection, adapter);
        let mut conflicts = Conflicts::default();
        conflicts.check("pixel_prompt", &merged.pixel_prompt, &adapter.pixel_prompt);
        conflicts.check("prompt_size", &merged.prompt_size, &adapter.prompt_size);
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        conflicts.none()?;
        Ok(merged)
    }

    fn over(&self, selection: &Selection, base: &PixelPromptConfig) -> PixelPromptConfig {
        PixelPromptConfig {
            common: base.common.clone(),
            pixel_prompt: self.pixel_prompt.unwrap_or(base.pixel_prompt),
            prompt_size: self.prompt_size.unwrap_or(base.prompt_size),
            modules_to_save: selection.modules_to_save.clone().or_else(|| base.modules_to_save.clone()),
        }
    }
}

impl Choice for PixelPromptKind {
    const CHOICES: &'static [(&'static str, Self)] = &[("padding", Self::Padding), ("fixed_patch", Self::FixedPatch)];
}
