//! The images of one pass.

use std::sync::Arc;

use crate::config::VisionConfig;
use crate::{ModelError, Result};

/// Pixel values as a processor of images gives them, `[num_images, num_channels, height, width]`.
#[derive(Clone, Debug)]
pub struct Images {
    pixel_values: Arc<[f32]>,
    num_images: usize,
}

impl Images {
    /// `num_images` images of the size of the model that they are given to.
    pub fn new(pixel_values: &[f32], num_images: usize) -> Self {
        Self { pixel_values: pixel_values.into(), num_images }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.num_images
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.num_images == 0
    }

    /// # Errors
    /// [`ModelError::PixelValues`] for images of another size than the model's.
    pub(super) fn check(&self, config: &VisionConfig) -> Result<()> {
        let (images, got) = (self.num_images, self.pixel_values.len());
        match config.image_shape().iter().product::<usize>() * images {
            expected if expected == got => Ok(()),
            expected => Err(ModelError::PixelValues { images, expected, got }),
        }
    }

    /// The patches of all images, `[num_images * num_patches, num_channels * patch_height * patch_width]`: the operand of a
    /// product with a convolution's weight.
    pub(super) fn patches(&self, config: &VisionConfig) -> Vec<f32> {
        let image: usize = config.image_shape().iter().product();
        let places = places(config);
        let images = self.pixel_values.chunks_exact(image.max(1));
        images.flat_map(|image| places.iter().map(|place| image[*place as usize])).collect()
    }
}

/// Where in an image the values of its patches are: channel by channel and row by row of each patch, in the order in which a
/// convolution's weight has them.
pub(super) fn places(config: &VisionConfig) -> Vec<u32> {
    let ([_, height, width], [down, across], [rows, columns]) =
        (config.image_shape(), config.grid(), config.patch_size);
    let mut places = Vec::with_capacity(down * across * config.patch_values());
    for (top, left) in (0..down).flat_map(|i| (0..across).map(move |j| (i * rows, j * columns))) {
        for (channel, row) in (0..config.num_channels).flat_map(|c| (0..rows).map(move |row| (c, row))) {
            let start = (channel * height + top + row) * width + left;
            places.extend((start..start + columns).map(|place| place as u32));
        }
    }
    places
}
