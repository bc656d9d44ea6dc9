//! Files to pixels. What a header claims is checked before memory is taken for it.

use std::io::Cursor;
use std::path::Path;

use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::Rgb;
use crate::DataError;
use crate::guard::guarded;

/// The most pixels of an image: beyond them Pillow warns of a decompression bomb.
pub(super) const MAX_PIXELS: u64 = (1 << 30) / 4 / 3;
/// The largest file. An image of [`MAX_PIXELS`] that cannot be compressed is not larger.
const MAX_BYTES: u64 = 512 << 20;

/// The bytes of the file `path`.
///
/// # Errors
/// [`DataError::Io`]; [`DataError::Image`] for a file too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_BYTES {
        return Err(wrong(
            path,
            format!("the file has {length} bytes, more than any image; {MAX_BYTES} are the limit"),
        ));
    }
    std::fs::read(path).map_err(failed)
}

/// Checks what the header of `bytes`, the content of `path`, says: format, size and kind of pixels. Gives height and width.
///
/// # Errors
/// [`DataError::Image`].
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<[usize; 2], DataError> {
    let sides = |decoder: Box<dyn ImageDecoder + '_>| {
        let (width, height) = decoder.dimensions();
        [height as usize, width as usize]
    };
    guarded(|| decoder(path, bytes).map(sides)).unwrap_or_else(|reason| Err(wrong(path, reason)))
}

/// The pixels in `bytes`, the content of `path`.
///
/// # Errors
/// [`DataError::Image`].
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Rgb, DataError> {
    let decoded = || {
        let image =
            DynamicImage::from_decoder(decoder(path, bytes)?).map_err(|error| wrong(path, error.to_string()))?;
        Ok(to_rgb(&image))
    };
    guarded(decoded).unwrap_or_else(|reason| Err(wrong(path, reason)))
}

fn decoder<'a>(path: &Path, bytes: &'a [u8]) -> Result<Box<dyn ImageDecoder + 'a>, DataError> {
    let reader = ImageReader::new(Cursor::new(bytes));
    let mut reader = reader.with_guessed_format().map_err(|error| wrong(path, error.to_string()))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(wrong(path, "it is neither PNG nor JPEG; convert it"));
    }
    if reader.format() == Some(ImageFormat::Jpeg) && !has_end(bytes) {
        return Err(wrong(path, "the file was cut off: its pixels do not end; copy it anew, or remove it"));
    }
    // The limits are those below, with words that say what to do.
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(|error| wrong(path, error.to_string()))?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > MAX_PIXELS {
        return Err(wrong(
            path,
            format!("its header claims {width} x {height} pixels, more than {MAX_PIXELS} or none"),
        ));
    }
    if decoder.original_color_type() == ExtendedColorType::Cmyk8 {
        return Err(wrong(path, "its colors are CMYK, which have no RGB of their own; convert it to RGB"));
    }
    if matches!(decoder.color_type(), ColorType::L16 | ColorType::La16) {
        return Err(wrong(path, "it is gray of 16 bits, which 8 bits do not hold; convert it to 8 bits"));
    }
    let mut limits = Limits::default();
    // A pixel has at most four channels of 16 bits; the decoder's own buffers are of a few rows.
    limits.max_alloc = Some(8 * MAX_PIXELS + (64 << 20));
    decoder.set_limits(limits).map_err(|error| wrong(path, error.to_string()))?;
    Ok(Box::new(decoder))
}

/// Whether a JPEG file has the marker of its end behind its pixels, without which the decoder makes up those that are missing.
/// What is no JPEG file is left to the decoder.
fn has_end(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    // Behind the marker of the start, segments, each with a marker and its length. A thumbnail within one has its own end.
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let [0xff, marker, high, low, ..] = *rest {
        let length = match marker {
            START_OF_SCAN => return rest.windows(2).any(|pair| pair == END_OF_IMAGE),
            // A byte that fills up.
            0xff => 1,
            _ => 2 + usize::from(u16::from_be_bytes([high, low])),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    true
}

/// As Pillow converts to RGB: gray in every channel, transparency left aside, of 16 bits the upper 8.
fn to_rgb(image: &DynamicImage) -> Rgb {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let values = match image {
        DynamicImage::ImageRgb16(image) => image.as_raw().iter().map(|value| (value >> 8) as u8).collect(),
        DynamicImage::ImageRgba16(image) => {
            image.pixels().flat_map(|pixel| [0, 1, 2].map(|i| (pixel.0[i] >> 8) as u8)).collect()
        }
        DynamicImage::ImageLumaA8(image) => image.pixels().flat_map(|pixel| [pixel.0[0]; 3]).collect(),
        DynamicImage::ImageRgba8(image) => {
            image.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).collect()
        }
        // Gray and RGB of 8 bits.
        other => other.to_rgb8().into_raw(),
    };
    Rgb { height, width, values }
}

pub(super) fn wrong(path: &Path, reason: impl Into<String>) -> DataError {
    // A decoder may quote the file, which must not write to the reader's terminal.
    let reason = reason.into().replace(char::is_control, "\u{fffd}");
    DataError::Image { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, RgbImage, Rgba, RgbaImage};

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>, String> {
        decode(Path::new("a/b.png"), bytes).map(|image| image.values).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb() {
        assert_eq!(
            decoded(&png(RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap())).unwrap(),
            [1, 2, 3, 4, 5, 6]
        );
        assert_eq!(decoded(&png(GrayImage::from_raw(2, 1, vec![7, 9]).unwrap())).unwrap(), [7, 7, 7, 9, 9, 9]);
        let transparent = RgbaImage::from_raw(1, 2, vec![1, 2, 3, 0, 4, 5, 6, 255]).unwrap();
        assert_eq!(decoded(&png(transparent)).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(decoded(&png(GrayAlphaImage::from_raw(1, 1, vec![8, 0]).unwrap())).unwrap(), [8, 8, 8]);
        let wide: ImageBuffer<Rgba<u16>, _> = ImageBuffer::from_raw(1, 1, vec![0x12ff, 0x3400, 0xff80, 7]).unwrap();
        assert_eq!(decoded(&png(DynamicImage::ImageRgba16(wide))).unwrap(), [0x12, 0x34, 0xff]);
    }

    #[test]
    fn a_jpeg_file_that_was_cut_off_is_refused() {
        let mut whole = Cursor::new(Vec::new());
        let image = RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
        DynamicImage::from(image).write_to(&mut whole, ImageFormat::Jpeg).unwrap();
        let whole = whole.into_inner();
        assert_eq!(decoded(&whole).unwrap().len(), 40 * 30 * 3);
        // What some cameras write behind the end is left aside.
        assert_eq!(decoded(&[&whole[..], b"more"].concat()).unwrap(), decoded(&whole).unwrap());
        for length in [whole.len() / 2, whole.len() * 9 / 10, whole.len() - 1] {
            let message = decoded(&whole[..length]).unwrap_err();
            assert!(message.starts_with("a/b.png: ") && !message.contains("neither"), "{message}");
        }
        // An end within a segment, as a thumbnail has one, is not that of the file.
        let thumbnail = [0xff, 0xe1, 0, 6, 0xff, 0xd9, 0, 0];
        let with_thumbnail = [&whole[..2], &thumbnail[..], &whole[2..whole.len() - 2]].concat();
        assert!(decoded(&with_thumbnail).unwrap_err().contains("was cut off"));
    }

    #[test]
    fn files_that_cannot_be_used_are_refused_by_name() {
        let whole = png(RgbImage::from_pixel(40, 30, image::Rgb([3, 200, 90])));
        let refused = |bytes: &[u8], expected: &str| {
            let message = decoded(bytes).unwrap_err();
            assert!(message.starts_with("a/b.png: ") && message.contains(expected), "{message}");
        };
        for length in [0, 7, 20, 40, whole.len() / 2, whole.len() - 13] {
            let message = decoded(&whole[..length]).unwrap_err();
            assert!(message.starts_with("a/b.png: "), "{message}");
        }
        refused(b"GIF89a\x01\x00\x01\x00", "neither PNG nor JPEG");
        refused(b"not an image", "neither PNG nor JPEG");
        let gray: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(1, 1, vec![0x1234]).unwrap();
        refused(&png(DynamicImage::ImageLuma16(gray)), "16 bits");
        // Four gigabytes of pixels in the header, none behind it.
        let mut bomb = whole[..33].to_vec();
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let checksum = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
        bomb.extend(&whole[33..]);
        refused(&bomb, "its header claims 65536 x 65536 pixels");
        assert!(check(Path::new("a/b.png"), &bomb).is_err() && check(Path::new("a/b.png"), &whole).is_ok());
    }

    /// The checksum of a PNG chunk.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
        })
    }
}
