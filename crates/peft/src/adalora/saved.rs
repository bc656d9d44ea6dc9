//! What an AdaLoRA adapter's files hold: of every module the singular values that are left.

use tensor::Tensor;

use super::{AdaLora, AdaLoraConfig, Leaf, pattern_key};
use crate::method::{Computed, SavedTensor, Source};
use crate::names;

impl AdaLora {
    /// The configuration, with the ranks as they are distributed now.
    pub(super) fn config_as_saved(&self) -> AdaLoraConfig {
        let Some(kept) = self.allocator.as_ref().and_then(|allocator| allocator.kept()) else {
            return self.config.clone();
        };
        let paths = self.modules.iter().filter(|module| self.sites[module.id.index()].is_some());
        let pattern = paths.map(|module| pattern_key(&module.path)).zip(kept);
        AdaLoraConfig { rank_pattern: Some(pattern.collect()), ..self.config.clone() }
    }

    pub(super) fn saved_tensors(&self) -> Vec<SavedTensor> {
        let mut kept = self.allocator.as_ref().and_then(|allocator| allocator.kept()).map(Vec::into_iter);
        let mut tensors = self.saved.clone();
        for module in self.modules.iter() {
            let Some(site) = &self.sites[module.id.index()] else { continue };
            let kept = kept.as_mut().and_then(Iterator::next);
            let key = |suffix: &str| names::key(&module.path, suffix);
            tensors.extend([
                rows(key("lora_A"), &site.lora_a, kept.as_deref()),
                rows(key("lora_E"), &site.lora_e, kept.as_deref()),
                columns(key("lora_B"), &site.lora_b, kept.as_deref()),
            ]);
        }
        tensors
    }
}

/// The rows of a matrix that are left.
fn rows(name: String, leaf: &Leaf, kept: Option<&[bool]>) -> SavedTensor {
    let Some(kept) = kept else { return SavedTensor::trained(name, leaf.index) };
    let width = leaf.tensor.shape().get(1).copied().unwrap_or(1);
    let select = move |values: &[f32], kept: &[bool]| -> Vec<f32> {
        let left = values.chunks_exact(width.max(1)).zip(kept).filter(|(_, kept)| **kept);
        left.flat_map(|(row, _)| row.iter().copied()).collect()
    };
    computed(name, leaf, kept, |left| [left, width], select)
}

/// The columns of a matrix that are left.
fn columns(name: String, leaf: &Leaf, kept: Option<&[bool]>) -> SavedTensor {
    let Some(kept) = kept else { return SavedTensor::trained(name, leaf.index) };
    let height = leaf.tensor.shape().first().copied().unwrap_or(1);
    let select = |values: &[f32], kept: &[bool]| -> Vec<f32> {
        let left = values.iter().zip(kept.iter().cycle()).filter(|(_, kept)| **kept);
        left.map(|(value, _)| *value).collect()
    };
    computed(name, leaf, kept, |left| [height, left], select)
}

fn computed(
    name: String,
    leaf: &Leaf,
    kept: &[bool],
    shape: impl Fn(usize) -> [usize; 2],
    select: impl Fn(&[f32], &[bool]) -> Vec<f32> + Send + Sync + 'static,
) -> SavedTensor {
    let shape = shape(kept.iter().filter(|kept| **kept).count());
    let (tensor, kept) = (leaf.tensor.clone(), kept.to_vec());
    let compute = move || Tensor::from_f32(shape, &select(&tensor.to_vec(), &kept));
    SavedTensor { name, alias: None, source: Source::Computed(Computed::new(shape, compute)) }
}
