//! PEFT's rules for which modules a configuration means.
//!
//! A module is left alone if `exclude_modules` or `modules_to_save` names it. Otherwise it is meant if `target_modules`
//!
//! - is `all-linear` and the module is linear and not the output head;
//! - is a regular expression that matches its whole name;
//! - is a list that holds its whole name, or the end of its name after a dot. Then, unless the whole name is listed, the
//!   number of its layer has to be among `layers_to_transform`.

mod linear;
mod pattern;
mod rules;
mod shorten;

use std::collections::BTreeSet;

use model::{Module, ModuleKind};

use crate::modules::{ModuleNames, OneOrMany};
use crate::{PeftError, Warnings};

pub(crate) use linear::LinearTargets;
pub(crate) use pattern::ValuePatterns;
use pattern::is_suffix;
use rules::Rules;
pub(crate) use rules::ends_with_any;
use shorten::shorten;

/// What a name in a configuration can be about: a module of the model that has weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The module's name in Hugging Face's model.
    pub name: &'a str,
    /// What older releases of transformers call it, where that is something else.
    pub older_name: Option<&'a str>,
    /// Whether `all-linear` includes it: linear and not the output head.
    pub linear: bool,
}

/// The keys of a configuration that select modules.
#[derive(Clone, Copy, Debug)]
pub struct Selection<'a> {
    /// Modules to adapt.
    pub target_modules: &'a ModuleNames,
    /// Modules to leave alone.
    pub exclude_modules: Option<&'a ModuleNames>,
    /// Modules trained in full instead.
    pub modules_to_save: &'a [String],
    /// Layers to adapt.
    pub layers_to_transform: Option<&'a OneOrMany<usize>>,
    /// Where those layers are counted.
    pub layers_pattern: Option<&'a OneOrMany<String>>,
}

/// What a selection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Names of the modules that are meant, in the order of the candidates.
    pub matched: Vec<String>,
    /// Names of `target_modules` that mean no module.
    pub unmatched: Vec<String>,
    /// `target_modules` as the saved configuration lists them: `all-linear` spelled out, long lists shortened.
    pub target_modules: ModuleNames,
    /// Whether they are meant by the names that older releases of transformers have for them.
    pub by_older_names: bool,
}

impl<'a> Candidate<'a> {
    /// A module of a model.
    pub fn of(module: &'a Module) -> Self {
        let linear = matches!(module.kind, ModuleKind::Linear { .. }) && !module.is_head;
        Self { name: &module.path, older_name: module.older_path.as_deref(), linear }
    }
}

/// What a module is, for a message.
pub(crate) fn kind_of(module: &Module) -> &'static str {
    match module.kind {
        ModuleKind::Linear { .. } => "linear",
        ModuleKind::Embedding { .. } => "an embedding",
        ModuleKind::Norm { .. } => "a norm",
        ModuleKind::Conv2d { .. } => "a convolution",
        ModuleKind::Parameter => "a parameter of the module around it",
    }
}

impl Targets {
    /// A line for each name of `target_modules` that means nothing.
    pub(crate) fn warnings(&self) -> Warnings {
        let unused = |name: &String| format!("`target_modules` name {} means no module", checkpoint::Quoted(name));
        self.unmatched.iter().map(unused).collect()
    }
}

impl Selection<'_> {
    /// Picks the modules that are meant from `candidates`. Where none is by its name, those are that are by their older names;
    /// the selection is saved with the names that they have now.
    ///
    /// # Errors
    /// [`PeftError::NoTargets`] if none is, [`PeftError::Setting`] if another key leaves none of them, [`PeftError::Pattern`] for
    /// a regular expression that cannot be used.
    pub fn resolve(&self, candidates: &[Candidate<'_>]) -> Result<Targets, PeftError> {
        let expanded = if self.target_modules.is_all_linear() {
            ModuleNames::List(candidates.iter().filter(|c| c.linear).map(|c| c.name.to_owned()).collect())
        } else {
            self.target_modules.clone()
        };
        let target_modules = shorten(expanded, candidates);
        let matched = self.matched(&target_modules, candidates)?;
        if matched.is_empty() {
            return match self.resolve_older(candidates)? {
                Some(targets) => Ok(targets),
                None => Err(self.nothing_matched(&target_modules, candidates)?),
            };
        }
        let named = |target: &String| candidates.iter().any(|c| c.name == target || is_suffix(c.name, target));
        let unmatched = match self.target_modules {
            ModuleNames::List(names) => names.iter().filter(|name| !named(name)).cloned().collect(),
            ModuleNames::Pattern(_) => Vec::new(),
        };
        Ok(Targets { matched, unmatched, target_modules, by_older_names: false })
    }

    /// The names of the candidates that are meant, `target_modules` being spelled out.
    fn matched(&self, target_modules: &ModuleNames, candidates: &[Candidate<'_>]) -> Result<Vec<String>, PeftError> {
        let rules = Rules::compile(self, target_modules)?;
        let mut matched = Vec::new();
        for candidate in candidates {
            if rules.matches(candidate.name)? {
                matched.push(candidate.name.to_owned());
            }
        }
        Ok(matched)
    }

    /// What the selection means by the names of older releases of transformers, if anything.
    fn resolve_older(&self, candidates: &[Candidate<'_>]) -> Result<Option<Targets>, PeftError> {
        let rules = Rules::compile(self, self.target_modules)?;
        let mut matched = Vec::new();
        for candidate in candidates {
            if let Some(older) = candidate.older_name
                && rules.matches(older)?
            {
                matched.push(candidate.name.to_owned());
            }
        }
        if matched.is_empty() {
            return Ok(None);
        }
        let target_modules = shorten(ModuleNames::List(matched.clone()), candidates);
        Ok(Some(Targets { matched, unmatched: Vec::new(), target_modules, by_older_names: true }))
    }

    /// The error that nothing is meant: the first key is to blame that leaves nothing when it is added to those before it.
    fn nothing_matched(&self, spelled_out: &ModuleNames, candidates: &[Candidate<'_>]) -> Result<PeftError, PeftError> {
        let target_modules = match self.target_modules {
            ModuleNames::Pattern(pattern) => pattern.clone(),
            ModuleNames::List(names) => names.join(", "),
        };
        let named = Selection {
            exclude_modules: None,
            modules_to_save: &[],
            layers_to_transform: None,
            layers_pattern: None,
            ..*self
        };
        if named.matched(spelled_out, candidates)?.is_empty() {
            let ends: BTreeSet<&str> = candidates.iter().map(|c| c.name.rsplit('.').next().unwrap_or(c.name)).collect();
            let available = ends.into_iter().collect::<Vec<_>>().join(", ");
            return Ok(PeftError::NoTargets { target_modules, available });
        }
        let kept = Selection { modules_to_save: self.modules_to_save, ..named };
        let not_excluded = Selection { exclude_modules: self.exclude_modules, ..kept };
        let of_layers = Selection { layers_to_transform: self.layers_to_transform, ..not_excluded };
        let narrowed =
            [("modules_to_save", kept), ("exclude_modules", not_excluded), ("layers_to_transform", of_layers)];
        let mut key = "layers_pattern";
        for (narrowing, selection) in narrowed.into_iter().rev() {
            if selection.matched(spelled_out, candidates)?.is_empty() {
                key = narrowing;
            }
        }
        let target_modules = checkpoint::Quoted(&target_modules);
        let reason =
            format!("leaves none of the modules that target_modules {target_modules} means; change one of them");
        Ok(PeftError::Setting { key, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: [&str; 7] = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];

    fn llama(layers: usize) -> Vec<(String, bool)> {
        let block = |layer: usize| LLAMA.iter().map(move |module| (format!("model.layers.{layer}.{module}"), true));
        let mut names = vec![("model.embed_tokens".to_owned(), false)];
        names.extend((0..layers).flat_map(block));
        names.push(("lm_head".to_owned(), false));
        names
    }

    fn resolve(selection: Selection<'_>, layers: usize) -> Result<Targets, PeftError> {
        let names = llama(layers);
        let candidates: Vec<_> =
            names.iter().map(|(name, linear)| Candidate { name, older_name: None, linear: *linear }).collect();
        selection.resolve(&candidates)
    }

    fn select(target_modules: &ModuleNames) -> Selection<'_> {
        Selection {
            target_modules,
            exclude_modules: None,
            modules_to_save: &[],
            layers_to_transform: None,
            layers_pattern: None,
        }
    }

    fn list(names: &[&str]) -> ModuleNames {
        ModuleNames::List(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn names_match_in_full_or_after_a_dot() {
        let targets = resolve(select(&list(&["q_proj", "proj", "model.layers.1.mlp.up_proj", "lm_head"])), 2).unwrap();
        let expected = [
            "model.layers.0.self_attn.q_proj",
            "model.layers.1.self_attn.q_proj",
            "model.layers.1.mlp.up_proj",
            "lm_head",
        ];
        assert_eq!(targets.matched, expected);
        assert_eq!(targets.unmatched, ["proj"]);
    }

    #[test]
    fn patterns_match_the_whole_name() {
        let pattern = |p: &str| resolve(select(&ModuleNames::Pattern(p.to_owned())), 2).map(|targets| targets.matched);
        assert_eq!(pattern(r".*\.0\.mlp\.(up|down)_proj").unwrap().len(), 2);
        assert_eq!(pattern(r"(?!.*\.1\.).*v_proj").unwrap(), ["model.layers.0.self_attn.v_proj"]);
        // Alternatives at the top are each anchored, as re.fullmatch anchors them.
        assert_eq!(pattern(r"q|.*k_proj").unwrap().len(), 2);
        let error = pattern("q_proj").unwrap_err().to_string();
        assert!(error.contains("`q_proj`") && error.contains("down_proj, embed_tokens, gate_proj"), "{error}");
        assert!(matches!(pattern("(q_proj"), Err(PeftError::Pattern { key: "target_modules", .. })));
        // Catastrophic backtracking ends in an error, not in a hang.
        assert!(matches!(
            pattern(r"(?=(a|b|.)*?z)((.|..)+)+x\1"),
            Err(PeftError::Pattern { .. } | PeftError::NoTargets { .. })
        ));
    }

    #[test]
    fn layers_are_selected_by_number_unless_named_in_full() {
        let layers = OneOrMany::Many(vec![1, 10]);
        let targets = list(&["q_proj", "model.layers.0.mlp.up_proj"]);
        let selection = Selection { layers_to_transform: Some(&layers), ..select(&targets) };
        let expected =
            ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.q_proj", "model.layers.10.self_attn.q_proj"];
        assert_eq!(resolve(selection, 12).unwrap().matched, expected);
        let wrong = OneOrMany::One("h".to_owned());
        let targets = resolve(Selection { layers_pattern: Some(&wrong), ..selection }, 12).unwrap();
        assert_eq!(targets.matched, ["model.layers.0.mlp.up_proj"]);
        let right = OneOrMany::Many(vec!["h".to_owned(), "layers".to_owned()]);
        assert_eq!(resolve(Selection { layers_pattern: Some(&right), ..selection }, 12).unwrap().matched, expected);
        let one = OneOrMany::One(3);
        assert_eq!(resolve(Selection { layers_to_transform: Some(&one), ..selection }, 12).unwrap().matched.len(), 2);
    }

    #[test]
    fn excluded_and_saved_modules_are_left_alone() {
        let targets = list(&["q_proj", "v_proj", "lm_head"]);
        let names = list(&["v_proj", "model.layers.0.self_attn.q_proj"]);
        let selection = Selection { exclude_modules: Some(&names), ..select(&targets) };
        assert_eq!(resolve(selection, 2).unwrap().matched, ["model.layers.1.self_attn.q_proj", "lm_head"]);
        let pattern = ModuleNames::Pattern(r".*\.0\..*".to_owned());
        assert_eq!(resolve(Selection { exclude_modules: Some(&pattern), ..selection }, 2).unwrap().matched.len(), 3);
        let saved = ["self_attn".to_owned()];
        let selection = Selection { modules_to_save: &saved, ..select(&targets) };
        assert_eq!(resolve(selection, 2).unwrap().matched, ["lm_head"]);
    }

    #[test]
    fn the_key_that_leaves_nothing_is_named() {
        let targets = list(&["q_proj", "v_proj"]);
        let (nine, wrong, all) = (OneOrMany::One(9), OneOrMany::One("h".to_owned()), list(&["q_proj", "v_proj"]));
        let saved = ["self_attn".to_owned()];
        let layers = Selection { layers_to_transform: Some(&nine), ..select(&targets) };
        for (selection, expected) in [
            (layers, "layers_to_transform"),
            (Selection { layers_pattern: Some(&wrong), ..layers }, "layers_to_transform"),
            (Selection { exclude_modules: Some(&all), ..layers }, "exclude_modules"),
            (Selection { modules_to_save: &saved, ..select(&targets) }, "modules_to_save"),
        ] {
            let error = resolve(selection, 2).unwrap_err();
            assert!(matches!(&error, PeftError::Setting { key, .. } if *key == expected), "{expected}: {error}");
            assert!(error.to_string().contains("target_modules `q_proj, v_proj` means"), "{error}");
        }
        let pattern = Selection { layers_pattern: Some(&wrong), ..layers };
        let error = resolve(pattern, 10).unwrap_err();
        assert!(matches!(&error, PeftError::Setting { key: "layers_pattern", .. }), "{error}");
    }

    #[test]
    fn all_linear_is_spelled_out_and_shortened_when_long() {
        let word = ModuleNames::Pattern("all-linear".to_owned());
        let targets = resolve(select(&word), 2).unwrap();
        assert_eq!((targets.matched.len(), targets.unmatched.len()), (14, 0));
        assert_eq!(targets.target_modules, ModuleNames::List(targets.matched.clone()));
        let targets = resolve(select(&word), 3).unwrap();
        assert_eq!(targets.matched.len(), 21);
        let ends: Vec<_> = LLAMA.iter().map(|module| module.rsplit('.').next().unwrap()).collect();
        assert_eq!(targets.target_modules.sorted(), list(&ends).sorted());
    }
}
