//! Settings of AdaLoRA.

use std::ops::Bound;

use peft::ModuleNames;
use peft::adalora::AdaLoraConfig;
use serde::Serialize;

use super::conflicts::Conflicts;
use super::{LoraSettings, Selection};
use crate::config::section::Section;

/// AdaLoRA's settings as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from). `lora_alpha`, `lora_dropout`, `bias` and `layers_to_transform` are read
/// from LoRA's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AdaLoraSettings {
    /// Singular values that a module is left with on average. Default 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_r: Option<usize>,
    /// Singular values that every module starts with. Default 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_r: Option<usize>,
    /// Steps before the budget begins to fall. Default: the recipe's; PEFT's is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tinit: Option<u64>,
    /// Steps at the end in which it stays. Default: the recipe's; PEFT's is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tfinal: Option<u64>,
    /// Steps between two distributions. Default 1.
    #[serde(rename = "deltaT", skip_serializing_if = "Option::is_none")]
    pub delta_t: Option<u64>,
    /// Decay of the mean of importances. Default 0.85.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// Decay of the mean of their deviations. Default 0.85.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// Factor of the penalty that keeps the matrices near orthogonal. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orth_reg_weight: Option<f64>,
    /// Steps over which ranks are distributed. Default `training.max_steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_step: Option<u64>,
}

impl AdaLoraSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let open = || (Bound::Excluded(0.0), Bound::Excluded(1.0));
        Self {
            target_r: s.get_within("target_r", 1..=1 << 16),
            init_r: s.get_within("init_r", 1..=1 << 16),
            tinit: s.get("tinit"),
            tfinal: s.get("tfinal"),
            delta_t: s.get_within("deltaT", 1..),
            beta1: s.get_within("beta1", open()),
            beta2: s.get_within("beta2", open()),
            orth_reg_weight: s.get_within("orth_reg_weight", 0.0..=1e9),
            total_step: s.get_within("total_step", 1..),
        }
    }

    /// These settings, PEFT's defaults for the rest, in a training of `max_steps` steps.
    pub fn over_defaults(&self, lora: &LoraSettings, selection: &Selection, max_steps: u64) -> AdaLoraConfig {
        self.over(lora, selection, &AdaLoraConfig::new(max_steps))
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from, whose structure is taken over. Whether
    /// `"all-linear"` means the adapter's modules, the model has to say. Where its ranks are distributed, they stay; otherwise
    /// they are in this training.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(
        &self,
        lora: &LoraSettings,
        selection: &Selection,
        adapter: &AdaLoraConfig,
        max_steps: u64,
    ) -> Result<AdaLoraConfig, Vec<String>> {
        let base = match adapter.rank_pattern {
            Some(_) => adapter.clone(),
            None => AdaLoraConfig { total_step: max_steps, tinit: 0, tfinal: 0, ..adapter.clone() },
        };
        let mut merged = self.over(lora, selection, &base);
        let mut conflicts = Conflicts::default();
        conflicts.check("init_r", &merged.init_r, &adapter.init_r);
        conflicts.check("lora_alpha", &merged.lora.lora_alpha, &adapter.lora.lora_alpha);
        // PEFT saves "all-linear" as the names that it meant, which are known only with the model.
        if !merged.lora.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
            conflicts.check("target_modules", &merged.lora.target_modules, &adapter.lora.target_modules);
        }
        conflicts.check("exclude_modules", &merged.lora.exclude_modules, &adapter.lora.exclude_modules);
        conflicts.check("modules_to_save", &merged.lora.modules_to_save, &adapter.lora.modules_to_save);
        conflicts.check("layers_to_transform", &merged.lora.layers_to_transform, &adapter.lora.layers_to_transform);
        conflicts.check("layers_pattern", &merged.lora.layers_pattern, &adapter.lora.layers_pattern);
        conflicts.check("bias", &merged.lora.bias, &adapter.lora.bias);
        conflicts.none()?;
        if adapter.rank_pattern.is_some() {
            let AdaLoraConfig { tinit, tfinal, total_step, target_r, .. } = *adapter;
            merged = AdaLoraConfig { tinit, tfinal, total_step, target_r, ..merged };
        }
        Ok(merged)
    }

    fn over(&self, lora: &LoraSettings, selection: &Selection, base: &AdaLoraConfig) -> AdaLoraConfig {
        AdaLoraConfig {
            lora: lora.of_adalora().over(selection, &base.lora),
            target_r: self.target_r.unwrap_or(base.target_r),
            init_r: self.init_r.unwrap_or(base.init_r),
            tinit: self.tinit.unwrap_or(base.tinit),
            tfinal: self.tfinal.unwrap_or(base.tfinal),
            delta_t: self.delta_t.unwrap_or(base.delta_t),
            beta1: self.beta1.unwrap_or(base.beta1),
            beta2: self.beta2.unwrap_or(base.beta2),
            orth_reg_weight: self.orth_reg_weight.unwrap_or(base.orth_reg_weight),
            total_step: self.total_step.unwrap_or(base.total_step),
            rank_pattern: base.rank_pattern.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_without_ranks_gets_them_in_this_training_and_one_with_them_keeps_them() {
        let (lora, none) = (LoraSettings::default(), Selection::default());
        let adapter = AdaLoraConfig { init_r: 4, target_r: 2, tinit: 20, ..AdaLoraConfig::new(100) };
        let settings = AdaLoraSettings { tfinal: Some(1), ..AdaLoraSettings::default() };
        let merged = settings.over_adapter(&lora, &none, &adapter, 10).unwrap();
        assert_eq!((merged.init_r, merged.total_step, merged.tinit, merged.tfinal), (4, 10, 0, 1));
        let pattern = Some(vec![("q_proj.lora_E".to_owned(), vec![true, false, true, true])]);
        let distributed = AdaLoraConfig { rank_pattern: pattern, ..adapter };
        assert_eq!(settings.over_adapter(&lora, &none, &distributed, 10).unwrap(), distributed);
        let other = AdaLoraSettings { init_r: Some(6), ..settings };
        assert_eq!(
            other.over_adapter(&lora, &none, &distributed, 10).unwrap_err(),
            ["adapter.init_r is 6, and the adapter has 4"]
        );
    }
}
