//! `[adapter]` as PEFT's LoRA configuration.

use peft::ModuleNames;
use peft::lora::LoraConfig;
use serde::Serialize;

use super::LoraSettings;

impl LoraSettings {
    /// These settings, PEFT's defaults for the rest.
    pub fn over_defaults(&self) -> LoraConfig {
        self.over(&LoraConfig::default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from. The structure is the adapter's: only
    /// what training alone reads, the dropout, may differ. Whether `"all-linear"` means the adapter's modules, the model has
    /// to say.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(&self, adapter: &LoraConfig) -> Result<LoraConfig, Vec<String>> {
        let mut merged = self.over(adapter);
        let mut conflicts = Conflicts(Vec::new());
        conflicts.check("r", &merged.r, &adapter.r);
        conflicts.check("lora_alpha", &merged.lora_alpha, &adapter.lora_alpha);
        // PEFT saves "all-linear" as the names that it meant, which are known only with the model.
        if !merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
            conflicts.check("target_modules", &merged.target_modules, &adapter.target_modules);
        }
        conflicts.check("exclude_modules", &merged.exclude_modules, &adapter.exclude_modules);
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        conflicts.check("layers_to_transform", &merged.layers_to_transform, &adapter.layers_to_transform);
        conflicts.check("layers_pattern", &merged.layers_pattern, &adapter.layers_pattern);
        conflicts.check("rank_pattern", &merged.rank_pattern, &adapter.rank_pattern);
        conflicts.check("alpha_pattern", &merged.alpha_pattern, &adapter.alpha_pattern);
        conflicts.check("bias", &merged.bias, &adapter.bias);
        conflicts.check("lora_bias", &merged.lora_bias, &adapter.lora_bias);
        conflicts.check("use_rslora", &merged.use_rslora, &adapter.use_rslora);
        if !conflicts.0.is_empty() {
            return Err(conflicts.0);
        }
        merged.init_lora_weights = adapter.init_lora_weights;
        Ok(merged)
    }

    fn over(&self, base: &LoraConfig) -> LoraConfig {
        fn or<T: Clone>(set: &Option<T>, base: &T) -> T {
            set.as_ref().unwrap_or(base).clone()
        }
        LoraConfig {
            common: base.common.clone(),
            r: or(&self.r, &base.r),
            lora_alpha: or(&self.lora_alpha, &base.lora_alpha),
            lora_dropout: or(&self.lora_dropout, &base.lora_dropout),
            target_modules: self.target_modules.clone().or_else(|| base.target_modules.clone()),
            exclude_modules: self.exclude_modules.clone().or_else(|| base.exclude_modules.clone()),
            modules_to_save: self.modules_to_save.clone().or_else(|| base.modules_to_save.clone()),
            layers_to_transform: self.layers_to_transform.clone().or_else(|| base.layers_to_transform.clone()),
            layers_pattern: self.layers_pattern.clone().or_else(|| base.layers_pattern.clone()),
            rank_pattern: or(&self.rank_pattern, &base.rank_pattern),
            alpha_pattern: or(&self.alpha_pattern, &base.alpha_pattern),
            bias: or(&self.bias, &base.bias),
            lora_bias: or(&self.lora_bias, &base.lora_bias),
            use_rslora: or(&self.use_rslora, &base.use_rslora),
            init_lora_weights: or(&self.init_lora_weights, &base.init_lora_weights),
        }
    }
}

struct Conflicts(Vec<String>);

impl Conflicts {
    fn check<T: Serialize>(&mut self, key: &str, set: &T, adapter: &T) {
        let (set, adapter) = (shown(set), shown(adapter));
        if set != adapter {
            self.0.push(format!("adapter.{key} is {set}, and the adapter has {adapter}"));
        }
    }
}

/// As JSON, lists sorted: PEFT keeps names as sets and patterns by name.
fn shown(value: &impl Serialize) -> String {
    let mut value = serde_json::to_value(value).unwrap_or_default();
    if let Some(items) = value.as_array_mut() {
        items.sort_by_key(ToString::to_string);
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Option<ModuleNames> {
        Some(ModuleNames::List(list.iter().map(|s| (*s).to_owned()).collect()))
    }

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let adapter = LoraConfig { r: 16, target_modules: names(&["v_proj", "q_proj"]), ..LoraConfig::default() };
        let same = LoraSettings {
            r: Some(16),
            lora_dropout: Some(0.1),
            target_modules: names(&["q_proj", "v_proj"]),
            ..LoraSettings::default()
        };
        let merged = same.over_adapter(&adapter).unwrap();
        assert_eq!((merged.r, merged.lora_dropout), (16, 0.1));
        let other = LoraSettings { r: Some(8), use_rslora: Some(true), ..LoraSettings::default() };
        assert_eq!(
            other.over_adapter(&adapter).unwrap_err(),
            ["adapter.r is 8, and the adapter has 16", "adapter.use_rslora is true, and the adapter has false"]
        );
    }

    #[test]
    fn what_is_not_set_has_pefts_default() {
        let config = LoraSettings { r: Some(4), ..LoraSettings::default() }.over_defaults();
        assert_eq!(config, LoraConfig { r: 4, ..LoraConfig::default() });
    }
}
