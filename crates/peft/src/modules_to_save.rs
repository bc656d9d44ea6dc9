//! `modules_to_save`: modules of the base that are trained as they are and saved with the adapter.

use std::collections::BTreeSet;

use model::{Base, ModuleId, Modules, ParameterId};

use crate::lora::Bias;
use crate::{PeftError, TaskType, Warnings};

/// What transformers calls the heads of its classifiers. PEFT names both for every classifier, whichever it has.
const HEADS: [&str; 2] = ["classifier", "score"];

/// Adds what an adapter for `task` trains in full whatever else is asked for: the head of a classifier.
pub(crate) fn add_heads(names: &mut Option<Vec<String>>, task: Option<TaskType>) {
    if matches!(task, Some(TaskType::SeqCls | TaskType::TokenCls)) {
        let names = names.get_or_insert_default();
        let absent: Vec<String> =
            HEADS.into_iter().filter(|head| !names.iter().any(|n| n == head)).map(str::to_owned).collect();
        names.extend(absent);
    }
}

/// Adds the modules that the base's files do not have: they start at random, and what is not saved with the adapter would
/// start anew wherever it is loaded.
pub(crate) fn add_new(names: &mut Option<Vec<String>>, base: &Base) -> Warnings {
    let mut warnings = Warnings::new();
    for &id in base.newly_initialized() {
        let path = &base.modules().get(base.modules().parameter(id).module).path;
        if names.iter().flatten().any(|name| is_saved(path, name)) {
            continue;
        }
        warnings.push(format!("{path} is newly initialized, and so it is trained and saved with the adapter"));
        names.get_or_insert_default().push(path.clone());
    }
    warnings
}

/// Whether the module `path` is the head of a classifier, or a part of it.
pub(crate) fn is_head(path: &str) -> bool {
    HEADS.iter().any(|head| is_saved(path, head))
}

/// The parameters of a classifier's head, and those that the base's files do not have, in model order. Both are trained with
/// whatever else is: `new` start at random.
pub(crate) fn heads(modules: &Modules, new: &[ParameterId]) -> Vec<ParameterId> {
    let trained = modules.parameters().filter(|p| new.contains(&p.id) || is_head(&modules.get(p.module).path));
    trained.filter(|parameter| parameter.tied_to.is_none()).map(|parameter| parameter.id).collect()
}

/// The parameters of the modules that `names` mean, in model order.
///
/// # Errors
/// [`PeftError::NoModuleToSave`] for a name that means none.
pub(crate) fn parameters(names: &[String], modules: &Modules) -> Result<Vec<ParameterId>, PeftError> {
    check(names, modules)?;
    let saved = modules.iter().filter(|module| names.iter().any(|name| is_saved(&module.path, name)));
    Ok(saved.flat_map(|module| std::iter::once(module.weight).chain(module.bias)).collect())
}

/// The same, and the biases that `bias` means, `adapted` being the modules that the method changes.
///
/// # Errors
/// [`PeftError::NoModuleToSave`] for a name that means none.
pub(crate) fn with_biases(
    names: &[String],
    bias: Bias,
    modules: &Modules,
    adapted: &BTreeSet<ModuleId>,
) -> Result<Vec<ParameterId>, PeftError> {
    check(names, modules)?;
    let mut trained = Vec::new();
    for module in modules.iter() {
        let whole = names.iter().any(|name| is_saved(&module.path, name));
        if whole {
            trained.push(module.weight);
        }
        let bias = match bias {
            Bias::None => false,
            Bias::All => true,
            Bias::LoraOnly => adapted.contains(&module.id),
        };
        trained.extend(module.bias.filter(|_| whole || bias));
    }
    Ok(trained)
}

/// Checks that every name means a module; of the heads' names one has to.
///
/// # Errors
/// [`PeftError::NoModuleToSave`].
pub(crate) fn check(names: &[String], modules: &Modules) -> Result<(), PeftError> {
    let is_there = |name: &str| modules.iter().any(|module| is_saved(&module.path, name));
    let is_head = |name: &str| HEADS.contains(&name) && HEADS.iter().any(|head| is_there(head));
    let unknown = names.iter().find(|name| !is_there(name) && !is_head(name));
    unknown.map_or(Ok(()), |name| Err(PeftError::NoModuleToSave { name: name.clone() }))
}

/// Whether `modules_to_save` means this module: PEFT compares the ends of names, without looking for a dot before them, and
/// takes a module with all that is in it.
pub(crate) fn is_saved(path: &str, name: &str) -> bool {
    path.ends_with(name) || path.match_indices('.').any(|(dot, _)| path[..dot].ends_with(name))
}
