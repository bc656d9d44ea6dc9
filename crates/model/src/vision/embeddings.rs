//! What the first block is given: `[class; patches W^T + b] + positions`, for a DeiT `[class; distillation; ...]`.
//!
//! A patch is projected by a convolution whose steps are as long as its kernel, which is a product: no pixel is in two
//! patches.

use std::sync::Arc;

use tensor::ops::EmbeddingOptions;
use tensor::{Layout, Result, Sequences, Tensor, Weight, ops};

use super::Images;
use super::images::places;
use crate::config::VisionConfig;
use crate::module::{ModuleKind, Modules};
use crate::parts::Scope;
use crate::{ModuleId, ParameterId};

/// The projection of patches, the special tokens and the positions.
#[derive(Debug)]
pub(crate) struct PatchEmbeddings {
    config: VisionConfig,
    /// `[1, 1, hidden_size]` each.
    special_tokens: Vec<ParameterId>,
    /// `[1, num_tokens, hidden_size]`.
    positions: ParameterId,
    projection: ModuleId,
    /// `[hidden_size, num_channels, patch_height, patch_width]`.
    weight: ParameterId,
    bias: Option<ParameterId>,
}

impl PatchEmbeddings {
    /// Adds the modules below `path` to the list.
    pub(super) fn declare(modules: &mut Modules, config: &VisionConfig, path: &str) -> Self {
        let (hidden, [rows, columns]) = (config.block.hidden_size, config.patch_size);
        let mut parameter = |name: &str, tokens| {
            let shape = vec![1, tokens, hidden];
            modules.add(format!("{path}.{name}"), None, ModuleKind::Parameter, shape, None).weight
        };
        let mut special_tokens = Vec::with_capacity(config.special_tokens.len());
        // The positions come after the class token, where transformers lists them.
        let (class, others) = config.special_tokens.split_at(1);
        special_tokens.extend(class.iter().map(|name| parameter(name, 1)));
        let positions = parameter("position_embeddings", config.num_tokens());
        special_tokens.extend(others.iter().map(|name| parameter(name, 1)));
        let kind = ModuleKind::Conv2d {
            in_channels: config.num_channels,
            out_channels: hidden,
            kernel_size: config.patch_size,
        };
        let shape = vec![hidden, config.num_channels, rows, columns];
        let projection = modules.add(format!("{path}.patch_embeddings.projection"), None, kind, shape, Some(hidden));
        let (projection, weight, bias) = (projection.id, projection.weight, projection.bias);
        Self { config: config.clone(), special_tokens, positions, projection, weight, bias }
    }

    /// A row for each token, the special ones first, and before those of each image the rows of `prompt`:
    /// `[num_images * (prompt_len + num_tokens), hidden_size]`.
    pub(super) fn forward(&self, images: &Images, prompt: Option<&Tensor>, scope: &Scope) -> Result<Tensor> {
        let (hidden, tokens) = (self.config.block.hidden_size, self.config.num_tokens());
        let patches = self.patches(images, scope)?;
        let weight = ops::reshape(scope.parameter(self.weight), [hidden, self.config.patch_values()])?;
        let (weight, bias) = (Weight::dense(weight, Layout::OutIn)?, self.bias.map(|id| scope.parameter(id)));
        let mut x = scope.adapter.linear(self.projection, &patches, &weight, bias, &scope.context)?;
        for (&token, rows) in self.special_tokens.iter().rev().zip(self.config.num_patches()..) {
            x = ops::prepend(&self.rows(token, 1, 1, scope)?, &x, &sequences(images.len(), rows)?)?;
        }
        let x = ops::add(&x, &self.rows(self.positions, tokens, images.len(), scope)?)?;
        match prompt {
            Some(prompt) => ops::prepend(prompt, &x, &sequences(images.len(), tokens)?),
            None => Ok(x),
        }
    }

    /// The patches of all images, with what the adapter adds to their pixels.
    fn patches(&self, images: &Images, scope: &Scope) -> Result<Tensor> {
        let (values, patches) = (self.config.patch_values(), self.config.num_patches());
        let weight = scope.parameter(self.weight);
        let x = Tensor::from_f32([images.len() * patches, values], &images.patches(&self.config))?;
        let x = x.to_device(weight.device(), weight.dtype())?;
        let Some(pixels) = scope.adapter.pixels()? else { return Ok(x) };
        let pixels = ops::reshape(&pixels, [pixels.count(), 1])?;
        let added = ops::select_rows(&pixels, &places(&self.config).into())?;
        let added = ops::select_rows(&ops::reshape(&added, [patches, values])?, &repeated(patches, images.len()))?;
        ops::add(&x, &added)
    }

    /// The `tokens` rows of a parameter, for each of `images` images.
    fn rows(&self, id: ParameterId, tokens: usize, images: usize, scope: &Scope) -> Result<Tensor> {
        let table = ops::reshape(scope.parameter(id), [tokens, self.config.block.hidden_size])?;
        ops::embedding(&repeated(tokens, images), &table, EmbeddingOptions::default())
    }
}

/// `0..rows`, as often as there are images.
fn repeated(rows: usize, images: usize) -> Arc<[u32]> {
    (0..images).flat_map(|_| 0..rows as u32).collect()
}

/// As many sequences as there are images, of equal length.
fn sequences(images: usize, rows: usize) -> Result<Arc<Sequences>> {
    Ok(Arc::new(Sequences::packed(&(0..=images).map(|image| (image * rows) as u32).collect::<Vec<_>>())?))
}
