//! What a config trains in a model: how much, and which modules have to keep their input for it.

use model::{ModuleId, Modules, ParameterId};
use peft::{AdapterConfig, names};

use crate::Error;
use crate::config::{Config, Optim};
use crate::run::base_model::BaseModel;
use crate::run::method;
use crate::run::optimizer::moment_bytes;

/// What is trained, without its values.
#[derive(Clone, Debug)]
pub struct Trained {
    /// Trainable values.
    pub parameters: usize,
    /// Bytes of both moments of AdamW.
    pub moments: u64,
    /// By the number of the module: the rank of its update, 0 without one.
    pub ranks: Vec<usize>,
    /// By the number of the module: how many channels of its input or output have a learned factor.
    pub scaled: Vec<usize>,
    /// By the number of the module: whether single rows of it are trained.
    pub rows: Vec<bool>,
    /// By the number of the parameter: whether the base's own is trained.
    pub base: Vec<bool>,
    /// By the number of the layer: elements per token that bottleneck adapters keep, their inputs and what is projected down.
    pub bottlenecks: Vec<usize>,
    /// Rows that a prompt adds to each sequence.
    pub prompt_len: usize,
}

impl Trained {
    /// By the method of `config` on `base`.
    ///
    /// # Errors
    /// A configuration that does not fit the model.
    pub fn of(config: &Config, base: &BaseModel) -> Result<Self, Error> {
        let (modules, optim) = (base.task.base().modules(), config.training.optim);
        let Some(adapter) = method::adapter_config(config, base.task.base())? else {
            let mut trained = Self::nothing(modules);
            for parameter in modules.parameters().filter(|parameter| parameter.tied_to.is_none()) {
                trained.count(&parameter.name, parameter.shape.iter().product(), optim, modules);
            }
            trained.base = vec![true; trained.base.len()];
            return Ok(trained);
        };
        let mut trained = Self::nothing(modules);
        if let AdapterConfig::PromptLearning(prompt) = &adapter {
            trained.prompt_len = prompt.prompt_len();
        }
        for (name, shape) in peft::trainable(&adapter, base.task.base().dimensions(), modules)? {
            trained.count(&name, shape.count(), optim, modules);
            trained.add(&name, shape.sizes(), modules);
        }
        Ok(trained)
    }

    fn nothing(modules: &Modules) -> Self {
        let layers = modules.residuals().map(|residual| residual.layer + 1).max().unwrap_or(0);
        let (modules, parameters) = (modules.iter().len(), modules.parameters().len());
        Self {
            parameters: 0,
            moments: 0,
            ranks: vec![0; modules],
            scaled: vec![0; modules],
            rows: vec![false; modules],
            base: vec![false; parameters],
            bottlenecks: vec![0; layers],
            prompt_len: 0,
        }
    }

    /// Paths of the adapted modules, in model order.
    pub fn adapted<'a>(&'a self, modules: &'a Modules) -> impl Iterator<Item = &'a str> {
        modules.iter().filter(|module| self.adapts(module.id)).map(|module| module.path.as_str())
    }

    /// Whether the method does something of its own in a module.
    pub fn adapts(&self, id: ModuleId) -> bool {
        self.ranks[id.index()] > 0 || self.scaled[id.index()] > 0 || self.rows[id.index()]
    }

    /// The ranks of all updates in block `layer`.
    pub(super) fn ranks_of(&self, modules: &Modules, layer: usize) -> u64 {
        let in_block = modules.iter().filter(|module| module.layer == Some(layer));
        in_block.map(|module| self.ranks[module.id.index()] as u64).sum()
    }

    /// Whether the base's own parameter is trained.
    pub fn is_trained(&self, id: ParameterId) -> bool {
        self.base[id.index()]
    }

    /// Counts a trainable tensor of `len` values.
    fn count(&mut self, name: &str, len: usize, optim: Optim, modules: &Modules) {
        self.parameters += len;
        self.moments += moment_bytes(name, len, optim, modules);
    }

    /// Takes a trainable parameter by its name in the adapter's file into account.
    fn add(&mut self, name: &str, shape: &[usize], modules: &Modules) {
        if let Some((path, parameter)) = name.split_once(".adapter_down.") {
            let path = model::current_name(path);
            let at = modules.residuals().find(|residual| path.starts_with(&format!("{}.", residual.path)));
            let elements = match (parameter, shape) {
                ("0.weight", [size, hidden]) => size + hidden,
                // One factor has the input's size and the other that of the bottleneck.
                ("0.W_left", [n, columns, _]) => n * columns,
                ("0.W_right", [n, _, columns]) => n * columns,
                _ => 0,
            };
            at.iter().for_each(|residual| self.bottlenecks[residual.layer] += elements);
            return;
        }
        // Beside a prompt PEFT leaves one `model.` of its prefix out.
        let found = [names::PREFIX, "base_model.", ""].into_iter().find_map(|prefix| {
            let name = name.strip_prefix(prefix)?;
            modules
                .iter()
                .find_map(|module| Some((module, name.strip_prefix(module.path.as_str())?.strip_prefix('.')?)))
        });
        let Some((module, rest)) = found else { return };
        if ["ia3_l", "lora_magnitude_vector"].contains(&rest) {
            self.scaled[module.id.index()] = shape.iter().product();
        } else if rest == "vera_lambda_d" {
            // The inputs of both factors are kept, as activations are.
            self.scaled[module.id.index()] += 2 * shape.iter().product::<usize>();
        } else if rest == "vera_lambda_b" {
            self.scaled[module.id.index()] += shape.iter().product::<usize>();
        } else if rest.ends_with("trainable_tokens_delta") {
            // A head that shares the embedding has the same rows.
            let shares = |id: ParameterId| id == module.weight || modules.parameter(id).tied_to == Some(module.weight);
            modules.iter().filter(|other| shares(other.weight)).for_each(|other| self.rows[other.id.index()] = true);
        } else if rest == "lora_E" {
            // B is scaled by it, once for all tokens.
        } else if rest.starts_with("lora_") {
            // A is [r, in] and B [out, r]; an embedding's A is kept transposed.
            let rank = shape.iter().copied().min().unwrap_or(0);
            let known = &mut self.ranks[module.id.index()];
            *known = if *known == 0 { rank } else { (*known).min(rank) };
        } else if rest.ends_with("bias") {
            module.bias.iter().for_each(|id| self.base[id.index()] = true);
        } else {
            self.base[module.weight.index()] = true;
        }
    }
}
