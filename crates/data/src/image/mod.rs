//! Images in files, as a model is given them.
//!
//! | step | as |
//! |---|---|
//! | decoded to RGB, PNG and JPEG | Pillow's `convert("RGB")`: palettes and gray spread out, transparency and EXIF orientation left aside |
//! | resized | Pillow's `resize`, up to release 12 bit for bit: a filter as wide as the image shrinks, in fixed point |
//! | cropped, rescaled, normalized | transformers' image processors, by `preprocessor_config.json` |

mod decode;
mod processor;
mod resize;

pub use processor::ImageProcessor;

/// Pixels of 8 bits a channel, `[height, width, 3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rgb {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<u8>,
}
