//! LoRA and (IA)^3 as AdapterHub saves them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use checkpoint::{
    ADAPTER_CONFIG, ADAPTERHUB_HEAD, ADAPTERHUB_WEIGHTS, AdapterDirectory, CheckpointError, Dtype, StagedDirectory,
    TensorSpec,
};

use super::super::Blueprint;
use super::config::{Config, Mode, Parts, text};
use super::sites::{self, Part, Site};
use super::{facts, fused};
use crate::config::TaskType;
use crate::ia3::Ia3Config;
use crate::updates::{LoraUpdate, LoraUpdates, WholeTensor};
use crate::{PeftError, finite, modules_to_save, names};

/// Writes the LoRA adapter `adapter` of `base` under `name`. AdapterHub adapts the same modules in every block that it does
/// not leave out: what is missing gets matrices without effect.
///
/// # Errors
/// [`PeftError::NotConvertible`] for families and modules that AdapterHub does not adapt, and DoRA; [`PeftError::Checkpoint`].
pub fn write(
    adapter: LoraUpdates,
    base: Blueprint<'_>,
    name: &str,
    staged: &mut StagedDirectory<'_>,
) -> Result<(), PeftError> {
    if let Some(update) = adapter.updates.iter().find(|update| update.magnitude.is_some()) {
        return Err(refused(&update.module, "AdapterHub has no DoRA; merge the adapter into its base instead"));
    }
    let (rank, scaling) = (adapter.largest_rank().max(1), adapter.usual().map_or(1.0, |(_, scaling)| scaling));
    let scaling = if scaling == 0.0 { 1.0 } else { scaling };
    let mut updates: BTreeMap<String, LoraUpdate> =
        adapter.updates.into_iter().map(|update| (update.module.clone(), update)).collect();
    let plan = Plan::new(base, |module| updates.contains_key(module), updates.keys())?;
    let mut tensors = Tensors::new(name);
    for site in plan.sites() {
        let own = updates.remove(&site.module.path);
        let update = own.map(|update| update.with_rank(rank).with_scaling(scaling)).transpose()?;
        let (a, b) = match update {
            Some(update) => (update.a, update.b),
            None => (vec![0.0; rank * site.inputs], vec![0.0; site.outputs * rank]),
        };
        let (n, (a, b)) = match site.part {
            Part::Fused => (fused::PARTS, fused::split(&a, &b)),
            _ => (1, (a, b)),
        };
        tensors.add(&site, "lora_A", vec![n * rank, site.inputs], a);
        tensors.add(&site, "lora_B", vec![site.outputs, rank], b);
    }
    let config = Config {
        name: name.to_owned(),
        model_name: adapter.common.base_model_name_or_path.unwrap_or_default(),
        model_class: String::new(),
        mode: Mode::Add,
        r: rank,
        alpha: scaling * rank as f64,
        dropout: adapter.dropout,
        attn_matrices: plan.attn_matrices(),
        parts: plan.parts(),
        leave_out: plan.leave_out(),
    };
    plan.stage(config, adapter.common.task_type, tensors, &adapter.head, staged)
}

/// Writes the (IA)^3 adapter in `directory`, PEFT's files with `config`, of `base` under `name`.
///
/// # Errors
/// As [`write()`]; [`PeftError::NotConvertible`] also for a module whose inputs are scaled.
pub fn write_ia3(
    directory: &AdapterDirectory,
    config: &Ia3Config,
    base: Blueprint<'_>,
    name: &str,
    staged: &mut StagedDirectory<'_>,
) -> Result<(), PeftError> {
    let (mut scales, mut head) = (BTreeMap::new(), Vec::new());
    for tensor in directory.weights.tensors() {
        let key = names::without_adapter_name(tensor.name());
        let parameter = key.strip_prefix(names::PREFIX).unwrap_or(&key);
        let values = finite::read(&tensor)?;
        match parameter.strip_suffix(".ia3_l") {
            Some(module) if tensor.shape().get(1..) == Some(&[1][..]) => {
                scales.insert(model::current_name(module), values);
            }
            Some(module) => {
                let reason = "its inputs are scaled (`feedforward_modules`), and AdapterHub scales outputs; merge the adapter \
                              into its base instead";
                return Err(refused(module, reason));
            }
            None if modules_to_save::is_head(parameter) => {
                head.push(WholeTensor { name: parameter.to_owned(), shape: tensor.shape().to_vec(), values });
            }
            None => return Err(refused(parameter, "AdapterHub saves heads of classifiers and nothing else whole")),
        }
    }
    let plan = Plan::new(base, |module| scales.contains_key(module), scales.keys())?;
    let mut tensors = Tensors::new(name);
    for site in plan.sites() {
        let values = scales.get(&site.module.path).cloned().unwrap_or_else(|| vec![1.0; site.outputs]);
        tensors.add(&site, "lora_B", vec![site.outputs, 1], values);
    }
    let own = Config {
        name: name.to_owned(),
        model_name: config.common.base_model_name_or_path.clone().unwrap_or_default(),
        model_class: String::new(),
        mode: Mode::Scale,
        r: 1,
        alpha: 1.0,
        dropout: 0.0,
        attn_matrices: plan.attn_matrices(),
        parts: plan.parts(),
        leave_out: plan.leave_out(),
    };
    plan.stage(own, config.common.task_type, tensors, &head, staged)
}

/// Which parts of which blocks are adapted.
struct Plan<'a> {
    base: Blueprint<'a>,
    parts: Vec<Part>,
    layers: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new<'m>(
        base: Blueprint<'a>,
        is_adapted: impl Fn(&str) -> bool,
        mut modules: impl Iterator<Item = &'m String>,
    ) -> Result<Self, PeftError> {
        let model_type = base.dimensions.model_type;
        if !sites::is_known(model_type) {
            return Err(refused(
                &format!("an adapter of a {model_type} model"),
                "AdapterHub does not have this family",
            ));
        }
        let is_site = |module: &str| sites::all(base).any(|site| site.module.path == module);
        if let Some(module) = modules.find(|module| !is_site(module)) {
            let reason = "AdapterHub adapts queries, keys, values and the MLP of a base with this module; merge the adapter \
                          into its base instead";
            return Err(refused(module, reason));
        }
        let (mut parts, mut layers) = (Vec::new(), Vec::new());
        for site in sites::all(base).filter(|site| is_adapted(&site.module.path)) {
            parts.push(site.part);
            layers.push(site.layer);
        }
        layers.dedup();
        Ok(Self { base, parts, layers })
    }

    /// The modules that have an adapter in AdapterHub.
    fn sites(&self) -> impl Iterator<Item = Site<'a>> {
        sites::all(self.base).filter(|site| self.parts.contains(&site.part) && self.layers.contains(&site.layer))
    }

    fn attn_matrices(&self) -> Vec<String> {
        if self.parts.contains(&Part::Fused) {
            return ["q", "k", "v"].map(str::to_owned).to_vec();
        }
        let named = [Part::Query, Part::Key, Part::Value].into_iter().filter(|part| self.parts.contains(part));
        named.filter_map(Part::attn_matrix).map(str::to_owned).collect()
    }

    fn parts(&self) -> Parts {
        Parts {
            attention: !self.attn_matrices().is_empty(),
            intermediate: self.parts.contains(&Part::Intermediate),
            output: self.parts.contains(&Part::Output),
        }
    }

    fn leave_out(&self) -> Vec<usize> {
        let last = sites::all(self.base).map(|site| site.layer).max().unwrap_or(0);
        (0..=last).filter(|layer| !self.layers.contains(layer)).collect()
    }

    fn stage(
        &self,
        config: Config,
        task: Option<TaskType>,
        tensors: Tensors,
        head: &[WholeTensor],
        staged: &mut StagedDirectory<'_>,
    ) -> Result<(), PeftError> {
        let class_end = match task {
            Some(TaskType::SeqCls) => Some("ForSequenceClassification"),
            Some(TaskType::TokenCls) => Some("ForTokenClassification"),
            _ => None,
        };
        let facts = facts::of(self.base, config.model_name.clone(), class_end);
        tensors.stage(ADAPTERHUB_WEIGHTS, staged)?;
        if !head.is_empty() {
            let whole = head.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone(), tensor.values.clone()));
            Tensors { name: String::new(), tensors: whole.collect() }.stage(ADAPTERHUB_HEAD, staged)?;
        }
        staged.write(ADAPTER_CONFIG, text(&config, &facts).as_bytes())?;
        Ok(())
    }
}

/// Tensors of the adapter `name`.
struct Tensors {
    name: String,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl Tensors {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), tensors: Vec::new() }
    }

    fn add(&mut self, site: &Site<'_>, end: &str, shape: Vec<usize>, values: Vec<f32>) {
        self.tensors.push((format!("{}.loras.{}.{end}", site.name(), self.name), shape, values));
    }

    fn stage(&self, file: &str, staged: &mut StagedDirectory<'_>) -> Result<(), PeftError> {
        let spec = |(name, shape, _): &(String, Vec<usize>, Vec<f32>)| TensorSpec {
            name: name.clone(),
            dtype: Dtype::F32,
            shape: shape.clone(),
        };
        let specs: Vec<TensorSpec> = self.tensors.iter().map(spec).collect();
        Ok(staged.write_safetensors(file, &specs, &[], |spec| {
            let found = self.tensors.iter().find(|(name, ..)| *name == spec.name);
            let values = found.map_or(&[][..], |(_, _, values)| values);
            Ok::<_, CheckpointError>(Cow::Borrowed(bytemuck::cast_slice(values)))
        })?)
    }
}

fn refused(what: &str, reason: &str) -> PeftError {
    PeftError::NotConvertible { what: what.to_owned(), format: "AdapterHub", reason: reason.to_owned() }
}
