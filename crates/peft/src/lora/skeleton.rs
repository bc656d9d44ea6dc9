//! The parameters that a plan asks for, declared and not yet made: all that can be said without the base's weights.

use model::{Module, ModuleKind, Modules};

use super::plan::{Plan, PlannedSite};
use super::{InitLoraWeights, LoraConfig};
use crate::declare::{Declarations, Start};
use crate::method::{SavedTensor, Source};
use crate::names;
use crate::stand_ins::DeclaredStandIns;
use crate::trainable_tokens::DeclaredTokenRows;

/// What PEFT calls trained rows of an embedding beside another method.
const TOKEN_ROWS: &str = "token_adapter.trainable_tokens_delta";

/// Declared parameters, and what each is for.
pub(super) struct Skeleton {
    pub(super) declarations: Declarations,
    /// By the number of the module.
    pub(super) sites: Vec<Option<DeclaredSite>>,
    pub(super) trained: DeclaredStandIns,
    pub(super) rows: DeclaredTokenRows,
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
            trained: DeclaredStandIns::none(modules),
            rows: DeclaredTokenRows::default(),
            saved: Vec::new(),
        };
        for module in modules.iter() {
            let site = plan.sites.iter().find(|site| site.module == module.id);
            skeleton.sites[module.id.index()] = site.map(|site| skeleton.declare_site(module, site, &plan.config));
            for id in std::iter::once(module.weight).chain(module.bias).filter(|id| plan.trained.contains(id)) {
                let Self { trained, declarations, saved, .. } = &mut skeleton;
                trained.add_wrapped(modules.parameter(id), module, site.is_some(), declarations, saved);
            }
        }
        let Self { rows, declarations, saved, .. } = &mut skeleton;
        for planned in &plan.rows {
            rows.add(planned.clone(), TOKEN_ROWS, Start::Zeros, modules, declarations, saved);
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
