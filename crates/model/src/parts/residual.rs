//! A residual connection.

use tensor::{Result, Tensor};

use super::Scope;
use crate::module::Modules;
use crate::{Join, Part, ResidualId};

/// Where the output of a part of a block joins the hidden states.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residual(ResidualId);

impl Residual {
    /// Adds the connection to the list. `path` is the module that takes the sum.
    pub(crate) fn declare(modules: &mut Modules, path: &str, layer: usize, part: Part, size: usize) -> Self {
        Self(modules.add_residual(path.to_owned(), layer, part, size))
    }

    /// Whether the adapter does something of its own here.
    pub(crate) fn is_adapted(&self, scope: &Scope) -> bool {
        scope.adapter.adapts_residual(self.0)
    }

    /// The hidden states with the part's output.
    pub(crate) fn join(&self, join: Join<'_>, scope: &Scope) -> Result<Tensor> {
        scope.adapter.residual(self.0, join, &scope.context)
    }
}
