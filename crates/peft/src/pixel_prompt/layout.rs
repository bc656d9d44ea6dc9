//! Which values of an image a pixel prompt is added to, and what its parts are called.

use model::Dimensions;

use super::{PixelPromptConfig, PixelPromptKind};
use crate::PeftError;

/// One trained tensor: `[1, channels, height, width]` values, added from the pixel `[top, left]` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) shape: [usize; 4],
    start: [usize; 2],
}

/// Channels, height and width of the images of a model.
///
/// # Errors
/// [`PeftError::Setting`] for a model that is given no images.
pub(super) fn image_of(dimensions: &Dimensions) -> Result<[usize; 3], PeftError> {
    dimensions.image.ok_or_else(|| PeftError::Setting {
        key: "pixel_prompt",
        reason: format!(
            "a {} model is given no images, whose pixels could be changed; the prompt of a text is prompt_tuning",
            dimensions.model_type
        ),
    })
}

/// The parts of the prompt that `config` describes on images of this size.
///
/// # Errors
/// [`PeftError::Setting`] for a frame or square that the image has no room for.
pub(super) fn parts(config: &PixelPromptConfig, image: [usize; 3]) -> Result<Vec<Part>, PeftError> {
    let ([channels, height, width], size) = (image, config.prompt_size);
    let largest = match config.pixel_prompt {
        // At least a pixel is left within the frame.
        PixelPromptKind::Padding => height.min(width).saturating_sub(1) / 2,
        PixelPromptKind::FixedPatch => height.min(width),
    };
    if !(1..=largest).contains(&size) {
        let reason = format!("must be at least 1 and at most {largest} for images of {height} x {width}, got {size}");
        return Err(PeftError::Setting { key: "prompt_size", reason });
    }
    let part = |name, [rows, columns]: [usize; 2], start| Part { name, shape: [1, channels, rows, columns], start };
    let inner = height.saturating_sub(2 * size);
    Ok(match config.pixel_prompt {
        PixelPromptKind::Padding => vec![
            part("pad_up", [size, width], [0, 0]),
            part("pad_down", [size, width], [height - size, 0]),
            part("pad_left", [inner, size], [size, 0]),
            part("pad_right", [inner, size], [size, width - size]),
        ],
        PixelPromptKind::FixedPatch => vec![part("patch", [size, size], [0, 0])],
    })
}

/// For each value of an image, 0 if no part covers it, otherwise one more than the place of the value that does among those
/// of all parts.
pub(super) fn places(parts: &[Part], [channels, height, width]: [usize; 3]) -> Vec<u32> {
    let mut places = vec![0; channels * height * width];
    let mut next = 1;
    for Part { shape: [_, _, rows, columns], start: [top, left], .. } in parts {
        for (channel, row) in (0..channels).flat_map(|channel| (0..*rows).map(move |row| (channel, row))) {
            let start = (channel * height + top + row) * width + left;
            places[start..start + columns].iter_mut().for_each(|place| {
                *place = next;
                next += 1;
            });
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_surrounds_what_is_left_as_it_is() {
        let config = PixelPromptConfig { prompt_size: 1, ..PixelPromptConfig::default() };
        let parts = parts(&config, [1, 4, 3]).unwrap();
        assert_eq!(
            parts.iter().map(|part| part.name).collect::<Vec<_>>(),
            ["pad_up", "pad_down", "pad_left", "pad_right"]
        );
        assert_eq!(places(&parts, [1, 4, 3]), [1, 2, 3, 7, 0, 9, 8, 0, 10, 4, 5, 6]);
    }

    #[test]
    fn a_prompt_larger_than_the_image_is_refused() {
        let sized = |pixel_prompt, prompt_size| {
            parts(&PixelPromptConfig { pixel_prompt, prompt_size, ..PixelPromptConfig::default() }, [3, 6, 5])
        };
        assert!(sized(PixelPromptKind::Padding, 2).is_ok() && sized(PixelPromptKind::FixedPatch, 5).is_ok());
        for (kind, size) in
            [(PixelPromptKind::Padding, 3), (PixelPromptKind::FixedPatch, 6), (PixelPromptKind::Padding, 0)]
        {
            let message = sized(kind, size).unwrap_err().to_string();
            assert!(
                message.starts_with("`prompt_size`: must be at least 1 and at most") && message.contains("6 x 5"),
                "{message}"
            );
        }
    }
}
