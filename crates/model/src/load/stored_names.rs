//! What a file calls a parameter.

use checkpoint::Checkpoint;

use crate::config::Names;

/// Maps names of parameters to the names of tensors in one model's files. They differ where a file was written from the
/// model without its head, as the first files of GPT-2 were, and where the head has an older name.
#[derive(Clone, Debug)]
pub struct StoredNames {
    /// What the files leave out at the front.
    left_out: Option<String>,
    /// The head's path, and what the files call it.
    head: Option<(&'static str, &'static str)>,
}

impl StoredNames {
    /// Looks at which names the files hold.
    pub(crate) fn new(names: &Names, checkpoint: &Checkpoint) -> Self {
        let base = format!("{}.", names.base);
        let bare = !checkpoint.names().any(|name| name.starts_with(&base));
        let renamed = |alias: &&'static str| checkpoint.contains(&format!("{alias}.weight"));
        let head = names.head_alias.filter(renamed).map(|alias| (names.head, alias));
        Self { left_out: bare.then_some(base), head }
    }

    /// The tensor of the parameter called `name`.
    pub fn of(&self, name: &str) -> String {
        let renamed = self.head.and_then(|(path, stored)| Some((stored, name.strip_prefix(path)?)));
        if let Some((stored, rest)) = renamed {
            return format!("{stored}{rest}");
        }
        let stored = self.left_out.as_ref().and_then(|base| name.strip_prefix(base.as_str()));
        stored.unwrap_or(name).to_owned()
    }
}
