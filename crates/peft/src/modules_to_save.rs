//! `modules_to_save`: modules of the base that are trained as they are and saved with the adapter.

use model::{Modules, ParameterId};

use crate::PeftError;

/// The parameters of the modules that `names` mean, in model order.
///
/// # Errors
/// [`PeftError::NoModuleToSave`] for a name that means none.
pub(crate) fn parameters(names: &[String], modules: &Modules) -> Result<Vec<ParameterId>, PeftError> {
    check(names, modules)?;
    let saved = modules.iter().filter(|module| names.iter().any(|name| is_saved(&module.path, name)));
    Ok(saved.flat_map(|module| std::iter::once(module.weight).chain(module.bias)).collect())
}

/// Checks that every name means a module.
///
/// # Errors
/// [`PeftError::NoModuleToSave`].
pub(crate) fn check(names: &[String], modules: &Modules) -> Result<(), PeftError> {
    let unknown = names.iter().find(|name| !modules.iter().any(|module| is_saved(&module.path, name)));
    unknown.map_or(Ok(()), |name| Err(PeftError::NoModuleToSave { name: name.clone() }))
}

/// Whether `modules_to_save` means this module: PEFT compares the ends of names, without looking for a dot before them, and
/// takes a module with all that is in it.
pub(crate) fn is_saved(path: &str, name: &str) -> bool {
    path.ends_with(name) || path.match_indices('.').any(|(dot, _)| path[..dot].ends_with(name))
}
