//! What a file calls a parameter.

use checkpoint::Checkpoint;

/// How the files of a model may call its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spelling {
    /// The part of the tree that a model without a head consists of: files of such models leave it out of their names.
    pub(crate) base: &'static str,
    /// Whether the parameters are those of a model without a head, which leaves it out itself.
    pub(crate) is_bare: bool,
    /// The head's path, and another name that files give to it.
    pub(crate) head: Option<(&'static str, &'static str)>,
    /// Parts of names as they are now, and as older releases of transformers have them.
    pub(crate) older: Renames,
}

/// Parts of names, and what stands in their place in other names of the same.
pub(crate) type Renames = &'static [(&'static str, &'static str)];

/// `name` with every part of `renames` replaced.
pub(crate) fn renamed(name: &str, renames: Renames) -> String {
    renames.iter().fold(name.to_owned(), |name, (now, then)| name.replace(now, then))
}

/// Maps names of parameters to the names of tensors in one model's files. They differ where a file was written from the
/// model without its head, as the first files of GPT-2 were, or the other way round, and where something has an older name.
#[derive(Clone, Debug)]
pub struct StoredNames {
    start: Start,
    /// The head's path, and what the files call it.
    head: Option<(&'static str, &'static str)>,
    /// What the files have by an older name.
    older: Renames,
    /// Whether the parameters of norms have the names that the first files of BERT gave them.
    old_norms: bool,
}

/// What the files change at the front.
#[derive(Clone, Debug)]
enum Start {
    Same,
    LeftOut(String),
    Added(String),
}

/// Ends of names, and how TensorFlow called them.
const OLD_NORMS: [(&str, &str); 2] = [("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")];

impl StoredNames {
    /// Looks at which names the files hold.
    pub(crate) fn new(spelling: &Spelling, checkpoint: &Checkpoint) -> Self {
        let base = format!("{}.", spelling.base);
        let bare = !checkpoint.names().any(|name| name.starts_with(&base));
        let start = match (spelling.is_bare, bare) {
            (false, true) => Start::LeftOut(base),
            (true, false) => Start::Added(base),
            _ => Start::Same,
        };
        let has_alias = |(_, alias): &(&str, &str)| checkpoint.contains(&format!("{alias}.weight"));
        let old_norms = checkpoint.names().any(|name| OLD_NORMS.iter().any(|(_, old)| name.ends_with(old)));
        let is_older = |(_, then): &(&str, &str)| checkpoint.names().any(|name| name.contains(then));
        let older = if spelling.older.iter().any(is_older) { spelling.older } else { &[] };
        Self { start, head: spelling.head.filter(has_alias), older, old_norms }
    }

    /// The tensor of the parameter called `name`.
    pub fn of(&self, name: &str) -> String {
        let head = self.head.and_then(|(path, stored)| Some((stored, name.strip_prefix(path)?)));
        if let Some((stored, rest)) = head {
            return format!("{stored}{rest}");
        }
        let name = renamed(name, self.older);
        let name = match &self.start {
            Start::Same => name,
            Start::LeftOut(base) => name.strip_prefix(base.as_str()).unwrap_or(&name).to_owned(),
            Start::Added(base) => format!("{base}{name}"),
        };
        let old = |(new, old): &(&str, &str)| Some(format!("{}{old}", name.strip_suffix(new)?));
        OLD_NORMS.iter().filter(|_| self.old_norms).find_map(old).unwrap_or(name)
    }
}
