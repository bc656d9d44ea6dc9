//! AdapterHub's configuration of LoRA and (IA)^3.

use std::path::Path;

use serde_json::{Value, json};

use super::fused;
use super::sites::Part;
use crate::PeftError;
use crate::bottleneck::ModelFacts;
use crate::fields::Fields;
use crate::lora::MAX_RANK;
use crate::python_json;

/// The release of `adapters` whose format is written.
const VERSION: &str = "adapters.1.2.0";
/// `architecture` of both methods.
pub(super) const ARCHITECTURE: &str = "lora";
/// Keys that change what an adapter computes in ways that PEFT's methods do not have.
const UNSUPPORTED: [&str; 3] = ["use_gating", "vera_b", "vera_d"];

/// What adapters do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// LoRA.
    Add,
    /// (IA)^3.
    Scale,
}

/// What of a configuration counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) model_name: String,
    pub(super) model_class: String,
    pub(super) mode: Mode,
    pub(super) r: usize,
    pub(super) alpha: f64,
    pub(super) dropout: f64,
    /// Of "q", "k", "v".
    pub(super) attn_matrices: Vec<String>,
    pub(super) parts: Parts,
    /// Blocks without adapters.
    pub(super) leave_out: Vec<usize>,
}

impl Config {
    /// Reads the text of the file `path`.
    pub(super) fn read(path: &Path, text: &str) -> Result<Self, PeftError> {
        let mut file = Fields::parse(path, text)?;
        let Some(mut fields) = file.object("config") else { return Err(file.wrong("config", "is missing")) };
        for key in UNSUPPORTED {
            fields.refuse(key)?;
        }
        let mode = match fields.take::<String>("composition_mode")?.as_deref() {
            None | Some("add") => Mode::Add,
            Some("scale") => Mode::Scale,
            Some(other) => {
                let reason = format!("is {}, expected \"add\" or \"scale\"", checkpoint::Quoted(other));
                return Err(fields.wrong("composition_mode", reason));
            }
        };
        let (r, alpha): (usize, f64) = (fields.take("r")?.unwrap_or(8), fields.take("alpha")?.unwrap_or(8.0));
        if !(1..=MAX_RANK).contains(&r) || (mode == Mode::Scale && r != 1) {
            let reason = format!("must be at least 1 and at most {MAX_RANK}, and 1 where outputs are scaled, got {r}");
            return Err(fields.wrong("r", reason));
        }
        if !(alpha as f32).is_finite() || (mode == Mode::Scale && alpha != 1.0) {
            // AdapterHub applies it twice in fused projections and once in others.
            let reason = format!("must be a number, and 1 where outputs are scaled, got {alpha}");
            return Err(fields.wrong("alpha", reason));
        }
        let dropout = fields.take("dropout")?.unwrap_or(0.0);
        let attn_matrices = fields.take("attn_matrices")?.unwrap_or_else(|| vec!["q".to_owned(), "v".to_owned()]);
        let mut is_adapted = |key, default| Ok::<_, PeftError>(fields.take(key)?.unwrap_or(default));
        let parts = Parts {
            attention: is_adapted("selfattn_lora", true)?,
            intermediate: is_adapted("intermediate_lora", false)?,
            output: is_adapted("output_lora", false)?,
        };
        let leave_out = fields.take("leave_out")?.unwrap_or_default();
        let text = |file: &mut Fields, key| Ok::<_, PeftError>(file.take::<String>(key)?.unwrap_or_default());
        let (name, model_name) = (text(&mut file, "name")?, text(&mut file, "model_name")?);
        let model_class = text(&mut file, "model_class")?;
        Ok(Self { name, model_name, model_class, mode, r, alpha, dropout, attn_matrices, parts, leave_out })
    }

    /// Whether these modules of blocks have adapters.
    pub(super) fn means(&self, part: Part) -> bool {
        match part {
            Part::Intermediate => self.parts.intermediate,
            Part::Output => self.parts.output,
            Part::Fused => self.parts.attention && fused::adapted(&self.attn_matrices).contains(&true),
            Part::Query | Part::Key | Part::Value => {
                self.parts.attention && self.attn_matrices.iter().any(|name| part.attn_matrix() == Some(name.as_str()))
            }
        }
    }
}

/// Which modules of a block are adapted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The selection of queries, keys and values.
    pub(super) attention: bool,
    pub(super) intermediate: bool,
    pub(super) output: bool,
}

/// The text of a file.
pub(super) fn text(config: &Config, facts: &ModelFacts) -> String {
    let whole = |value: f64| if value.fract() == 0.0 { json!(value as i64) } else { json!(value) };
    let (composition_mode, init_weights) = match config.mode {
        Mode::Add => ("add", "lora"),
        Mode::Scale => ("scale", "ia3"),
    };
    let value: Value = json!({
        "config": {
            "alpha": whole(config.alpha),
            "architecture": ARCHITECTURE,
            "attn_matrices": config.attn_matrices,
            "composition_mode": composition_mode,
            "dropout": config.dropout,
            "dtype": null,
            "init_weights": init_weights,
            "init_weights_seed": null,
            "intermediate_lora": config.parts.intermediate,
            "leave_out": config.leave_out,
            "output_lora": config.parts.output,
            "r": config.r,
            "selfattn_lora": config.parts.attention,
            "use_gating": false,
            "vera_b": null,
            "vera_d": null,
        },
        "hidden_size": facts.hidden_size,
        "model_class": facts.model_class,
        "model_name": facts.model_name,
        "model_type": facts.model_type,
        "name": config.name,
        "version": VERSION,
    });
    python_json::dumps(&value)
}
