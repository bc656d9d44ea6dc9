//! `adapter_config.json` as AdapterHub writes it: the configuration within what says which model it is for.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::config::{BottleneckConfig, ModelFacts, ReductionFactor, RuleInit};
use crate::fields::Fields;
use crate::{PeftError, Warnings};

/// The release of `adapters` whose format is written.
const VERSION: &str = "adapters.1.2.0";
/// Keys that turn on what these adapters do not have: invertible adapters, a norm in front (which AdapterHub cannot save as
/// safetensors), gates (which average over padding), and ways of factoring hypercomplex layers that Compacter does not use.
const UNSUPPORTED: [&str; 5] = ["inv_adapter", "ln_before", "use_gating", "factorized_phm_rule", "shared_W_phm"];
/// Keys that Compacter needs to be true.
const NEEDED: [&str; 2] = ["factorized_phm_W", "learn_phm"];

impl BottleneckConfig {
    /// Reads the keys of a file, of which `config` holds those of the adapter.
    pub(crate) fn read(mut file: Fields, mut config: Fields) -> Result<(Self, Warnings), PeftError> {
        let default = Self::default();
        file.ignore("version");
        for key in UNSUPPORTED {
            config.refuse(key)?;
        }
        // It says something only with the first of them.
        config.ignore("inv_adapter_reduction_factor");
        if or(&mut config, "stochastic_depth", 0.0)? != 0.0 {
            return Err(config.wrong("stochastic_depth", "expected 0: dropping whole adapters is not supported"));
        }
        let phm_layer = or(&mut config, "phm_layer", default.phm_layer)?;
        for key in NEEDED {
            if !or(&mut config, key, true)? && phm_layer {
                return Err(config.wrong(key, "expected true: hypercomplex layers without it are not supported"));
            }
        }
        let read = Self {
            name: or(&mut file, "name", default.name)?,
            model: ModelFacts {
                model_name: or(&mut file, "model_name", String::new())?,
                model_class: or(&mut file, "model_class", String::new())?,
                model_type: or(&mut file, "model_type", String::new())?,
                hidden_size: file.take("hidden_size")?,
            },
            mh_adapter: required(&mut config, "mh_adapter")?,
            output_adapter: required(&mut config, "output_adapter")?,
            cross_adapter: or(&mut config, "cross_adapter", default.cross_adapter)?,
            reduction_factor: required(&mut config, "reduction_factor")?,
            non_linearity: required(&mut config, "non_linearity")?,
            // The defaults of a file are those of AdapterHub's `BnConfig`, which are not those of `seq_bn`.
            original_ln_before: or(&mut config, "original_ln_before", false)?,
            original_ln_after: or(&mut config, "original_ln_after", true)?,
            ln_after: or(&mut config, "ln_after", default.ln_after)?,
            residual_before_ln: or(&mut config, "residual_before_ln", default.residual_before_ln)?,
            adapter_residual_before_ln: or(
                &mut config,
                "adapter_residual_before_ln",
                default.adapter_residual_before_ln,
            )?,
            init_weights: or(&mut config, "init_weights", default.init_weights)?,
            init_weights_seed: config.take("init_weights_seed")?,
            is_parallel: or(&mut config, "is_parallel", default.is_parallel)?,
            scaling: scaling(&mut config, default.scaling)?,
            leave_out: or(&mut config, "leave_out", default.leave_out)?,
            dropout: or(&mut config, "dropout", default.dropout)?,
            phm_layer,
            phm_dim: or(&mut config, "phm_dim", default.phm_dim)?,
            phm_rank: or(&mut config, "phm_rank", default.phm_rank)?,
            phm_bias: or(&mut config, "phm_bias", default.phm_bias)?,
            shared_phm_rule: or(&mut config, "shared_phm_rule", default.shared_phm_rule)?,
            phm_c_init: or(&mut config, "phm_c_init", RuleInit::Normal)?,
            phm_init_range: or(&mut config, "phm_init_range", default.phm_init_range)?,
            hypercomplex_nonlinearity: or(&mut config, "hypercomplex_nonlinearity", default.hypercomplex_nonlinearity)?,
        };
        let mut warnings = file.finish();
        warnings.extend(config.finish());
        Ok((read, warnings))
    }

    pub(crate) fn to_json(&self) -> Value {
        let ModelFacts { model_name, model_class, model_type, hidden_size } = &self.model;
        json!({
            "config": self.keys(),
            "hidden_size": hidden_size,
            "model_class": model_class,
            "model_name": model_name,
            "model_type": model_type,
            "name": self.name,
            "version": VERSION,
        })
    }

    fn keys(&self) -> Value {
        json!({
            "adapter_residual_before_ln": self.adapter_residual_before_ln,
            "cross_adapter": self.cross_adapter,
            "dropout": self.dropout,
            "factorized_phm_W": true,
            "factorized_phm_rule": false,
            "hypercomplex_nonlinearity": self.hypercomplex_nonlinearity,
            "init_weights": self.init_weights,
            "init_weights_seed": self.init_weights_seed,
            "inv_adapter": null,
            "inv_adapter_reduction_factor": null,
            "is_parallel": self.is_parallel,
            "learn_phm": true,
            "leave_out": self.leave_out,
            "ln_after": self.ln_after,
            "ln_before": false,
            "mh_adapter": self.mh_adapter,
            "non_linearity": self.non_linearity,
            "original_ln_after": self.original_ln_after,
            "original_ln_before": self.original_ln_before,
            "output_adapter": self.output_adapter,
            "phm_bias": self.phm_bias,
            "phm_c_init": self.phm_c_init,
            "phm_dim": self.phm_dim,
            "phm_init_range": self.phm_init_range,
            "phm_layer": self.phm_layer,
            "phm_rank": self.phm_rank,
            "reduction_factor": self.reduction_factor.to_json(),
            "residual_before_ln": self.residual_before_ln,
            // AdapterHub takes it for the name of a kind unless it is a float.
            "scaling": self.scaling,
            "shared_W_phm": false,
            "shared_phm_rule": self.shared_phm_rule,
            "stochastic_depth": 0.0,
            "use_gating": false,
        })
    }
}

impl ReductionFactor {
    /// Whole numbers as such, as people write them.
    fn to_json(&self) -> Value {
        let number = |factor: f64| {
            let whole = factor as i64;
            if whole as f64 == factor { json!(whole) } else { json!(factor) }
        };
        match self {
            Self::Same(factor) => number(*factor),
            Self::ByLayer(factors) => factors.iter().map(|(layer, factor)| (layer.clone(), number(*factor))).collect(),
        }
    }
}

fn or<T: DeserializeOwned>(fields: &mut Fields, key: &str, default: T) -> Result<T, PeftError> {
    Ok(fields.take(key)?.unwrap_or(default))
}

fn required<T: DeserializeOwned + Serialize>(fields: &mut Fields, key: &str) -> Result<T, PeftError> {
    fields.take(key)?.ok_or_else(|| fields.wrong(key, "is missing"))
}

fn scaling(fields: &mut Fields, default: f64) -> Result<f64, PeftError> {
    match fields.take("scaling")? {
        None => Ok(default),
        Some(Value::Number(number)) => Ok(number.as_f64().unwrap_or(f64::NAN)),
        Some(other) => {
            Err(fields.wrong("scaling", format!("expected a number, got {other}; a learned scaling is not supported")))
        }
    }
}
