//! What merging does to parameters that are tied.

use std::collections::BTreeSet;

use model::{Modules, Parameter, ParameterId};

use crate::Method;

/// Whether merging changes tied parameters differently, so that `tie_word_embeddings` has to be false in the merged model's
/// `config.json`: an adapted embedding whose head is not adapted, or the other way round.
pub fn breaks_ties(method: &dyn Method, modules: &Modules) -> bool {
    !broken_ties(method, modules).is_empty()
}

/// The parameters whose values others share in the base and not in the merged model.
pub fn broken_ties(method: &dyn Method, modules: &Modules) -> BTreeSet<ParameterId> {
    let broken = modules.parameters().filter(|parameter| breaks_tie(method, parameter));
    broken.filter_map(|parameter| parameter.tied_to).collect()
}

fn breaks_tie(method: &dyn Method, parameter: &Parameter) -> bool {
    let breaks = |original| {
        let is_changed = method.merges(parameter.id) || method.merges(original);
        is_changed && !method.keeps_tie(parameter.id, original)
    };
    parameter.tied_to.is_some_and(breaks)
}
