//! What a configuration means in a model: where adapters stand, and their sizes.

use model::{Dimensions, Modules, ParameterId, Part, Residual};
use tensor::Activation;

use super::config::{BottleneckConfig, Init, ResidualBeforeLn};
use crate::{PeftError, Warnings, modules_to_save};

/// No bottleneck is near this. It keeps every product of sizes far from overflow.
const MAX_SIZE: usize = 1 << 20;

/// A configuration applied to a model's residual connections.
pub(super) struct Plan {
    pub(super) config: BottleneckConfig,
    pub(super) activation: Activation,
    /// The connections with an adapter, in model order, and the size of its bottleneck.
    pub(super) sites: Vec<(Residual, usize)>,
    /// Parameters of the head that are trained.
    pub(super) head: Vec<ParameterId>,
    /// What was configured and means nothing.
    pub(super) warnings: Warnings,
}

impl Plan {
    pub(super) fn new(
        config: BottleneckConfig,
        dimensions: &Dimensions,
        modules: &Modules,
        newly_initialized: &[ParameterId],
    ) -> Result<Self, PeftError> {
        let activation = check(&config)?;
        let mut sites = Vec::new();
        for residual in modules.residuals().filter(|residual| has_adapter(&config, residual)) {
            sites.push((residual.clone(), size(&config, residual)?));
        }
        if sites.is_empty() {
            let reason = format!(
                "with `mh_adapter` {}, `cross_adapter` {} and `leave_out` {:?} no layer of this model gets an adapter",
                config.mh_adapter, config.cross_adapter, config.leave_out,
            );
            return Err(PeftError::Setting { key: "output_adapter", reason });
        }
        let layers = modules.residuals().map(|residual| residual.layer + 1).max().unwrap_or(dimensions.num_layers);
        let beyond = config.leave_out.iter().filter(|layer| **layer >= layers);
        let mut warnings: Warnings =
            beyond.map(|layer| format!("`leave_out` names layer {layer} of {layers}, counted from 0")).collect();
        if config.init_weights_seed.is_some() {
            warnings.push("`init_weights_seed` does not give AdapterHub's starting values here".to_owned());
        }
        let head = modules_to_save::heads(modules, newly_initialized);
        Ok(Self { config, activation, sites, head, warnings })
    }
}

fn has_adapter(config: &BottleneckConfig, residual: &Residual) -> bool {
    let wanted = match residual.part {
        Part::Attention => config.mh_adapter,
        Part::CrossAttention => config.cross_adapter,
        Part::Mlp => config.output_adapter,
    };
    wanted && !config.leave_out.contains(&residual.layer)
}

/// What has to hold whatever the model; the activation.
fn check(config: &BottleneckConfig) -> Result<Activation, PeftError> {
    let wrong = |key, reason: String| Err(PeftError::Setting { key, reason });
    if config.name.is_empty() || config.name.contains('.') {
        return wrong("name", format!("expected a name without dots, got {:?}", config.name));
    }
    if !config.scaling.is_finite() {
        return wrong("scaling", format!("expected a number, got {}", config.scaling));
    }
    if !(0.0..1.0).contains(&config.dropout) {
        return wrong("dropout", format!("expected a probability below 1, got {}", config.dropout));
    }
    if config.residual_before_ln == ResidualBeforeLn::PostAdd && !config.original_ln_before {
        return wrong("residual_before_ln", "\"post_add\" needs `original_ln_before`".to_owned());
    }
    if config.phm_layer {
        if config.init_weights != Init::Bert {
            return wrong("init_weights", "hypercomplex layers (`phm_layer`) have \"bert\" only".to_owned());
        }
        if !(1..=MAX_SIZE).contains(&config.phm_dim) || !(1..=MAX_SIZE).contains(&config.phm_rank) {
            let (dim, rank) = (config.phm_dim, config.phm_rank);
            return wrong("phm_dim", format!("expected sizes from 1 to {MAX_SIZE}, got {dim} and `phm_rank` {rank}"));
        }
    }
    // AdapterHub's own name beside those of transformers.
    let name = config.non_linearity.to_lowercase();
    name.parse().or_else(|error: <Activation as std::str::FromStr>::Err| wrong("non_linearity", error.to_string()))
}

/// `hidden // reduction_factor`, at least 1.
fn size(config: &BottleneckConfig, residual: &Residual) -> Result<usize, PeftError> {
    let wrong = |reason| Err(PeftError::Setting { key: "reduction_factor", reason });
    let Some(factor) = config.reduction_factor.of(residual.layer) else {
        return wrong(format!("names neither layer {} nor a default", residual.layer));
    };
    let hidden = residual.size as f64;
    if !(factor > 0.0 && factor.is_finite() && hidden / factor <= MAX_SIZE as f64) {
        return wrong(format!("expected a number above 0 and of use with a hidden size of {hidden}, got {factor}"));
    }
    // Python's `//` on floats, which takes the exact remainder off first.
    let size = (((hidden - hidden % factor) / factor).round() as usize).max(1);
    let divides = |size: usize| size.is_multiple_of(config.phm_dim);
    if config.phm_layer && !(divides(size) && divides(residual.size)) {
        let (hidden, dim) = (residual.size, config.phm_dim);
        return wrong(format!("{factor} makes {size} of {hidden}; `phm_dim` {dim} has to divide both"));
    }
    Ok(size)
}
