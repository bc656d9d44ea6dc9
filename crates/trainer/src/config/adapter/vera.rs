//! Settings of VeRA.

use peft::ModuleNames;
use peft::vera::VeraConfig;
use serde::Serialize;

use super::conflicts::Conflicts;
use super::{LoraSettings, Selection};
use crate::config::section::Section;

/// VeRA's settings as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from). `r`, `bias` and `layers_to_transform` are read from LoRA's, where
/// `bias = "lora_only"` means what PEFT calls `vera_only`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VeraSettings {
    /// Dropout before A. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vera_dropout: Option<f64>,
    /// Where lambda_d starts. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub d_initial: Option<f64>,
    /// What A and B are drawn from. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection_prng_key: Option<u64>,
    /// Whether A and B are saved with the adapter. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub save_projection: Option<bool>,
}

impl VeraSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            vera_dropout: s.get_within("vera_dropout", 0.0..1.0),
            d_initial: s.get_within("d_initial", -1e9..=1e9),
            projection_prng_key: s.get("projection_prng_key"),
            save_projection: s.get("save_projection"),
        }
    }

    /// These settings, PEFT's defaults for the rest.
    pub fn over_defaults(&self, lora: &LoraSettings, selection: &Selection) -> VeraConfig {
        self.over(lora, selection, &VeraConfig::default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from. The structure is the adapter's: only
    /// what training alone reads, the dropout, may differ. Whether `"all-linear"` means the adapter's modules, the model has
    /// to say.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(
        &self,
        lora: &LoraSettings,
        selection: &Selection,
        adapter: &VeraConfig,
    ) -> Result<VeraConfig, Vec<String>> {
        let merged = self.over(lora, selection, adapter);
        let mut conflicts = Conflicts::default();
        conflicts.check("r", &merged.r, &adapter.r);
        // PEFT saves "all-linear" as the names that it meant, which are known only with the model.
        if !merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
            conflicts.check("target_modules", &merged.target_modules, &adapter.target_modules);
        }
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        conflicts.check("layers_to_transform", &merged.layers_to_transform, &adapter.layers_to_transform);
        conflicts.check("layers_pattern", &merged.layers_pattern, &adapter.layers_pattern);
        conflicts.check("bias", &merged.bias, &adapter.bias);
        conflicts.check("projection_prng_key", &merged.projection_prng_key, &adapter.projection_prng_key);
        conflicts.none()?;
        Ok(VeraConfig { d_initial: adapter.d_initial, ..merged })
    }

    fn over(&self, lora: &LoraSettings, selection: &Selection, base: &VeraConfig) -> VeraConfig {
        VeraConfig {
            common: base.common.clone(),
            r: lora.r.unwrap_or(base.r),
            target_modules: selection.target_modules.clone().or_else(|| base.target_modules.clone()),
            modules_to_save: selection.modules_to_save.clone().or_else(|| base.modules_to_save.clone()),
            layers_to_transform: lora.layers_to_transform.clone().or_else(|| base.layers_to_transform.clone()),
            layers_pattern: lora.layers_pattern.clone().or_else(|| base.layers_pattern.clone()),
            projection_prng_key: self.projection_prng_key.unwrap_or(base.projection_prng_key),
            save_projection: self.save_projection.unwrap_or(base.save_projection),
            vera_dropout: self.vera_dropout.unwrap_or(base.vera_dropout),
            d_initial: self.d_initial.unwrap_or(base.d_initial),
            bias: lora.bias.unwrap_or(base.bias),
            init_weights: base.init_weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let adapter = VeraConfig { r: 64, projection_prng_key: 3, d_initial: 1.0, ..VeraConfig::default() };
        let none = Selection::default();
        let same = VeraSettings { vera_dropout: Some(0.1), d_initial: Some(0.2), ..VeraSettings::default() };
        let merged = same.over_adapter(&LoraSettings::default(), &none, &adapter).unwrap();
        assert_eq!((merged.r, merged.vera_dropout, merged.d_initial), (64, 0.1, 1.0));
        let rank = LoraSettings { r: Some(8), ..LoraSettings::default() };
        let other = VeraSettings { projection_prng_key: Some(4), ..VeraSettings::default() };
        assert_eq!(
            other.over_adapter(&rank, &none, &adapter).unwrap_err(),
            ["adapter.r is 8, and the adapter has 64", "adapter.projection_prng_key is 4, and the adapter has 3"]
        );
    }
}
