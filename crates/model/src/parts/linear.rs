//! A projection `y = x W^T + b`.

use tensor::{Layout, Result, Tensor, Weight, ops};

use super::Scope;
use crate::module::{ModuleKind, Modules};
use crate::{ModuleId, ParameterId, Projection};

/// A linear module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) module: ModuleId,
    pub(crate) weight: ParameterId,
    bias: Option<ParameterId>,
    layout: Layout,
}

impl Linear {
    /// Adds the module to the list. `size` is `[in_features, out_features]`.
    pub(crate) fn declare(
        modules: &mut Modules,
        path: String,
        layer: Option<usize>,
        size: [usize; 2],
        layout: Layout,
        bias: bool,
    ) -> Self {
        let [in_features, out_features] = size;
        let shape = match layout {
            Layout::OutIn => vec![out_features, in_features],
            Layout::InOut => vec![in_features, out_features],
        };
        let kind = ModuleKind::Linear { in_features, out_features, layout };
        let module = modules.add(path, layer, kind, shape, bias.then_some(out_features));
        Self { module: module.id, weight: module.weight, bias: module.bias, layout }
    }

    /// `x`: `[num_tokens, in_features]`, returned as `[num_tokens, out_features]`.
    pub(crate) fn forward(&self, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        match self.input_scale(scope) {
            Some(scale) => self.forward_scaled(&ops::ia3_scale(x, scale)?, scope),
            None => self.forward_scaled(x, scope),
        }
    }

    /// What `x` is to be multiplied by before [`Linear::forward_scaled`].
    pub(crate) fn input_scale<'a>(&self, scope: &'a Scope) -> Option<&'a Tensor> {
        scope.adapter.input_scale(self.module)
    }

    /// The projection of an `x` that has been multiplied by [`Linear::input_scale`].
    pub(crate) fn forward_scaled(&self, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        let bias = self.bias.map(|id| scope.parameter(id));
        scope.adapter.linear(self.module, x, &self.weight(scope)?, bias, &scope.context)
    }

    /// Several projections of one `x`, which the adapter may compute in one pass.
    pub(crate) fn forward_all<const N: usize>(linears: [&Self; N], x: &Tensor, scope: &Scope) -> Result<[Tensor; N]> {
        let is_scaled = linears.iter().any(|linear| linear.input_scale(scope).is_some());
        let results = match is_scaled {
            true => linears.iter().map(|linear| linear.forward(x, scope)).collect::<Result<Vec<_>>>(),
            false => {
                let projections = linears.iter().map(|linear| linear.projection(scope)).collect::<Result<Vec<_>>>()?;
                scope.adapter.linears(&projections, x, &scope.context)
            }
        };
        Ok(results?.try_into().expect("an adapter gives as many results as it is asked for"))
    }

    fn projection<'a>(&self, scope: &'a Scope) -> Result<Projection<'a>> {
        let bias = self.bias.map(|id| scope.parameter(id));
        Ok(Projection { id: self.module, weight: self.weight(scope)?, bias })
    }

    /// `y`, which is [`Linear::forward`] of `x`, kept as `x` by what needs it in its backward, where memory matters more than
    /// computing it again: the result of a product with a norm, which is itself made again.
    pub(crate) fn unkept(&self, y: Tensor, x: &Tensor, scope: &Scope) -> Result<Tensor> {
        if !scope.saves_memory(x) {
            return Ok(y);
        }
        let (linear, scope) = (*self, scope.clone());
        ops::recomputed(y, &[x], move |x| linear.forward(&x[0], &scope))
    }

    /// The weight of this pass.
    pub(crate) fn weight(&self, scope: &Scope) -> Result<Weight> {
        scope.weight(self.weight, self.layout)
    }
}
