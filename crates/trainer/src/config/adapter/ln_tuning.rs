//! Settings of LN tuning: which modules.

use peft::ln_tuning::LnTuningConfig;

use super::Selection;
use super::conflicts::Conflicts;

impl Selection {
    /// LN tuning of these modules, of PEFT's default ones where none are named.
    pub fn ln_tuning(&self) -> LnTuningConfig {
        self.over(&LnTuningConfig::default())
    }

    /// The same over `adapter`'s, the configuration of an adapter to go on from, whose structure is taken over.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn ln_tuning_over(&self, adapter: &LnTuningConfig) -> Result<LnTuningConfig, Vec<String>> {
        let merged = self.over(adapter);
        let mut conflicts = Conflicts::default();
        conflicts.check("target_modules", &merged.target_modules, &adapter.target_modules);
        conflicts.check("exclude_modules", &merged.exclude_modules, &adapter.exclude_modules);
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        conflicts.none()?;
        Ok(merged)
    }

    fn over(&self, base: &LnTuningConfig) -> LnTuningConfig {
        LnTuningConfig {
            common: base.common.clone(),
            target_modules: self.target_modules.clone().or_else(|| base.target_modules.clone()),
            exclude_modules: self.exclude_modules.clone().or_else(|| base.exclude_modules.clone()),
            modules_to_save: self.modules_to_save.clone().or_else(|| base.modules_to_save.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use peft::ModuleNames;

    use super::*;

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let names = |name: &str| Some(ModuleNames::List(vec![name.to_owned()]));
        let adapter = LnTuningConfig { target_modules: names("norm"), ..LnTuningConfig::default() };
        assert_eq!(Selection::default().ln_tuning_over(&adapter).unwrap(), adapter);
        let other = Selection { target_modules: names("ln_f"), ..Selection::default() };
        assert_eq!(
            other.ln_tuning_over(&adapter).unwrap_err(),
            [r#"adapter.target_modules is ["ln_f"], and the adapter has ["norm"]"#]
        );
    }
}
