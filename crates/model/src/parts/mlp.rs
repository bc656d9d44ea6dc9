//! The feed-forward part of a block.

use tensor::{Activation, ops};
use tensor::{Result, Tensor};

use super::{BlockSite, Linear, Scope};
use crate::config::{MlpConfig, MlpInput};
use crate::module::Modules;

/// An MLP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mlp {
    input: Input,
    output: Linear,
    activation: Activation,
}

#[derive(Clone, Copy, Debug)]
enum Input {
    Plain(Linear),
    Gated { gate: Linear, up: Linear },
    FusedGated(Linear),
}

impl Mlp {
    /// Adds the modules of the block at `site` to the list. `size` is `[hidden_size, intermediate_size]`.
    pub(crate) fn declare(modules: &mut Modules, mlp: MlpConfig, size: [usize; 2], site: BlockSite<'_>) -> Self {
        let BlockSite { path: block, layer } = site;
        let mut linear = |path: &str, size| {
            Linear::declare(modules, format!("{block}.{path}"), Some(layer), size, mlp.layout, mlp.bias)
        };
        let [hidden, inner] = size;
        let input = match mlp.input {
            MlpInput::Plain { up } => Input::Plain(linear(up, [hidden, inner])),
            MlpInput::Gated { gate, up } => {
                Input::Gated { gate: linear(gate, [hidden, inner]), up: linear(up, [hidden, inner]) }
            }
            MlpInput::FusedGated { path } => Input::FusedGated(linear(path, [hidden, 2 * inner])),
        };
        Self { input, output: linear(mlp.output, [inner, hidden]), activation: mlp.activation }
    }

    /// `x`: `[num_tokens, hidden_size]`, returned in the same shape.
    pub(crate) fn forward(&self, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        let (activation, output) = (self.activation, &self.output);
        let scale = output.input_scale(scope);
        let inner = match &self.input {
            Input::Plain(up) => {
                return output.forward(&ops::activation(&up.forward(x, scope)?, activation)?, scope);
            }
            Input::Gated { gate, up } => {
                let [gates, ups] = Linear::forward_all([gate, up], x, scope)?;
                let ups = up.unkept(ups, x, scope)?;
                match scale {
                    None => ops::gated_activation(&gates, &ups, activation)?,
                    Some(scale) => ops::gated_activation_scaled(&gates, &ups, scale, activation)?,
                }
            }
            Input::FusedGated(linear) => {
                let gate_up = linear.forward(x, scope)?;
                match scale {
                    None => ops::gated_activation_fused(&gate_up, activation)?,
                    Some(scale) => ops::gated_activation_fused_scaled(&gate_up, scale, activation)?,
                }
            }
        };
        output.forward_scaled(&inner, scope)
    }
}
