//! What the file of a merged model holds.

use model::{Modules, Parameter};

use crate::Method;

/// The parameters to write when `method` is merged into its base, in model order: every one, but of two that are tied the
/// first alone, unless merging changes them differently. See [`breaks_ties`].
pub fn merged_parameters<'a>(method: &dyn Method, modules: &'a Modules) -> Vec<&'a Parameter> {
    modules.parameters().filter(|parameter| parameter.tied_to.is_none() || breaks_tie(method, parameter)).collect()
}

/// Whether merging changes tied parameters differently, so that `tie_word_embeddings` has to be false in the merged model's
/// `config.json`: an adapted embedding whose head is not adapted, or the other way round.
pub fn breaks_ties(method: &dyn Method, modules: &Modules) -> bool {
    modules.parameters().any(|parameter| breaks_tie(method, parameter))
}

fn breaks_tie(method: &dyn Method, parameter: &Parameter) -> bool {
    let changed = |original| method.merges(parameter.id) || method.merges(original);
    !method.keeps_ties() && parameter.tied_to.is_some_and(changed)
}
