//! The sizes that kernels are timed with on a GPU.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A model's sizes, as in `reference_shapes.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Shapes {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Classes of the head.
    pub vocab_size: usize,
    /// Of the queries.
    pub num_heads: usize,
    /// Of the keys and values.
    pub num_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Input and output features by projection.
    linears: BTreeMap<String, [usize; 2]>,
    /// Rows of activations.
    tokens: Vec<usize>,
    /// Of LoRA.
    pub rank: usize,
    /// A batch for attention.
    pub attention: Attention,
    /// Rows of logits that are in memory at once.
    pub logits_rows: usize,
    /// What the optimizer steps.
    pub trainable_parameters: usize,
}

/// Sequences of one length with a prefix that they share.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub seq_len: usize,
    /// Keys before them.
    pub prefix_len: usize,
}

/// One projection with a number of tokens.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Its module.
    pub site: String,
    /// Rows of activations.
    pub tokens: usize,
    /// Columns of the weight.
    pub inputs: usize,
    /// Rows of the weight.
    pub outputs: usize,
}

impl Shapes {
    /// Those of `reference_shapes.json`, or of the file that `TUNESMITH_BENCH_SHAPES` names.
    ///
    /// # Panics
    /// If that file cannot be read.
    pub fn read() -> Self {
        let text = match std::env::var_os("TUNESMITH_BENCH_SHAPES") {
            None => include_str!("../reference_shapes.json").to_owned(),
            Some(path) => std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("the shapes: {error}"))
    }

    /// Every projection with every number of tokens.
    pub fn linears(&self) -> impl Iterator<Item = Linear> {
        self.linears.iter().flat_map(|(site, &[inputs, outputs])| {
            self.tokens.iter().map(move |&tokens| Linear { site: site.clone(), tokens, inputs, outputs })
        })
    }

    /// The largest number of tokens.
    pub fn most_tokens(&self) -> usize {
        self.tokens.iter().copied().max().unwrap_or(0)
    }
}

impl std::fmt::Display for Linear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}x{}", self.site, self.tokens, self.inputs, self.outputs)
    }
}
