//! The head of a classifier: `output(act(dense(x)))`, or `output(x)`.

use tensor::{Activation, Layout, Result, Tensor, ops};

use super::{Linear, Scope};
use crate::ModuleId;
use crate::config::HeadConfig;
use crate::module::Modules;

/// A head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassifierHead {
    dense: Option<(Linear, Activation)>,
    output: Linear,
}

impl ClassifierHead {
    /// Adds the modules to the list. `size` is `[hidden_size, num_labels]`.
    pub(crate) fn declare(modules: &mut Modules, config: &HeadConfig, size: [usize; 2]) -> Self {
        let [hidden, num_labels] = size;
        let mut linear = |path: &str, size| Linear::declare(modules, path.to_owned(), None, size, Layout::OutIn, true);
        let dense = config.dense.map(|(path, activation)| (linear(path, [hidden, hidden]), activation));
        let output = linear(config.output, [hidden, num_labels]);
        modules.set_head(output.module, None);
        Self { dense, output }
    }

    /// The modules that it consists of.
    pub(crate) fn modules(&self) -> impl Iterator<Item = ModuleId> + use<> {
        self.dense.map(|(dense, _)| dense.module).into_iter().chain([self.output.module])
    }

    /// `x`: `[rows, hidden_size]`, returned as `[rows, num_labels]`.
    pub(crate) fn forward(&self, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        match &self.dense {
            Some((dense, activation)) => {
                self.output.forward(&ops::activation(&dense.forward(x, scope)?, *activation)?, scope)
            }
            None => self.output.forward(x, scope),
        }
    }
}
