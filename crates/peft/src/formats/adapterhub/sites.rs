//! The modules that AdapterHub can adapt, by family.

use model::{Module, ModuleKind};

use super::super::Blueprint;

/// What of a block a module is to AdapterHub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Query,
    Key,
    Value,
    /// Queries, keys and values in one.
    Fused,
    Intermediate,
    Output,
}

impl Part {
    /// The name of a matrix of attention.
    pub(super) fn attn_matrix(self) -> Option<&'static str> {
        match self {
            Self::Query => Some("q"),
            Self::Key => Some("k"),
            Self::Value => Some("v"),
            Self::Fused | Self::Intermediate | Self::Output => None,
        }
    }
}

/// Ends of modules' names. AdapterHub calls Llama's down projection the intermediate one, and the up projection the output.
const LLAMA: [(&str, Part); 5] = [
    (".self_attn.q_proj", Part::Query),
    (".self_attn.k_proj", Part::Key),
    (".self_attn.v_proj", Part::Value),
    (".mlp.down_proj", Part::Intermediate),
    (".mlp.up_proj", Part::Output),
];
const GPT2: [(&str, Part); 3] =
    [(".attn.c_attn", Part::Fused), (".mlp.c_fc", Part::Intermediate), (".mlp.c_proj", Part::Output)];
const BERT: [(&str, Part); 6] = [
    (".attention.self.query", Part::Query),
    (".attention.self.key", Part::Key),
    (".attention.self.value", Part::Value),
    (".intermediate.dense", Part::Intermediate),
    // It ends as the last does.
    (".attention.output.dense", Part::Fused),
    (".output.dense", Part::Output),
];
const DISTILBERT: [(&str, Part); 5] = [
    (".attention.q_lin", Part::Query),
    (".attention.k_lin", Part::Key),
    (".attention.v_lin", Part::Value),
    (".ffn.lin1", Part::Intermediate),
    (".ffn.lin2", Part::Output),
];
const VIT: [(&str, Part); 5] = [
    (".attention.q_proj", Part::Query),
    (".attention.k_proj", Part::Key),
    (".attention.v_proj", Part::Value),
    (".mlp.fc1", Part::Intermediate),
    (".mlp.fc2", Part::Output),
];
const T5: [(&str, Part); 9] = [
    (".SelfAttention.q", Part::Query),
    (".SelfAttention.k", Part::Key),
    (".SelfAttention.v", Part::Value),
    (".EncDecAttention.q", Part::Query),
    (".EncDecAttention.k", Part::Key),
    (".EncDecAttention.v", Part::Value),
    (".DenseReluDense.wi", Part::Intermediate),
    (".DenseReluDense.wi_1", Part::Intermediate),
    (".DenseReluDense.wo", Part::Output),
];

fn table(model_type: &str) -> Option<&'static [(&'static str, Part)]> {
    Some(match model_type {
        "llama" | "mistral" => &LLAMA,
        "gpt2" => &GPT2,
        "bert" | "roberta" | "xlm-roberta" => &BERT,
        "distilbert" => &DISTILBERT,
        "t5" | "mt5" => &T5,
        "vit" => &VIT,
        _ => return None,
    })
}

/// Whether AdapterHub has the family.
pub(super) fn is_known(model_type: &str) -> bool {
    table(model_type).is_some()
}

/// What of a block `module` is to AdapterHub; `None` if it has no adapters there.
pub(super) fn part(module: &str, model_type: &str) -> Option<Part> {
    let found = table(model_type)?.iter().find(|(end, _)| module.ends_with(end)).map(|(_, part)| *part)?;
    // Attention's own output is no site of AdapterHub.
    if model_type != "gpt2" && found == Part::Fused { None } else { Some(found) }
}

/// A module that AdapterHub can adapt.
pub(super) struct Site<'a> {
    pub(super) module: &'a Module,
    pub(super) part: Part,
    /// Its block, counted through encoder and decoder.
    pub(super) layer: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl<'a> Site<'a> {
    /// The module's name in AdapterHub's files, whose ViT is that of transformers 4.
    pub(super) fn name(&self) -> &'a str {
        self.module.older_path.as_deref().unwrap_or(&self.module.path)
    }
}

/// Every such module of `base`, in model order.
pub(super) fn all(base: Blueprint<'_>) -> impl Iterator<Item = Site<'_>> {
    base.modules.iter().filter_map(move |module| {
        let part = part(&module.path, base.dimensions.model_type)?;
        let ModuleKind::Linear { in_features: inputs, out_features: outputs, .. } = module.kind else { return None };
        Some(Site { module, part, layer: module.layer?, inputs, outputs })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_are_those_of_adapterhub() {
        assert_eq!(part("bert.encoder.layer.0.attention.self.key", "bert"), Some(Part::Key));
        assert_eq!(part("bert.encoder.layer.0.attention.output.dense", "bert"), None);
        assert_eq!(part("bert.encoder.layer.0.output.dense", "bert"), Some(Part::Output));
        assert_eq!(part("transformer.h.0.attn.c_attn", "gpt2"), Some(Part::Fused));
        assert_eq!(part("transformer.h.0.attn.c_proj", "gpt2"), None);
        assert_eq!(part("model.layers.0.mlp.down_proj", "llama"), Some(Part::Intermediate));
        assert_eq!(part("model.layers.0.mlp.gate_proj", "llama"), None);
        assert_eq!(part("decoder.block.0.layer.1.EncDecAttention.o", "t5"), None);
        assert!(is_known("distilbert") && !is_known("phi3"));
    }
}
