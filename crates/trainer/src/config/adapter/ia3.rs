//! Settings of (IA)^3.

use peft::ModuleNames;
use peft::ia3::Ia3Config;
use serde::Serialize;

use super::Selection;
use super::conflicts::Conflicts;
use crate::config::section::Section;

/// (IA)^3's settings as far as they were written: what is `None` takes PEFT's default, or the value of
/// [`Adapter::init_from`](super::Adapter::init_from).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ia3Settings {
    /// Those of the target modules whose inputs are scaled; PEFT's default for the model family unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedforward_modules: Option<ModuleNames>,
    /// Whether the factors start as ones. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_ia3_weights: Option<bool>,
}

impl Ia3Settings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self { feedforward_modules: s.get("feedforward_modules"), init_ia3_weights: s.get("init_ia3_weights") }
    }

    /// These settings, PEFT's defaults for the rest.
    pub fn over_defaults(&self, selection: &Selection) -> Ia3Config {
        self.over(selection, &Ia3Config::default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from, whose structure is taken over. Whether
    /// `"all-linear"` means the adapter's modules, the model has to say.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(&self, selection: &Selection, adapter: &Ia3Config) -> Result<Ia3Config, Vec<String>> {
        let merged = self.over(selection, adapter);
        let mut conflicts = Conflicts::default();
        // PEFT saves "all-linear" as the names that it meant, which are known only with the model.
        if !merged.target_modules.as_ref().is_some_and(ModuleNames::is_all_linear) {
            conflicts.check("target_modules", &merged.target_modules, &adapter.target_modules);
        }
        conflicts.check("exclude_modules", &merged.exclude_modules, &adapter.exclude_modules);
        conflicts.check("feedforward_modules", &merged.feedforward_modules, &adapter.feedforward_modules);
        conflicts.check("modules_to_save", &merged.modules_to_save, &adapter.modules_to_save);
        conflicts.none()?;
        Ok(Ia3Config { init_ia3_weights: adapter.init_ia3_weights, ..merged })
    }

    fn over(&self, selection: &Selection, base: &Ia3Config) -> Ia3Config {
        fn or<T: Clone>(set: &Option<T>, base: &Option<T>) -> Option<T> {
            set.as_ref().or(base.as_ref()).cloned()
        }
        Ia3Config {
            common: base.common.clone(),
            target_modules: or(&selection.target_modules, &base.target_modules),
            exclude_modules: or(&selection.exclude_modules, &base.exclude_modules),
            feedforward_modules: or(&self.feedforward_modules, &base.feedforward_modules),
            modules_to_save: or(&selection.modules_to_save, &base.modules_to_save),
            init_ia3_weights: self.init_ia3_weights.unwrap_or(base.init_ia3_weights),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Option<ModuleNames> {
        Some(ModuleNames::List(list.iter().map(|s| (*s).to_owned()).collect()))
    }

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let adapter = Ia3Config {
            target_modules: names(&["k_proj", "down_proj"]),
            feedforward_modules: names(&["down_proj"]),
            ..Ia3Config::default()
        };
        let targets = |list| Selection { target_modules: names(list), ..Selection::default() };
        let same = Ia3Settings::default().over_adapter(&targets(&["down_proj", "k_proj"]), &adapter).unwrap();
        assert_eq!(same.feedforward_modules, names(&["down_proj"]));
        let other = Ia3Settings { feedforward_modules: names(&[]), ..Ia3Settings::default() };
        assert_eq!(
            other.over_adapter(&targets(&["k_proj"]), &adapter).unwrap_err(),
            [
                r#"adapter.target_modules is ["k_proj"], and the adapter has ["down_proj","k_proj"]"#,
                r#"adapter.feedforward_modules is [], and the adapter has ["down_proj"]"#
            ]
        );
    }
}
