//! Making a pixel prompt for a model.

use checkpoint::SafetensorsFile;
use device::DType;
use model::{Base, Dimensions, Modules, ParameterId};
use tensor::{Shape, Tensor};

use super::layout::{Part, image_of, parts, places};
use super::{PixelPrompt, PixelPromptConfig};
use crate::declare::{Declarations, Start};
use crate::load::fit;
use crate::method::SavedTensor;
use crate::stand_ins::DeclaredStandIns;
use crate::{PeftError, Warnings, load, modules_to_save};

/// What is put before the names of `modules_to_save`, as PEFT does beside virtual tokens.
const MODULES_PREFIX: &str = "base_model.";

/// Declared parameters, and what each is for.
struct Skeleton {
    config: PixelPromptConfig,
    image: [usize; 3],
    parts: Vec<Part>,
    declarations: Declarations,
    stand_ins: DeclaredStandIns,
    saved: Vec<SavedTensor>,
}

impl Skeleton {
    fn new(config: PixelPromptConfig, dimensions: &Dimensions, modules: &Modules) -> Result<Self, PeftError> {
        let image = image_of(dimensions)?;
        let parts = parts(&config, image)?;
        let names = config.modules_to_save.as_deref().unwrap_or_default();
        let trained: Vec<ParameterId> = modules_to_save::parameters(names, modules)?;
        let (mut declarations, mut saved) = (Declarations::default(), Vec::new());
        for part in &parts {
            let index = declarations.add(part.name, &part.shape, Start::Normal(1.0));
            saved.push(SavedTensor::trained(part.name, index));
        }
        let mut stand_ins = DeclaredStandIns::none(modules);
        for id in trained {
            let parameter = modules.parameter(id);
            let name = format!("{MODULES_PREFIX}{}", parameter.name);
            stand_ins.add(parameter, name, &mut declarations, &mut saved);
        }
        Ok(Self { config, image, parts, declarations, stand_ins, saved })
    }

    fn build(self, base: &Base, seed: u64) -> Result<PixelPrompt, PeftError> {
        let parameters = self.declarations.build(base, seed)?;
        let leaves: Vec<Tensor> = parameters.tensors().cloned().collect();
        Ok(PixelPrompt {
            config: self.config,
            image: self.image,
            places: places(&self.parts, self.image).into(),
            parts: leaves[..self.parts.len()].to_vec(),
            zero: Tensor::from_f32([1, 1], &[0.0])?.to_device(base.device(), DType::F32)?,
            parameters,
            stand_ins: self.stand_ins.with(&leaves),
            modules: base.modules().clone(),
            saved: self.saved,
        })
    }
}

/// Names and sizes of the parameters that `config` trains in a model, without its weights: to say what a run will need.
///
/// # Errors
/// As [`PixelPrompt::new`].
pub fn trainable(
    config: &PixelPromptConfig,
    dimensions: &Dimensions,
    modules: &Modules,
) -> Result<Vec<(String, Shape)>, PeftError> {
    let skeleton = Skeleton::new(config.clone(), dimensions, modules)?;
    Ok(skeleton.declarations.shapes().map(|(name, shape)| (name.to_owned(), shape)).collect())
}

impl PixelPrompt {
    /// A new prompt for the images of `base`, ready to be trained.
    ///
    /// # Errors
    /// [`PeftError::Setting`] for a model of text, and for a prompt that does not fit the images;
    /// [`PeftError::NoModuleToSave`], [`PeftError::Tensor`].
    pub fn new(config: PixelPromptConfig, base: &Base, seed: u64) -> Result<(Self, Warnings), PeftError> {
        let prompt = Skeleton::new(config, base.dimensions(), base.modules())?.build(base, seed)?;
        Ok((prompt, Warnings::new()))
    }

    /// The prompt that was saved with `config` in `file`.
    ///
    /// # Errors
    /// As [`PixelPrompt::new`], and those of [`load()`](crate::load()).
    pub fn load(config: PixelPromptConfig, base: &Base, file: &SafetensorsFile) -> Result<(Self, Warnings), PeftError> {
        let skeleton = Skeleton::new(config, base.dimensions(), base.modules())?;
        // Before anything is allocated by the sizes that the configuration asks for.
        fit(&skeleton.saved, &skeleton.declarations.sizes(), file)?;
        let prompt = skeleton.build(base, 0)?;
        load(&prompt, file)?;
        Ok((prompt, Warnings::new()))
    }
}
