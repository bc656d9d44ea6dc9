//! Weights out of the files: found by name, checked against the configuration, used where they lie.

mod bitsandbytes;
mod finite;
mod initial;
mod storage;
mod stored_names;
mod ties;

use checkpoint::{Checkpoint, MappedTensor};
use device::DType;

use crate::error::TensorNames;
use crate::module::{Module, ModuleKind, Modules, Parameter};
use crate::stored::Stored;
use crate::{Dimensions, ModelError, ParameterId, Result};

pub use bitsandbytes::weight_of as quantized_weight_of;
pub(crate) use finite::check_finite;
pub(crate) use initial::{Initial, NewModules};
pub use stored_names::StoredNames;
pub(crate) use stored_names::{Renames, Spelling, renamed};

/// What a configuration says about the tensors of a model's files.
#[derive(Clone)]
pub(crate) struct Expected {
    /// How the files may call them.
    pub(crate) spelling: Spelling,
    /// Path of the input embedding.
    pub(crate) embedding: &'static str,
    /// The modules that may be missing.
    pub(crate) new: NewModules,
    /// Starts of the names of tensors that may be there for nothing: heads of other tasks.
    pub(crate) other_heads: &'static [&'static str],
}

/// Parameters by id.
pub(crate) struct Loaded {
    pub(crate) tensors: Vec<Stored>,
    /// Those that the files do not have.
    pub(crate) newly_initialized: Vec<ParameterId>,
}

/// The tensors of `modules`' parameters, by id. Unties those in `modules` that the files hold values of their own for.
///
/// # Errors
/// [`ModelError::MissingTensors`], [`ModelError::MissingHead`], [`ModelError::ExtraTensors`],
/// [`ModelError::TensorShape`], [`ModelError::HeadShape`], [`ModelError::TensorDtype`].
pub(crate) fn load(
    dimensions: &Dimensions,
    expected: &Expected,
    modules: &mut Modules,
    names: &StoredNames,
    checkpoint: &Checkpoint,
    dtype: DType,
) -> Result<Loaded> {
    let sources = ties::sources(expected, modules, checkpoint, names)?;
    let found = find(expected, modules, checkpoint, names, &sources)?;
    refuse_extra(expected, modules, checkpoint, names)?;
    let mut tensors: Vec<Stored> = Vec::with_capacity(found.len());
    let mut newly_initialized = Vec::new();
    for (parameter, mapped) in modules.parameters().zip(&found) {
        let Some(mapped) = mapped else {
            tensors.push(Stored::Dense(expected.new.initial.value(parameter)?));
            newly_initialized.push(parameter.id);
            continue;
        };
        if let Some(matrix) = bitsandbytes::read(checkpoint, modules.get(parameter.module), mapped, dtype)? {
            tensors.push(Stored::Nf4(matrix));
            continue;
        }
        check_shape(dimensions, expected, modules, parameter, mapped, checkpoint)?;
        // Parameters of one tensor share what it is loaded as, a rounded copy too.
        let is_same = |id: &ParameterId| found[id.index()].as_ref().is_some_and(|other| other.name() == mapped.name());
        tensors.push(match parameter.tied_to.filter(is_same) {
            Some(id) => tensors[id.index()].clone(),
            None => Stored::Dense(storage::frozen(checkpoint.dir(), mapped, dtype)?),
        });
    }
    Ok(Loaded { tensors, newly_initialized })
}

/// The file's tensor of every parameter; none for those that may be missing and are.
fn find(
    expected: &Expected,
    modules: &Modules,
    checkpoint: &Checkpoint,
    names: &StoredNames,
    sources: &[ParameterId],
) -> Result<Vec<Option<MappedTensor>>> {
    let mut missing = Vec::new();
    let mut found = Vec::with_capacity(modules.parameters().len());
    for parameter in modules.parameters() {
        let source = modules.parameter(sources[parameter.id.index()]);
        let is_new = expected.new.modules.contains(&parameter.module);
        let mapped = checkpoint.get(&names.of(&source.name));
        match mapped.filter(|_| !(is_new && expected.new.are_replaced)) {
            Some(mapped) => found.push(Some(mapped)),
            None if is_new => found.push(None),
            None => missing.push(parameter.name.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(ModelError::MissingTensors { dir: checkpoint.dir().to_owned(), names: TensorNames(missing) })
}

fn refuse_extra(expected: &Expected, modules: &Modules, checkpoint: &Checkpoint, names: &StoredNames) -> Result<()> {
    let known: std::collections::HashSet<String> = modules.parameters().map(|p| names.of(&p.name)).collect();
    let of_other_head = |name: &str| expected.other_heads.iter().any(|head| name.starts_with(head));
    let of_quantized = |name: &str| bitsandbytes::weight_of(name).is_some_and(|weight| known.contains(weight));
    let is_known = |name: &str| known.contains(name) || of_quantized(name);
    let is_extra = |name: &&str| !is_known(name) && !is_unused(name) && !of_other_head(name);
    let extra: Vec<String> = checkpoint.names().filter(is_extra).map(str::to_owned).collect();
    if extra.is_empty() {
        return Ok(());
    }
    Err(ModelError::ExtraTensors { dir: checkpoint.dir().to_owned(), names: TensorNames(extra) })
}

/// What older files store beside the weights: causal masks, rotation frequencies and the numbers of positions, which are
/// constants, and a bias that the first files of T5 have where nothing adds it.
fn is_unused(name: &str) -> bool {
    const UNUSED: [&str; 7] = [
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
        ".rotary_emb.inv_freq",
        "embeddings.position_ids",
        ".EncDecAttention.relative_attention_bias.weight",
    ];
    UNUSED.iter().any(|unused| name.ends_with(unused))
}

fn check_shape(
    dimensions: &Dimensions,
    expected: &Expected,
    modules: &Modules,
    parameter: &Parameter,
    mapped: &MappedTensor,
    checkpoint: &Checkpoint,
) -> Result<()> {
    if mapped.shape() == parameter.shape {
        return Ok(());
    }
    // A new head has one output for each class; that of the files has those it was trained for.
    if expected.new.modules.contains(&parameter.module) && mapped.shape().get(1..) == parameter.shape.get(1..) {
        return Err(ModelError::HeadShape {
            dir: checkpoint.dir().to_owned(),
            name: mapped.name().to_owned(),
            num_labels: parameter.shape[0],
            expected: parameter.shape.clone(),
            got: mapped.shape().to_owned(),
        });
    }
    Err(ModelError::TensorShape {
        dir: checkpoint.dir().to_owned(),
        name: mapped.name().to_owned(),
        expected: parameter.shape.clone(),
        got: mapped.shape().to_owned(),
        reason: sizes(dimensions, expected, modules.get(parameter.module)),
    })
}

/// The sizes that a module's shape follows from, under the names of Llama's keys.
fn sizes(dimensions: &Dimensions, expected: &Expected, module: &Module) -> String {
    let hidden = dimensions.hidden_size;
    match module.kind {
        ModuleKind::Linear { out_features, .. } if expected.new.modules.contains(&module.id) => {
            format!("`hidden_size` {hidden}, {out_features} outputs")
        }
        _ if module.is_head => format!("`vocab_size` {}, `hidden_size` {hidden}", dimensions.vocab_size),
        ModuleKind::Embedding { num_embeddings, .. } if module.path.ends_with(expected.embedding) => {
            format!("`vocab_size` {num_embeddings}, `hidden_size` {hidden}")
        }
        ModuleKind::Embedding { num_embeddings, embedding_dim } if dimensions.learned_positions.is_none() => {
            format!("`relative_attention_num_buckets` {num_embeddings}, `num_attention_heads` {embedding_dim}")
        }
        ModuleKind::Embedding { num_embeddings, .. } => {
            format!("`max_position_embeddings` {num_embeddings}, `hidden_size` {hidden}")
        }
        ModuleKind::Linear { .. } if [".mlp.", ".DenseReluDense."].iter().any(|mlp| module.path.contains(mlp)) => {
            format!("`hidden_size` {hidden}, `intermediate_size` {}", dimensions.intermediate_size)
        }
        ModuleKind::Conv2d { .. } => format!("`hidden_size` {hidden}, `num_channels`, `patch_size`"),
        ModuleKind::Parameter => format!("`hidden_size` {hidden}, `image_size`, `patch_size`"),
        ModuleKind::Linear { .. } | ModuleKind::Norm { .. } => {
            let heads = dimensions.heads;
            format!(
                "`hidden_size` {hidden}, `num_attention_heads` {}, `num_key_value_heads` {}, `head_dim` {}",
                heads.num_attention_heads, heads.num_key_value_heads, heads.head_dim
            )
        }
    }
}
