//! The parameters that a plan asks for, declared and not yet made: all that can be said without the base's weights.

use model::{Module, ModuleKind, Modules, ParameterId};

use super::plan::{Plan, PlannedSite};
use super::{InitLoraWeights, LoraConfig};
use crate::declare::{Declarations, Start};
use crate::method::{SavedTensor, Source};
use crate::names;

/// Declared parameters, and what each is for.
pub(super) struct Skeleton {
    pub(super) declarations: Declarations,
    /// By the number of the module.
    pub(super) sites: Vec<Option<DeclaredSite>>,
    /// By the number of the base's parameter that it stands in for.
    pub(super) trained: Vec<Option<usize>>,
    pub(super) saved: Vec<SavedTensor>,
}

/// Positions of one module's parameters.
#[derive(Clone, Copy)]
pub(super) struct DeclaredSite {
    pub(super) lora_a: usize,
    pub(super) lora_b: usize,
    pub(super) lora_bias: Option<usize>,
    pub(super) magnitude: Option<usize>,
    pub(super) scaling: f32,
}

impl Skeleton {
    pub(super) fn new(plan: &Plan, modules: &Modules) -> Self {
        let mut skeleton = Self {
            declarations: Declarations::default(),
            sites: vec![None; modules.iter().len()],
            trained: vec![None; modules.parameters().len()],
            saved: Vec::new(),
        };
        for module in modules.iter() {
            let site = plan.sites.iter().find(|site| site.module == module.id);
            skeleton.sites[module.id.index()] = site.map(|site| skeleton.declare_site(module, site, &plan.config));
            for id in std::iter::once(module.weight).chain(module.bias).filter(|id| plan.trained.contains(id)) {
                skeleton.declare_trained(modules, id, site.is_some());
            }
        }
        skeleton
    }

    fn declare_site(&mut self, module: &Module, site: &PlannedSite, config: &LoraConfig) -> DeclaredSite {
        let ((input, output), rank, path) = (sizes(module), site.rank, module.path.as_str());
        let random = config.init_lora_weights == InitLoraWeights::Random;
        let (lora_a, lora_b, lora_bias) = if matches!(module.kind, ModuleKind::Embedding { .. }) {
            // A is kept transposed, for looking up tokens reads rows.
            let start = if random { Start::Normal(1.0) } else { Start::Zeros };
            let a = self.declare(path, "lora_embedding_A", &[input, rank], start, Source::Transposed);
            let b = self.declare(path, "lora_embedding_B", &[output, rank], Start::Normal(1.0), Source::Trained);
            (a, b, None)
        } else {
            let uniform = |fan_in: usize| Start::Uniform(1.0 / (fan_in as f32).sqrt());
            let a_start = match config.init_lora_weights {
                InitLoraWeights::Gaussian => Start::Normal(1.0 / rank as f32),
                InitLoraWeights::Default | InitLoraWeights::Random => uniform(input),
                // What they start as is not drawn value by value.
                InitLoraWeights::Pissa { .. } | InitLoraWeights::Olora | InitLoraWeights::Orthogonal => Start::Zeros,
            };
            let b_start = if random { uniform(rank) } else { Start::Zeros };
            let a = self.declare(path, "lora_A.weight", &[rank, input], a_start, Source::Trained);
            let b = self.declare(path, "lora_B.weight", &[output, rank], b_start, Source::Trained);
            let mut bias = || self.declare(path, "lora_B.bias", &[output], b_start, Source::Trained);
            (a, b, config.lora_bias.then(&mut bias))
        };
        // Where it starts, the weights say.
        let mut declare_magnitude =
            || self.declare(path, "lora_magnitude_vector", &[output], Start::Zeros, Source::Trained);
        let magnitude = config.use_dora.then(&mut declare_magnitude);
        DeclaredSite { lora_a, lora_b, lora_bias, magnitude, scaling: site.scaling }
    }

    fn declare(
        &mut self,
        path: &str,
        suffix: &str,
        shape: &[usize],
        start: Start,
        source: impl Fn(usize) -> Source,
    ) -> usize {
        let name = names::key(path, suffix);
        let index = self.declarations.add(name.clone(), shape, start);
        self.saved.push(SavedTensor { name, alias: None, source: source(index) });
        index
    }

    /// A parameter of the base that is trained. In an adapted module PEFT's wrapper stands between module and parameter;
    /// older releases saved it without.
    fn declare_trained(&mut self, modules: &Modules, id: ParameterId, adapted: bool) {
        let parameter = modules.parameter(id);
        let path = &modules.get(parameter.module).path;
        let plain = format!("{}{}", names::PREFIX, parameter.name);
        let (name, alias) = match parameter.name.strip_prefix(path) {
            Some(end) if adapted => (names::key(path, &format!("base_layer{end}")), Some(plain)),
            _ => (plain, None),
        };
        let index = self.declarations.add(name.clone(), &parameter.shape, Start::Base(id));
        self.trained[id.index()] = Some(index);
        self.saved.push(SavedTensor { name, alias, source: Source::Trained(index) });
    }
}

/// Input and output size of an adapted module.
pub(super) fn sizes(module: &Module) -> (usize, usize) {
    match module.kind {
        ModuleKind::Linear { in_features, out_features, .. } => (in_features, out_features),
        ModuleKind::Embedding { num_embeddings, embedding_dim } => (num_embeddings, embedding_dim),
        ModuleKind::Norm { size } => (size, size),
        // No targets.
        ModuleKind::Conv2d { in_channels, out_channels, .. } => (in_channels, out_channels),
        ModuleKind::Parameter => (0, 0),
    }
}
