//! Weights out of the files: found by name, checked against the configuration, used where they lie.

mod finite;
mod storage;
mod stored_names;
mod ties;

use checkpoint::{Checkpoint, MappedTensor};
use device::DType;
use tensor::Tensor;

use crate::config::Names;
use crate::error::TensorNames;
use crate::module::{Module, ModuleKind, Modules, Parameter};
use crate::{Dimensions, ModelError, ParameterId, Result};

pub(crate) use finite::check_finite;
pub use stored_names::StoredNames;

/// What a configuration says about the tensors of a model's files.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    /// Paths of modules that have a part of their own in finding tensors.
    pub(crate) names: &'a Names,
}

/// The tensors of `modules`' parameters, by id. Unties those in `modules` that the files hold values of their own for.
///
/// # Errors
/// [`ModelError::MissingTensors`], [`ModelError::MissingHead`], [`ModelError::ExtraTensors`],
/// [`ModelError::TensorShape`], [`ModelError::TensorDtype`].
pub(crate) fn load(
    dimensions: &Dimensions,
    expected: &Expected<'_>,
    modules: &mut Modules,
    names: &StoredNames,
    checkpoint: &Checkpoint,
    dtype: DType,
) -> Result<Vec<Tensor>> {
    let sources = ties::sources(modules, checkpoint, names)?;
    let found = find(modules, checkpoint, names, &sources)?;
    refuse_extra(modules, checkpoint, names)?;
    let mut tensors: Vec<Tensor> = Vec::with_capacity(found.len());
    for (parameter, mapped) in modules.parameters().zip(&found) {
        check_shape(dimensions, expected, modules, parameter, mapped, checkpoint)?;
        // Parameters of one tensor share what it is loaded as, a rounded copy too.
        let shared = parameter.tied_to.filter(|id| found[id.index()].name() == mapped.name());
        tensors.push(match shared {
            Some(id) => tensors[id.index()].clone(),
            None => storage::frozen(checkpoint.dir(), mapped, dtype)?,
        });
    }
    Ok(tensors)
}

/// The file's tensor of every parameter.
fn find(
    modules: &Modules,
    checkpoint: &Checkpoint,
    names: &StoredNames,
    sources: &[ParameterId],
) -> Result<Vec<MappedTensor>> {
    let mut missing = Vec::new();
    let mut found = Vec::with_capacity(modules.parameters().len());
    for parameter in modules.parameters() {
        let source = modules.parameter(sources[parameter.id.index()]);
        match checkpoint.get(&names.of(&source.name)) {
            Some(mapped) => found.push(mapped),
            None => missing.push(parameter.name.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(ModelError::MissingTensors { dir: checkpoint.dir().to_owned(), names: TensorNames(missing) })
}

fn refuse_extra(modules: &Modules, checkpoint: &Checkpoint, names: &StoredNames) -> Result<()> {
    let known: std::collections::HashSet<String> = modules.parameters().map(|p| names.of(&p.name)).collect();
    let extra: Vec<String> =
        checkpoint.names().filter(|name| !known.contains(*name) && !is_unused(name)).map(str::to_owned).collect();
    if extra.is_empty() {
        return Ok(());
    }
    Err(ModelError::ExtraTensors { dir: checkpoint.dir().to_owned(), names: TensorNames(extra) })
}

/// What older files store beside the weights: causal masks and rotation frequencies, which are constants, and a bias that
/// the first files of T5 have where nothing adds it.
fn is_unused(name: &str) -> bool {
    const UNUSED: [&str; 6] = [
        ".attn.bias",
        ".attn.masked_bias",
        ".attention.bias",
        ".attention.masked_bias",
        ".rotary_emb.inv_freq",
        ".EncDecAttention.relative_attention_bias.weight",
    ];
    UNUSED.iter().any(|unused| name.ends_with(unused))
}

fn check_shape(
    dimensions: &Dimensions,
    expected: &Expected<'_>,
    modules: &Modules,
    parameter: &Parameter,
    mapped: &MappedTensor,
    checkpoint: &Checkpoint,
) -> Result<()> {
    if mapped.shape() == parameter.shape {
        return Ok(());
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
fn sizes(dimensions: &Dimensions, expected: &Expected<'_>, module: &Module) -> String {
    let hidden = dimensions.hidden_size;
    match module.kind {
        _ if module.is_head => format!("`vocab_size` {}, `hidden_size` {hidden}", dimensions.vocab_size),
        ModuleKind::Embedding { num_embeddings, .. } if module.path == expected.names.embedding => {
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
        ModuleKind::Linear { .. } | ModuleKind::Norm { .. } => {
            let heads = dimensions.heads;
            format!(
                "`hidden_size` {hidden}, `num_attention_heads` {}, `num_key_value_heads` {}, `head_dim` {}",
                heads.num_attention_heads, heads.num_key_value_heads, heads.head_dim
            )
        }
    }
}
