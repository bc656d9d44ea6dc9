//! What merging does to parameters that are tied.

use model::{Modules, Parameter};

use crate::Method;

/// Whether merging changes tied parameters differently, so that `tie_word_embeddings` has to be false in the merged model's
/// `config.json`: an adapted embedding whose head is not adapted, or the other way round.
pub fn breaks_ties(method: &dyn Method, modules: &Modules) -> bool {
    modules.parameters().any(|parameter| breaks_tie(method, parameter))
}

fn breaks_tie(method: &dyn Method, parameter: &Parameter) -> bool {
    let changed = |original| method.merges(parameter.id) || method.merges(original);
    !method.keeps_ties() && parameter.tied_to.is_some_and(changed)
}
