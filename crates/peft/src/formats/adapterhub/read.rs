//! AdapterHub's LoRA and (IA)^3 as PEFT would have saved them.

use std::collections::BTreeMap;

use checkpoint::{ADAPTER_CONFIG, AdapterDirectory, MappedTensor, Quoted};
use serde_json::{Value, json};

use super::super::{Blueprint, foreign};
use super::config::{ARCHITECTURE, Config, Mode};
use super::facts;
use super::fused;
use super::sites::{self, Part, Site, part};
use crate::bottleneck::ModelFacts;
use crate::config::{Common, TaskType};
use crate::ia3::Ia3Config;
use crate::updates::{self, LoraUpdate, LoraUpdates, PeftFiles, UpdateKind, WholeTensor};
use crate::{AdapterConfig, ModuleNames, PeftError, Problems, names};

/// Where Python has the only model of images that AdapterHub and this program have.
const LIBRARY: &str = "transformers.models.vit.modeling_vit";

/// What `directory` holds: bottleneck adapters as they are, LoRA and (IA)^3 as PEFT would have saved them.
///
/// # Errors
/// [`PeftError::OtherModel`] if it says that it is for another model than `base`; [`PeftError::Foreign`] for tensors that
/// do not go together; [`PeftError::ConfigKey`], [`PeftError::Unsupported`], [`PeftError::Checkpoint`].
pub fn read(directory: AdapterDirectory, base: Option<Blueprint<'_>>) -> Result<AdapterDirectory, PeftError> {
    let path = directory.dir().join(ADAPTER_CONFIG);
    let file: Value = checkpoint::parse_json(&path, &directory.config)?;
    if let Some(base) = base {
        facts::check(&path, &file, base)?;
    }
    if file["config"].get("architecture").and_then(Value::as_str) != Some(ARCHITECTURE) {
        return Ok(directory);
    }
    let config = Config::read(&path, &directory.config)?;
    let model_type = file.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let matrices = matrices(&directory, &config)?;
    if let Some(base) = base {
        check_modules(&directory, &config, &matrices, base)?;
    }
    let common = common(&directory, &config);
    let head = head(&directory, &common)?;
    let files = match config.mode {
        Mode::Add => {
            let updates =
                matrices.into_iter().map(|(module, pair)| update(&directory, &config, model_type, module, pair));
            let updates = updates.collect::<Result<Vec<_>, _>>()?;
            let fan_in_fan_out = model_type == "gpt2";
            LoraUpdates { common, dropout: config.dropout, fan_in_fan_out, updates, head }.to_peft()
        }
        Mode::Scale => scales(&directory, &config, model_type, matrices, common, head)?,
    };
    files.into_directory(directory.dir(), directory.weights.path())
}

/// `lora_A` and `lora_B` of every module.
type Matrices = BTreeMap<String, [Option<MappedTensor>; 2]>;

fn matrices(directory: &AdapterDirectory, config: &Config) -> Result<Matrices, PeftError> {
    let mut matrices = Matrices::new();
    for tensor in directory.weights.tensors() {
        let key = tensor.name().to_owned();
        let found =
            ["lora_A", "lora_B"].into_iter().position(|end| key.ends_with(&format!(".loras.{}.{end}", config.name)));
        let module = key.rsplit_once(&format!(".loras.{}.", config.name)).map(|(module, _)| module.to_owned());
        let (Some(index), Some(module)) = (found, module) else {
            let reason = format!("tensor {} is no matrix of the adapter {}", Quoted(&key), Quoted(&config.name));
            return Err(foreign(directory.weights.path(), reason));
        };
        matrices.entry(module).or_default()[index] = Some(tensor);
    }
    Ok(matrices)
}

/// Compares the modules that have matrices with those that the configuration means in `base`.
fn check_modules(
    directory: &AdapterDirectory,
    config: &Config,
    matrices: &Matrices,
    base: Blueprint<'_>,
) -> Result<(), PeftError> {
    if !sites::is_known(base.dimensions.model_type) {
        return Ok(());
    }
    let is_meant = |site: &Site<'_>| config.means(site.part) && !config.leave_out.contains(&site.layer);
    let meant: BTreeMap<&str, &str> =
        sites::all(base).filter(is_meant).map(|site| (site.module.path.as_str(), site.name())).collect();
    let found: BTreeMap<String, &String> =
        matrices.keys().map(|module| (model::current_name(module), module)).collect();
    let key = |module: &str| format!("{module}.loras.{}", config.name);
    let missing = meant.iter().filter(|(path, _)| !found.contains_key(**path)).map(|(_, name)| key(name)).collect();
    let unexpected =
        found.iter().filter(|(path, _)| !meant.contains_key(path.as_str())).map(|(_, name)| key(name)).collect();
    let problems = Problems { missing, unexpected, ..Problems::default() };
    match problems.is_empty() {
        true => Ok(()),
        false => Err(PeftError::Keys { path: directory.weights.path().to_owned(), problems }),
    }
}

/// What PEFT's file says of the base and of the task. Without the head that it was trained with an adapter of a classifier
/// has no task: the head of the base is used.
fn common(directory: &AdapterDirectory, config: &Config) -> Common {
    let facts = ModelFacts { model_class: config.model_class.clone(), ..ModelFacts::default() };
    let task_type = facts.task_type().filter(|task| !is_classification(*task) || directory.head.is_some());
    let name = Some(config.model_name.clone()).filter(|name| !name.is_empty());
    // PEFT has no task for images, and names the class.
    let is_image = directory.head.is_some() && updates::is_of_images(&config.model_class);
    let auto_mapping = is_image.then(|| json!({ "base_model_class": config.model_class, "parent_library": LIBRARY }));
    Common { base_model_name_or_path: name, task_type, auto_mapping, ..Common::default() }
}

fn is_classification(task: TaskType) -> bool {
    matches!(task, TaskType::SeqCls | TaskType::TokenCls)
}

/// The head of a classifier. That of a language model is the base's own.
fn head(directory: &AdapterDirectory, common: &Common) -> Result<Vec<WholeTensor>, PeftError> {
    let Some(file) = directory.head.as_ref().filter(|_| updates::has_head(common)) else { return Ok(Vec::new()) };
    let whole = |tensor: MappedTensor| {
        Ok(WholeTensor { name: tensor.name().to_owned(), shape: tensor.shape().to_vec(), values: tensor.to_f32()? })
    };
    file.tensors().map(whole).collect()
}

fn update(
    directory: &AdapterDirectory,
    config: &Config,
    model_type: &str,
    module: String,
    pair: [Option<MappedTensor>; 2],
) -> Result<LoraUpdate, PeftError> {
    let wrong = |reason: String| Err(foreign(directory.weights.path(), format!("{} {reason}", Quoted(&module))));
    let [Some(a), Some(b)] = pair else { return wrong("has only one of its two matrices".to_owned()) };
    let adapted = fused::adapted(&config.attn_matrices);
    let is_fused = part(&module, model_type) == Some(Part::Fused);
    let n = if is_fused { adapted.iter().filter(|adapted| **adapted).count() } else { 1 };
    match (a.shape(), b.shape()) {
        (&[rows, _], &[out, columns])
            if n > 0 && rows == n * config.r && columns == config.r && out.is_multiple_of(n) => {}
        (a, b) => return wrong(format!("is of {a:?} and {b:?}, expected rank {}", config.r)),
    }
    let (a, mut b) = (a.to_f32()?, b.to_f32()?);
    if is_fused {
        b = fused::spread(&b, config.r, adapted);
    }
    let scaling = config.alpha / config.r as f64;
    Ok(LoraUpdate { module, kind: UpdateKind::Linear, rank: n * config.r, a, b, scaling, magnitude: None })
}

fn scales(
    directory: &AdapterDirectory,
    config: &Config,
    model_type: &str,
    matrices: Matrices,
    common: Common,
    head: Vec<WholeTensor>,
) -> Result<PeftFiles, PeftError> {
    let mut tensors = Vec::new();
    let mut modules = Vec::new();
    for (module, [_, scales]) in matrices {
        let found = scales.as_ref().filter(|scales| scales.shape().get(1..) == Some(&[1][..]));
        let Some(scales) = found else {
            let reason = format!("{} has no `lora_B` of one column", Quoted(&module));
            return Err(foreign(directory.weights.path(), reason));
        };
        let mut values = scales.to_f32()?;
        if part(&module, model_type) == Some(Part::Fused) {
            let adapted = fused::adapted(&config.attn_matrices);
            values = fused::spread_scales(&values, adapted).ok_or_else(|| {
                let (module, names) = (Quoted(&module), &config.attn_matrices);
                let reason = format!("{module} has {} factors, expected as many for each of {names:?}", values.len());
                foreign(directory.weights.path(), reason)
            })?;
        }
        tensors.push((names::key(&module, "ia3_l"), vec![values.len(), 1], values));
        modules.push(module);
    }
    let modules_to_save = updates::modules_to_save(&common, &head);
    tensors.extend(
        head.into_iter().map(|tensor| (format!("{}{}", names::PREFIX, tensor.name), tensor.shape, tensor.values)),
    );
    let own = Ia3Config {
        common,
        modules_to_save,
        target_modules: Some(ModuleNames::List(modules)),
        feedforward_modules: Some(ModuleNames::List(Vec::new())),
        ..Ia3Config::default()
    };
    Ok(PeftFiles { config: AdapterConfig::Ia3(own).to_text(model_type == "gpt2"), tensors })
}
