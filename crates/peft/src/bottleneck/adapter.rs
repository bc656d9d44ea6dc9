//! Bottleneck adapters in the forward pass.

use ::lora::Dropout;
use checkpoint::ADAPTERHUB_WEIGHTS;
use model::{Adapter, Context, Join, ParameterId, ResidualId};
use tensor::ops::{self, BottleneckOperands};
use tensor::{Parameters, Result, Tensor, TensorError};

use super::config::ResidualBeforeLn;
use super::{Bottleneck, Site};
use crate::method::{Method, SavedTensor};
use crate::{PeftError, python_json};

/// `nn.LayerNorm`'s, which AdapterHub leaves as it is.
const NORM_EPS: f32 = 1e-5;

/// What goes through an adapter and what goes around it.
struct Paths {
    /// Given to the adapter.
    x: Tensor,
    /// Added to its output.
    skip: Tensor,
    /// `skip` with the hidden states that the block adds after the adapter, if it does.
    skip_and_residual: Tensor,
}

impl Adapter for Bottleneck {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.stand_ins.get(id)
    }

    fn adapts_residual(&self, id: ResidualId) -> bool {
        self.sites[id.index()].is_some()
    }

    fn residual(&self, id: ResidualId, join: Join<'_>, context: &Context) -> Result<Tensor> {
        let Some(site) = &self.sites[id.index()] else { return join.finish(join.output) };
        let Paths { x, skip, skip_and_residual } = self.paths(&join)?;
        let dropout = self.dropout(id, context)?;
        let config = &self.config;
        let y = match &site.norm_after {
            None if dropout.is_none() => self.through(site, &x, Some(&skip_and_residual))?,
            norm_after => {
                let mut up = self.through(site, &x, None)?;
                if let Some(dropout) = dropout {
                    up = ops::dropout(&up, dropout)?;
                }
                match norm_after {
                    None => ops::add(&skip_and_residual, &up)?,
                    Some(norm) if config.adapter_residual_before_ln && !config.is_parallel => {
                        let y = normed(&ops::add(&skip, &up)?, norm)?;
                        if config.original_ln_after { ops::add(join.residual, &y)? } else { y }
                    }
                    Some(norm) => ops::add(&skip_and_residual, &normed(&up, norm)?)?,
                }
            }
        };
        if config.original_ln_after { join.normed(&y) } else { Ok(y) }
    }
}

impl Bottleneck {
    fn paths(&self, join: &Join<'_>) -> Result<Paths> {
        let config = &self.config;
        let sum = ops::add(join.residual, join.output)?;
        let (x, skip) = match config.residual_before_ln {
            _ if config.is_parallel => (join.input.clone(), join.output.clone()),
            _ if !config.original_ln_before => (join.output.clone(), join.output.clone()),
            ResidualBeforeLn::Before => (join.normed(&sum)?, join.output.clone()),
            ResidualBeforeLn::PostAdd => (join.normed(&sum)?, sum.clone()),
            ResidualBeforeLn::After => {
                let x = join.normed(&sum)?;
                (x.clone(), x)
            }
        };
        let around = !config.is_parallel && config.original_ln_before;
        let skip_and_residual = match config.residual_before_ln {
            _ if !config.original_ln_after => skip.clone(),
            ResidualBeforeLn::PostAdd | ResidualBeforeLn::After if around => ops::add(join.residual, &skip)?,
            _ => sum,
        };
        Ok(Paths { x, skip, skip_and_residual })
    }

    /// `addend + s up(act(down(x)))`.
    fn through(&self, site: &Site, x: &Tensor, addend: Option<&Tensor>) -> Result<Tensor> {
        let operands = BottleneckOperands {
            down: site.down.weight.tensor()?,
            down_bias: site.down.bias.clone(),
            up: site.up.weight.tensor()?,
            up_bias: site.up.bias.clone(),
            activation: self.activation,
            scaling: self.config.scaling as f32,
        };
        ops::bottleneck(x, addend, &operands)
    }

    /// The mask of one adapter's output in this pass.
    fn dropout(&self, id: ResidualId, context: &Context) -> Result<Option<Dropout>> {
        let probability = self.config.dropout as f32;
        let Some(key) = context.dropout.filter(|_| probability > 0.0) else { return Ok(None) };
        Dropout::new(probability, key.residual_stream(id)).map(Some).map_err(TensorError::kernel("dropout"))
    }
}

fn normed(x: &Tensor, [weight, bias]: &[Tensor; 2]) -> Result<Tensor> {
    ops::layer_norm(x, weight, Some(bias), NORM_EPS)
}

impl Method for Bottleneck {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn config_text(&self) -> Option<String> {
        Some(python_json::dumps(&self.config.to_json()))
    }

    fn weights_file(&self) -> &'static str {
        ADAPTERHUB_WEIGHTS
    }

    /// AdapterHub writes none.
    fn metadata(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    fn tensors(&self) -> Vec<SavedTensor> {
        self.saved.clone()
    }

    fn head(&self) -> Vec<SavedTensor> {
        self.head.clone()
    }

    fn merges(&self, _id: ParameterId) -> bool {
        true
    }

    fn merge(&self, _id: ParameterId, _values: &mut [f32]) -> Result<(), PeftError> {
        Err(PeftError::Unmergeable {
            module: self.config.name.clone(),
            reason: "a bottleneck adapter has an activation between its layers, which no weight of the base can take up; \
                     those of lora, ia3 and other methods that change weights can be merged",
        })
    }
}
