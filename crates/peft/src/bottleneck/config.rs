//! AdapterHub's configuration of a bottleneck adapter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::TaskType;

/// Where the two layers start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Weights normal with standard deviation 0.02, biases zero.
    #[default]
    Bert,
    /// `down` uniform in +-1/sqrt(in), `up` and biases zero: the model is the base at first.
    MamAdapter,
    /// Weights normal with standard deviation 0.01, cut off at 0.02; biases zero.
    Houlsby,
}

/// What the connection around the adapter takes past it, where the block's norm comes before the adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value", into = "serde_json::Value")]
pub enum ResidualBeforeLn {
    /// `true`: the output of attention or MLP.
    #[default]
    Before,
    /// `"post_add"`: that output with the hidden states.
    PostAdd,
    /// `false`: what the adapter is given.
    After,
}

impl TryFrom<serde_json::Value> for ResidualBeforeLn {
    type Error = String;
    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        match value {
            serde_json::Value::Bool(true) => Ok(Self::Before),
            serde_json::Value::Bool(false) => Ok(Self::After),
            serde_json::Value::String(word) if word == "post_add" => Ok(Self::PostAdd),
            _ => Err(format!("expected true, false or \"post_add\", got {value}")),
        }
    }
}

impl From<ResidualBeforeLn> for serde_json::Value {
    fn from(residual: ResidualBeforeLn) -> Self {
        match residual {
            ResidualBeforeLn::Before => true.into(),
            ResidualBeforeLn::PostAdd => "post_add".into(),
            ResidualBeforeLn::After => false.into(),
        }
    }
}

/// How many times smaller than the hidden states the bottleneck is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or an object of numbers by layer")]
pub enum ReductionFactor {
    /// In all layers.
    Same(f64),
    /// By the number of the layer, written as a string, or `default`.
    ByLayer(BTreeMap<String, f64>),
}

impl ReductionFactor {
    /// That of `layer`, if there is one.
    pub fn of(&self, layer: usize) -> Option<f64> {
        match self {
            Self::Same(factor) => Some(*factor),
            Self::ByLayer(factors) => factors.get(&layer.to_string()).or_else(|| factors.get("default")).copied(),
        }
    }
}

/// Where the rule of hypercomplex layers starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleInit {
    /// Normal, with `phm_init_range` or, of a rule that is not shared, 0.01 as standard deviation.
    #[default]
    Normal,
    /// Uniform in [-1, 1), of a rule that is not shared in [-0.01, 0.01).
    Uniform,
}

/// What a file says about the base model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// Its path or name on the Hugging Face Hub.
    pub model_name: String,
    /// Its class in transformers.
    pub model_class: String,
    /// What its `config.json` calls the family.
    pub model_type: String,
    /// Elements of a token's hidden state.
    pub hidden_size: Option<usize>,
}

impl ModelFacts {
    /// What a model of this class is for, if it is known.
    pub fn task_type(&self) -> Option<TaskType> {
        /// Ends of names in transformers.
        const TASKS: [(&str, TaskType); 5] = [
            ("ForSequenceClassification", TaskType::SeqCls),
            ("ForTokenClassification", TaskType::TokenCls),
            ("ForConditionalGeneration", TaskType::Seq2SeqLm),
            ("ForCausalLM", TaskType::CausalLm),
            ("LMHeadModel", TaskType::CausalLm),
        ];
        TASKS.iter().find(|(end, _)| self.model_class.ends_with(end)).map(|(_, task)| *task)
    }
}

/// A bottleneck adapter under AdapterHub's names. [`BottleneckConfig::default`] is AdapterHub's default, `seq_bn`; the others
/// are [`BottleneckConfig::preset`].
#[derive(Clone, Debug, PartialEq)]
pub struct BottleneckConfig {
    /// The adapter's name, which is a part of every key of its file.
    pub name: String,
    /// What it is for. Attaching the adapter fills it in, but for the name, and the class if it is known.
    pub model: ModelFacts,
    /// Whether there is an adapter after attention.
    pub mh_adapter: bool,
    /// Whether there is one after the MLP.
    pub output_adapter: bool,
    /// Whether there is one after the attention of a decoder to its encoder.
    pub cross_adapter: bool,
    /// The hidden size is this many times that of the bottleneck.
    pub reduction_factor: ReductionFactor,
    /// The activation, by its name in transformers.
    pub non_linearity: String,
    /// Whether the hidden states are added, and the block's norm of the sum applied, before the adapter.
    pub original_ln_before: bool,
    /// Whether that is done after the adapter.
    pub original_ln_after: bool,
    /// Whether the adapter's output is normed by a norm of its own.
    pub ln_after: bool,
    /// What the connection around the adapter takes past it.
    pub residual_before_ln: ResidualBeforeLn,
    /// Whether it joins before that norm.
    pub adapter_residual_before_ln: bool,
    /// Where the layers start.
    pub init_weights: Init,
    /// AdapterHub's seed of the start. It is kept, and draws other values here.
    pub init_weights_seed: Option<i64>,
    /// Whether the adapter stands beside attention or MLP and not after it.
    pub is_parallel: bool,
    /// The factor of the adapter's output.
    pub scaling: f64,
    /// Layers without an adapter.
    pub leave_out: Vec<usize>,
    /// Probability with which an element of the adapter's output is dropped in training.
    pub dropout: f64,
    /// Whether the layers are hypercomplex (Compacter).
    pub phm_layer: bool,
    /// Number of Kronecker products, which divides both sizes of a layer.
    pub phm_dim: usize,
    /// Rank of their second factors.
    pub phm_rank: usize,
    /// Whether hypercomplex layers have a bias.
    pub phm_bias: bool,
    /// Whether all layers have the same rule.
    pub shared_phm_rule: bool,
    /// Where it starts.
    pub phm_c_init: RuleInit,
    /// Its standard deviation.
    pub phm_init_range: f64,
    /// Written and read for AdapterHub's sake: it draws the factors from the same distribution whatever stands here.
    pub hypercomplex_nonlinearity: String,
}

impl BottleneckConfig {
    /// What AdapterHub calls an adapter that nobody named.
    pub const DEFAULT_NAME: &'static str = "default";
}

impl Default for BottleneckConfig {
    fn default() -> Self {
        Self {
            name: Self::DEFAULT_NAME.to_owned(),
            model: ModelFacts::default(),
            mh_adapter: false,
            output_adapter: true,
            cross_adapter: false,
            reduction_factor: ReductionFactor::Same(16.0),
            non_linearity: "relu".to_owned(),
            original_ln_before: true,
            original_ln_after: true,
            ln_after: false,
            residual_before_ln: ResidualBeforeLn::Before,
            adapter_residual_before_ln: false,
            init_weights: Init::Bert,
            init_weights_seed: None,
            is_parallel: false,
            scaling: 1.0,
            leave_out: Vec::new(),
            dropout: 0.0,
            phm_layer: false,
            phm_dim: 4,
            phm_rank: 1,
            phm_bias: true,
            shared_phm_rule: true,
            phm_c_init: RuleInit::Normal,
            phm_init_range: 1e-4,
            hypercomplex_nonlinearity: "glorot-uniform".to_owned(),
        }
    }
}
