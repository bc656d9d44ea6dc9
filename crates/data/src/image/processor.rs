//! `preprocessor_config.json`: what is done to an image before a model sees it.

use std::path::{Path, PathBuf};

use checkpoint::{Quoted, read_json};
use serde_json::{Map, Value};

use super::decode::MAX_PIXELS;
use super::resize::{Resample, pixels_between, resize};
use super::{Rgb, decode};
use crate::DataError;
use crate::row::kind;

/// The file beside a model.
const CONFIG: &str = "preprocessor_config.json";
/// It is a page of text.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// The largest side of a resized image.
const MAX_SIDE: u64 = 1 << 13;
/// Keys that say nothing about pixels.
const WITHOUT_EFFECT: [&str; 12] = [
    "feature_extractor_type",
    "image_processor_type",
    "processor_class",
    "auto_map",
    "data_format",
    "input_data_format",
    "default_to_square",
    "device",
    "disable_grouping",
    "return_tensors",
    "image_seq_length",
    // A file is converted to RGB whether it says so or not: the model has three channels.
    "do_convert_rgb",
];

/// Turns image files into pixel values, as transformers' image processor of the model does:
/// `((pixel * rescale_factor) - image_mean) / image_std` after resizing and cropping, channel by channel.
///
/// From the same pixels it gives what the processor over Pillow 12 gives, to the rounding of f32. Others round otherwise between
/// the axes, the one over torchvision among them, and JPEG decoders at their end: values differ by a few levels of 255.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageProcessor {
    resize: Option<(Size, Resample)>,
    /// Height and width.
    crop: Option<[usize; 2]>,
    rescale_factor: Option<f64>,
    /// Mean and standard deviation by channel.
    normalize: Option<[[f64; 3]; 2]>,
}

/// What an image is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Height and width.
    Both([usize; 2]),
    /// The shorter side; the longer one follows.
    ShortestEdge(usize),
}

/// What a processor's class assumes where the file says nothing.
struct Defaults {
    size: usize,
    resample: u64,
    crop: Option<usize>,
    mean: [f64; 3],
    std: [f64; 3],
}

/// `IMAGENET_STANDARD_MEAN` and its like in transformers.
const HALF: [f64; 3] = [0.5; 3];
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

impl ImageProcessor {
    /// The processor of the model in `dir`.
    ///
    /// # Errors
    /// [`DataError::NoProcessor`], [`DataError::File`]; [`DataError::Processor`] for a key that cannot be used.
    pub fn load(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(CONFIG);
        if !path.exists() {
            return Err(DataError::NoProcessor { dir: dir.to_owned() });
        }
        Self::from_json(&path, &read_json(&path, MAX_CONFIG_BYTES)?)
    }

    /// The processor that a file describes; `path` is what messages call it.
    ///
    /// # Errors
    /// As [`ImageProcessor::load`].
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Self, DataError> {
        let mut keys = Keys { path, json: json.clone() };
        let defaults = keys.defaults()?;
        keys.json.retain(|key, _| !WITHOUT_EFFECT.contains(&key.as_str()));
        let size = keys.size("size")?.unwrap_or(Size::Both([defaults.size; 2]));
        let resample = keys.resample(defaults.resample)?;
        let resize = keys.flag("do_resize", true)?.then_some((size, resample));
        let crop_size = match keys.size("crop_size")? {
            Some(Size::ShortestEdge(_)) => return Err(keys.wrong("crop_size", "is no height and width")),
            Some(Size::Both(sides)) => Some(sides),
            None => defaults.crop.map(|side| [side; 2]),
        };
        let crop = match keys.flag("do_center_crop", defaults.crop.is_some())? {
            false => None,
            true => Some(crop_size.ok_or_else(|| keys.wrong("crop_size", "is missing, and do_center_crop is true"))?),
        };
        let factor = keys.number("rescale_factor", 1.0 / 255.0)?;
        let rescale_factor = keys.flag("do_rescale", true)?.then_some(factor);
        let statistics = [keys.channels("image_mean", defaults.mean)?, keys.channels("image_std", defaults.std)?];
        if statistics[1].contains(&0.0) {
            return Err(keys.wrong("image_std", "holds a zero"));
        }
        let normalize = keys.flag("do_normalize", true)?.then_some(statistics);
        keys.finish()?;
        Ok(Self { resize, crop, rescale_factor, normalize })
    }

    /// Checks the header of the image file `path`, and gives its bytes.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Image`] for a file that is no image, one of a kind or size that is not read, and one
    /// too long or too high to be resized.
    pub(crate) fn check(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        let bytes = decode::read(path)?;
        let sides = decode::check(path, &bytes)?;
        self.resized(path, sides)?;
        Ok(bytes)
    }

    /// The pixel values of the image file `path`, `[3, height, width]`, where `size` is what the model asks for.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Image`] for a file that is broken or no image, and for one that does not come to `size`.
    pub fn pixel_values(&self, path: &Path, size: [usize; 2]) -> Result<Vec<f32>, DataError> {
        let image = decode::decode(path, &decode::read(path)?)?;
        let image = self.shaped(path, image)?;
        if [image.height, image.width] != size {
            let (got, expected) = ([image.height, image.width], size);
            let reason = format!(
                "preprocessor_config.json makes it {} x {} pixels, and the model takes {} x {}",
                got[0], got[1], expected[0], expected[1]
            );
            return Err(decode::wrong(path, reason));
        }
        Ok(self.scaled(&image))
    }

    /// What an image of `from` (height and width) is resized to, and how.
    fn resized(&self, path: &Path, from: [usize; 2]) -> Result<Option<([usize; 2], Resample)>, DataError> {
        let Some((size, resample)) = self.resize else { return Ok(None) };
        let to = match size {
            Size::Both(sides) => sides,
            Size::ShortestEdge(edge) => {
                let (short, long) = (from[0].min(from[1]), from[0].max(from[1]));
                let longer = (edge as f64 * long as f64 / short as f64) as usize;
                if longer as u64 > MAX_SIDE {
                    return Err(decode::wrong(path, format!("{} x {} is too long to resize", from[0], from[1])));
                }
                if from[0] <= from[1] { [edge, longer] } else { [longer, edge] }
            }
        };
        // Either end is within its limits; the rows between them need not be.
        let between = pixels_between(from, to, resample);
        if between > MAX_PIXELS {
            let reason = format!(
                "{} x {} is too high to resize to {} x {}: made as wide it has {between} pixels, more than \
                 {MAX_PIXELS}; crop it",
                from[0], from[1], to[0], to[1]
            );
            return Err(decode::wrong(path, reason));
        }
        Ok(Some((to, resample)))
    }

    /// The image resized and cropped.
    fn shaped(&self, path: &Path, image: Rgb) -> Result<Rgb, DataError> {
        let image = match self.resized(path, [image.height, image.width])? {
            None => image,
            Some((sides, resample)) => resize(&image, sides, resample),
        };
        let Some([height, width]) = self.crop else { return Ok(image) };
        if image.height < height || image.width < width {
            let got = format!("{} x {}", image.height, image.width);
            return Err(decode::wrong(path, format!("{got} pixels are less than crop_size, {height} x {width}")));
        }
        let (top, left) = ((image.height - height) / 2, (image.width - width) / 2);
        let rows = image.values.chunks_exact(3 * image.width).skip(top).take(height);
        let values = rows.flat_map(|row| row[3 * left..3 * (left + width)].iter().copied()).collect();
        Ok(Rgb { height, width, values })
    }

    /// The pixels as numbers, channel by channel.
    fn scaled(&self, image: &Rgb) -> Vec<f32> {
        let factor = self.rescale_factor.unwrap_or(1.0);
        let [mean, std] = self.normalize.unwrap_or([[0.0; 3], [1.0; 3]]);
        // A byte has 256 values: each is computed once.
        let table = |channel: usize| -> Vec<f32> {
            (0..256).map(|byte| ((f64::from(byte) * factor - mean[channel]) / std[channel]) as f32).collect()
        };
        let channels = [0, 1, 2].map(table);
        let channel = |c: usize| image.values.iter().skip(c).step_by(3).map(move |byte| (c, *byte));
        (0..3).flat_map(channel).map(|(c, byte)| channels[c][usize::from(byte)]).collect()
    }
}

/// The keys of the file that nobody has asked for yet.
struct Keys<'a> {
    path: &'a Path,
    json: Map<String, Value>,
}

impl Keys<'_> {
    /// Those of the processor's class.
    fn defaults(&self) -> Result<Defaults, DataError> {
        let name =
            ["image_processor_type", "feature_extractor_type"].into_iter().find_map(|key| self.json.get(key)?.as_str());
        let name = name.unwrap_or("ViTImageProcessor");
        let family = ["ImageProcessorFast", "ImageProcessorPil", "ImageProcessor", "FeatureExtractor"];
        match family.iter().find_map(|end| name.strip_suffix(end)) {
            Some("ViT") => Ok(Defaults { size: 224, resample: 2, crop: None, mean: HALF, std: HALF }),
            Some("DeiT") => {
                Ok(Defaults { size: 256, resample: 3, crop: Some(224), mean: IMAGENET_MEAN, std: IMAGENET_STD })
            }
            _ => {
                let reason = format!("is {}; those of ViT and DeiT are known", Quoted(name));
                Err(self.wrong("image_processor_type", reason))
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.json.shift_remove(key).filter(|value| !value.is_null())
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool, DataError> {
        match self.take(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.unexpected(key, "true or false", &value)),
        }
    }

    fn number(&mut self, key: &str, default: f64) -> Result<f64, DataError> {
        match self.take(key) {
            None => Ok(default),
            Some(value) => value
                .as_f64()
                .filter(|number| (*number as f32).is_finite())
                .ok_or_else(|| self.unexpected(key, "a number", &value)),
        }
    }

    fn channels(&mut self, key: &str, default: [f64; 3]) -> Result<[f64; 3], DataError> {
        const EXPECTED: &str = "three numbers, one for each channel";
        let Some(value) = self.take(key) else { return Ok(default) };
        let number = |value: &Value| value.as_f64().filter(|number| (*number as f32).is_finite());
        if let Some(number) = number(&value) {
            return Ok([number; 3]);
        }
        let numbers: Option<Vec<f64>> = value.as_array().and_then(|values| values.iter().map(number).collect());
        numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| self.unexpected(key, EXPECTED, &value))
    }

    fn size(&mut self, key: &str) -> Result<Option<Size>, DataError> {
        const EXPECTED: &str = "a side, {height, width} or {shortest_edge}, each from 1 to 8192";
        let Some(value) = self.take(key) else { return Ok(None) };
        let side =
            |value: &Value| value.as_u64().filter(|side| (1..=MAX_SIDE).contains(side)).map(|side| side as usize);
        let size = match &value {
            Value::Object(sides) if sides.len() == 2 => {
                let both = || Some([side(sides.get("height")?)?, side(sides.get("width")?)?]);
                both().map(Size::Both)
            }
            Value::Object(sides) if sides.len() == 1 => {
                sides.get("shortest_edge").and_then(side).map(Size::ShortestEdge)
            }
            // The first files have one number for both.
            other => side(other).map(|side| Size::Both([side; 2])),
        };
        size.map(Some).ok_or_else(|| self.unexpected(key, EXPECTED, &value))
    }

    fn resample(&mut self, default: u64) -> Result<Resample, DataError> {
        let value = self.take("resample").unwrap_or_else(|| default.into());
        let filter = value.as_u64().and_then(Resample::of_number);
        filter.ok_or_else(|| self.unexpected("resample", "the number of a filter of Pillow, 0 to 5", &value))
    }

    /// Refuses what would do something to the pixels and is not known.
    fn finish(&self) -> Result<(), DataError> {
        let is_on = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        match self.json.iter().find(|(_, value)| is_on(value)) {
            None => Ok(()),
            Some((key, _)) => Err(self.wrong(key, "is not known; without it the model would see other images")),
        }
    }

    fn unexpected(&self, key: &str, expected: &str, value: &Value) -> DataError {
        self.wrong(key, format!("is {}, expected {expected}", kind(value)))
    }

    fn wrong(&self, key: &str, reason: impl Into<String>) -> DataError {
        let path: PathBuf = self.path.to_owned();
        DataError::Processor { path, key: key.to_owned(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
