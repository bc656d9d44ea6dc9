//! Resizing as Pillow does it: each axis by itself, the horizontal one first, every output pixel a weighted sum of the input
//! pixels under a filter that is as many times wider as the image shrinks. Weights are rounded to 22 bits and sums to 8
//! between the axes and at the end, so that results are those of Pillow up to release 12 bit for bit. Pillow 13 takes the
//! vertical axis first for some sizes, which rounds some values otherwise.

use std::f64::consts::PI;

use super::Rgb;

/// Bits of a weight behind the point: 32 without the 8 of a pixel and two that sums need.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// A filter, by Pillow's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resample {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

impl Resample {
    /// The filter of a `PIL.Image.Resampling`.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        let filters = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];
        filters.get(usize::try_from(number).ok()?).copied()
    }

    /// Half the width of the filter where nothing shrinks.
    fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Nearest => 0.0,
            Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => sinc(distance) * (0.54 + 0.46 * (PI * distance).cos()),
            // a = -0.5.
            Self::Bicubic if distance < 1.0 => (1.5 * distance - 2.5) * distance * distance + 1.0,
            Self::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5,
            Self::Bicubic => 0.0,
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// The pixels between the axes, of an image of `from` that becomes `to` (height and width each): as many rows as it had, as
/// wide as it becomes. Those of a high and narrow image are many times those of either end.
pub(super) fn pixels_between(from: [usize; 2], to: [usize; 2], resample: Resample) -> u64 {
    if resample == Resample::Nearest { 0 } else { from[0] as u64 * to[1] as u64 }
}

/// `image` with `height` rows of `width` pixels.
pub(super) fn resize(image: &Rgb, [height, width]: [usize; 2], resample: Resample) -> Rgb {
    if [image.height, image.width] == [height, width] {
        return image.clone();
    }
    if resample == Resample::Nearest {
        return nearest(image, [height, width]);
    }
    let image = if image.width == width { image.clone() } else { across(image, width, resample) };
    if image.height == height { image } else { down(&image, height, resample) }
}

fn nearest(image: &Rgb, [height, width]: [usize; 2]) -> Rgb {
    let source = |to: usize, size: usize, of: usize| {
        let at = (to as f64 + 0.5) * (of as f64 / size as f64);
        (at as usize).min(of - 1)
    };
    let mut values = Vec::with_capacity(3 * height * width);
    for row in (0..height).map(|row| source(row, height, image.height)) {
        for column in (0..width).map(|column| source(column, width, image.width)) {
            let start = 3 * (row * image.width + column);
            values.extend(&image.values[start..start + 3]);
        }
    }
    Rgb { height, width, values }
}

/// The input pixels of one output pixel, and their weights.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Of each of `size` output pixels, over `of` input pixels.
fn windows(size: usize, of: usize, resample: Resample) -> Vec<Window> {
    let scale = of as f64 / size as f64;
    let filter_scale = scale.max(1.0);
    let support = resample.support() * filter_scale;
    let window = |to: usize| {
        let center = (to as f64 + 0.5) * scale;
        // Rounded to nearest, as Pillow does it.
        let start = ((center - support + 0.5) as i64).max(0) as usize;
        let end = ((center + support + 0.5) as usize).min(of);
        let weight = |pixel: usize| resample.weight((pixel as f64 - center + 0.5) * (1.0 / filter_scale));
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| {
            let scaled = if sum == 0.0 { weight } else { weight / sum } * f64::from(1 << PRECISION_BITS);
            (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i32
        };
        Window { start, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..size).map(window).collect()
}

fn rounded(sum: i32) -> u8 {
    ((sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clamp(0, 255) as u8
}

fn across(image: &Rgb, width: usize, resample: Resample) -> Rgb {
    let windows = windows(width, image.width, resample);
    let mut values = Vec::with_capacity(3 * image.height * width);
    for row in image.values.chunks_exact(3 * image.width) {
        for Window { start, weights } in &windows {
            let pixels = row[3 * start..].chunks_exact(3);
            let sums = pixels.zip(weights).fold([0i32; 3], |sums, (pixel, weight)| {
                [0, 1, 2].map(|channel| sums[channel] + i32::from(pixel[channel]) * weight)
            });
            values.extend(sums.map(rounded));
        }
    }
    Rgb { height: image.height, width, values }
}

fn down(image: &Rgb, height: usize, resample: Resample) -> Rgb {
    let line = 3 * image.width;
    let mut values = Vec::with_capacity(line * height);
    let mut sums = vec![0i32; line];
    for Window { start, weights } in windows(height, image.height, resample) {
        sums.fill(0);
        for (row, weight) in image.values[start * line..].chunks_exact(line).zip(weights) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += i32::from(*value) * weight);
        }
        values.extend(sums.iter().map(|sum| rounded(*sum)));
    }
    Rgb { height, width: image.width, values }
}
