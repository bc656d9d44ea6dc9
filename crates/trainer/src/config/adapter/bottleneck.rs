//! Settings of bottleneck adapters.

use std::ops::Bound;

use peft::bottleneck::{BottleneckConfig, Init, ReductionFactor, ResidualBeforeLn, RuleInit};
use serde::Serialize;

use super::conflicts::Conflicts;
use crate::config::document::{Node, Value};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::value::{Choice, FromNode, Patterns, wrong_type};

/// Settings of bottleneck adapters as far as they were written: what is `None` takes the value of AdapterHub's configuration
/// [`BottleneckSettings::bottleneck_config`], or that of [`Adapter::init_from`](super::Adapter::init_from).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BottleneckSettings {
    /// AdapterHub's configuration by name. Default `seq_bn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck_config: Option<Preset>,
    /// The adapter's name in its file. Default `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_name: Option<String>,
    /// How many times smaller than the hidden states the bottleneck is; a number, or a table by layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduction_factor: Option<ReductionFactor>,
    /// The activation, by its name in transformers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_linearity: Option<String>,
    /// The factor of the adapter's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<f64>,
    /// Dropout of the adapter's output; AdapterHub's `dropout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck_dropout: Option<f64>,
    /// Where the layers start; AdapterHub's `init_weights`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottleneck_init: Option<Init>,
    /// Layers without an adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave_out: Option<Vec<usize>>,
    /// Adapters after attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mh_adapter: Option<bool>,
    /// Adapters after the MLP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_adapter: Option<bool>,
    /// Adapters after the attention of a decoder to its encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_adapter: Option<bool>,
    /// Beside attention or MLP and not after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_parallel: Option<bool>,
    /// The block's sum and norm before the adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_ln_before: Option<bool>,
    /// The block's sum and norm after the adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_ln_after: Option<bool>,
    /// A norm of the adapter's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ln_after: Option<bool>,
    /// What the connection around the adapter takes past it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual_before_ln: Option<ResidualBeforeLn>,
    /// Whether it joins before the adapter's own norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_residual_before_ln: Option<bool>,
    /// Hypercomplex layers (Compacter).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phm_layer: Option<bool>,
    /// Number of their Kronecker products.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phm_dim: Option<usize>,
    /// Rank of the second factors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phm_rank: Option<usize>,
    /// Whether they have a bias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phm_bias: Option<bool>,
    /// One rule for all layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_phm_rule: Option<bool>,
    /// Where the rule starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phm_c_init: Option<RuleInit>,
    /// Its standard deviation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phm_init_range: Option<f64>,
}

impl BottleneckSettings {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            bottleneck_config: s.get("bottleneck_config"),
            adapter_name: s.get("adapter_name"),
            reduction_factor: s.get("reduction_factor"),
            non_linearity: s.get("non_linearity"),
            scaling: s.get_within("scaling", -1e9..=1e9),
            bottleneck_dropout: s.get_within("bottleneck_dropout", 0.0..1.0),
            bottleneck_init: s.get("bottleneck_init"),
            leave_out: s.get("leave_out"),
            mh_adapter: s.get("mh_adapter"),
            output_adapter: s.get("output_adapter"),
            cross_adapter: s.get("cross_adapter"),
            is_parallel: s.get("is_parallel"),
            original_ln_before: s.get("original_ln_before"),
            original_ln_after: s.get("original_ln_after"),
            ln_after: s.get("ln_after"),
            residual_before_ln: s.get("residual_before_ln"),
            adapter_residual_before_ln: s.get("adapter_residual_before_ln"),
            phm_layer: s.get("phm_layer"),
            phm_dim: s.get_within("phm_dim", 1..=1 << 10),
            phm_rank: s.get_within("phm_rank", 1..=1 << 10),
            phm_bias: s.get("phm_bias"),
            shared_phm_rule: s.get("shared_phm_rule"),
            phm_c_init: s.get("phm_c_init"),
            phm_init_range: s.get_within("phm_init_range", (Bound::Excluded(0.0), Bound::Included(1e9))),
        }
    }

    /// These settings, AdapterHub's configuration for the rest.
    pub fn over_preset(&self) -> BottleneckConfig {
        self.over(&self.preset().unwrap_or_default())
    }

    /// These settings over `adapter`'s, the configuration of an adapter to go on from. The structure is the adapter's: only
    /// what training alone reads, the dropout, may differ.
    ///
    /// # Errors
    /// A line for each key that is set to another value than the adapter's, naming both.
    pub fn over_adapter(&self, adapter: &BottleneckConfig) -> Result<BottleneckConfig, Vec<String>> {
        // A configuration's name stands for its keys, but for where they start.
        let named = self.preset().map(|preset| BottleneckConfig {
            name: adapter.name.clone(),
            model: adapter.model.clone(),
            dropout: adapter.dropout,
            ..preset
        });
        let merged = self.over(named.as_ref().unwrap_or(adapter));
        let mut conflicts = Conflicts::default();
        conflicts.check("adapter_name", &merged.name, &adapter.name);
        conflicts.check("reduction_factor", &merged.reduction_factor, &adapter.reduction_factor);
        conflicts.check("non_linearity", &merged.non_linearity, &adapter.non_linearity);
        conflicts.check("scaling", &merged.scaling, &adapter.scaling);
        conflicts.check("leave_out", &merged.leave_out, &adapter.leave_out);
        conflicts.check("mh_adapter", &merged.mh_adapter, &adapter.mh_adapter);
        conflicts.check("output_adapter", &merged.output_adapter, &adapter.output_adapter);
        conflicts.check("cross_adapter", &merged.cross_adapter, &adapter.cross_adapter);
        conflicts.check("is_parallel", &merged.is_parallel, &adapter.is_parallel);
        conflicts.check("original_ln_before", &merged.original_ln_before, &adapter.original_ln_before);
        conflicts.check("original_ln_after", &merged.original_ln_after, &adapter.original_ln_after);
        conflicts.check("ln_after", &merged.ln_after, &adapter.ln_after);
        conflicts.check("residual_before_ln", &merged.residual_before_ln, &adapter.residual_before_ln);
        let before = (&merged.adapter_residual_before_ln, &adapter.adapter_residual_before_ln);
        conflicts.check("adapter_residual_before_ln", before.0, before.1);
        conflicts.check("phm_layer", &merged.phm_layer, &adapter.phm_layer);
        if adapter.phm_layer {
            conflicts.check("phm_dim", &merged.phm_dim, &adapter.phm_dim);
            conflicts.check("phm_rank", &merged.phm_rank, &adapter.phm_rank);
            conflicts.check("phm_bias", &merged.phm_bias, &adapter.phm_bias);
            conflicts.check("shared_phm_rule", &merged.shared_phm_rule, &adapter.shared_phm_rule);
        }
        conflicts.none()?;
        Ok(BottleneckConfig { dropout: merged.dropout, ..adapter.clone() })
    }

    fn preset(&self) -> Option<BottleneckConfig> {
        self.bottleneck_config.and_then(|Preset(name)| BottleneckConfig::preset(name))
    }

    fn over(&self, base: &BottleneckConfig) -> BottleneckConfig {
        fn or<T: Clone>(set: &Option<T>, base: &T) -> T {
            set.as_ref().unwrap_or(base).clone()
        }
        BottleneckConfig {
            name: or(&self.adapter_name, &base.name),
            model: base.model.clone(),
            mh_adapter: or(&self.mh_adapter, &base.mh_adapter),
            output_adapter: or(&self.output_adapter, &base.output_adapter),
            cross_adapter: or(&self.cross_adapter, &base.cross_adapter),
            reduction_factor: or(&self.reduction_factor, &base.reduction_factor),
            non_linearity: or(&self.non_linearity, &base.non_linearity),
            original_ln_before: or(&self.original_ln_before, &base.original_ln_before),
            original_ln_after: or(&self.original_ln_after, &base.original_ln_after),
            ln_after: or(&self.ln_after, &base.ln_after),
            residual_before_ln: or(&self.residual_before_ln, &base.residual_before_ln),
            adapter_residual_before_ln: or(&self.adapter_residual_before_ln, &base.adapter_residual_before_ln),
            init_weights: or(&self.bottleneck_init, &base.init_weights),
            init_weights_seed: base.init_weights_seed,
            is_parallel: or(&self.is_parallel, &base.is_parallel),
            scaling: or(&self.scaling, &base.scaling),
            leave_out: or(&self.leave_out, &base.leave_out),
            dropout: or(&self.bottleneck_dropout, &base.dropout),
            phm_layer: or(&self.phm_layer, &base.phm_layer),
            phm_dim: or(&self.phm_dim, &base.phm_dim),
            phm_rank: or(&self.phm_rank, &base.phm_rank),
            phm_bias: or(&self.phm_bias, &base.phm_bias),
            shared_phm_rule: or(&self.shared_phm_rule, &base.shared_phm_rule),
            phm_c_init: or(&self.phm_c_init, &base.phm_c_init),
            phm_init_range: or(&self.phm_init_range, &base.phm_init_range),
            hypercomplex_nonlinearity: base.hypercomplex_nonlinearity.clone(),
        }
    }
}

/// The name of one of AdapterHub's configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Preset(&'static str);

impl Choice for Preset {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("seq_bn", Self("seq_bn")),
        ("pfeiffer", Self("pfeiffer")),
        ("double_seq_bn", Self("double_seq_bn")),
        ("houlsby", Self("houlsby")),
        ("par_bn", Self("par_bn")),
        ("parallel", Self("parallel")),
        ("compacter", Self("compacter")),
        ("compacter++", Self("compacter++")),
    ];
    const ABSENT: &'static [&'static str] = &["scaled_par_bn", "scaled_parallel", "seq_bn_inv", "double_seq_bn_inv"];
}

impl Choice for Init {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("bert", Self::Bert), ("mam_adapter", Self::MamAdapter), ("houlsby", Self::Houlsby)];
}

impl Choice for RuleInit {
    const CHOICES: &'static [(&'static str, Self)] = &[("normal", Self::Normal), ("uniform", Self::Uniform)];
}

impl FromNode for ReductionFactor {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Float(_) | Value::Integer(_) => f64::from_node(key, node).map(Self::Same),
            Value::Table(_) => {
                let Patterns(factors) = Patterns::from_node(key, node)?;
                Ok(Self::ByLayer(factors.into_iter().collect()))
            }
            _ => Err(wrong_type(key, node, "a number, or a table as in { 0 = 8, default = 16 }")),
        }
    }
}

impl FromNode for ResidualBeforeLn {
    fn from_node(key: &str, node: &Node) -> Result<Self, Problem> {
        match &node.value {
            Value::Boolean(true) => Ok(Self::Before),
            Value::Boolean(false) => Ok(Self::After),
            Value::String(word) if word == "post_add" => Ok(Self::PostAdd),
            _ => Err(wrong_type(key, node, "true, false or \"post_add\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(preset: &'static str) -> BottleneckSettings {
        BottleneckSettings { bottleneck_config: Some(Preset(preset)), ..BottleneckSettings::default() }
    }

    #[test]
    fn every_name_is_a_configuration_and_keys_go_over_it() {
        let named = <Preset as Choice>::CHOICES.iter().map(|(name, _)| *name);
        assert_eq!(named.collect::<Vec<_>>(), BottleneckConfig::PRESETS);
        let config =
            BottleneckSettings { scaling: Some(2.0), mh_adapter: Some(true), ..settings("par_bn") }.over_preset();
        let par_bn = BottleneckConfig::preset("par_bn").unwrap();
        assert_eq!(config, BottleneckConfig { scaling: 2.0, mh_adapter: true, ..par_bn });
        assert_eq!(BottleneckSettings::default().over_preset(), BottleneckConfig::default());
    }

    #[test]
    fn an_adapters_structure_is_taken_over() {
        let adapter = BottleneckConfig { name: "tiny".to_owned(), ..BottleneckConfig::preset("houlsby").unwrap() };
        let same = BottleneckSettings { bottleneck_dropout: Some(0.1), ..settings("double_seq_bn") };
        assert_eq!(same.over_adapter(&adapter).unwrap(), BottleneckConfig { dropout: 0.1, ..adapter.clone() });
        let other = BottleneckSettings { mh_adapter: Some(false), scaling: Some(2.0), ..BottleneckSettings::default() };
        assert_eq!(
            other.over_adapter(&adapter).unwrap_err(),
            [
                "adapter.scaling is 2.0, and the adapter has 1.0",
                "adapter.mh_adapter is false, and the adapter has true"
            ]
        );
    }
}
