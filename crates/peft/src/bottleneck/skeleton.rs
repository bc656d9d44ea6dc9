//! The parameters that a plan asks for, declared and not yet made: all that can be said without the base's weights.

use model::Modules;
use tensor::{Shape, Tensor};

use super::config::{BottleneckConfig, Init, RuleInit};
use super::plan::Plan;
use super::{Projection, ProjectionWeight, Site, names};
use crate::declare::{Declarations, Start};
use crate::method::SavedTensor;
use crate::stand_ins::DeclaredStandIns;

/// Declared parameters, and what each is for.
pub(super) struct Skeleton {
    pub(super) declarations: Declarations,
    /// By the number of the residual connection.
    pub(super) sites: Vec<Option<DeclaredSite>>,
    pub(super) saved: Vec<SavedTensor>,
    /// Position of the rule that all layers share, if they do.
    rule: Option<usize>,
    /// What is trained of the head.
    pub(super) stand_ins: DeclaredStandIns,
    /// In the file beside the adapter's.
    pub(super) head: Vec<SavedTensor>,
}

/// Positions of one adapter's parameters.
pub(super) struct DeclaredSite {
    down: DeclaredProjection,
    up: DeclaredProjection,
    norm_after: Option<[usize; 2]>,
}

struct DeclaredProjection {
    weight: DeclaredWeight,
    bias: Option<usize>,
}

enum DeclaredWeight {
    Dense(usize),
    Phm { rule: usize, left: usize, right: usize },
}

/// Input and output size of a projection, and where its weight starts.
struct Sizes {
    input: usize,
    output: usize,
    start: Start,
}

impl Skeleton {
    /// The parameters of `plan` in a model of `model_type` and these modules.
    pub(super) fn new(plan: &Plan, model_type: &str, modules: &Modules) -> Self {
        let mut skeleton = Self {
            declarations: Declarations::default(),
            sites: modules.residuals().map(|_| None).collect(),
            saved: Vec::new(),
            rule: None,
            stand_ins: DeclaredStandIns::none(modules),
            head: Vec::new(),
        };
        let config = &plan.config;
        let first = plan.sites.first().filter(|_| config.phm_layer && config.shared_phm_rule);
        skeleton.rule = first.map(|(residual, _)| {
            let start = rule_start(config, config.phm_init_range as f32, 1.0);
            skeleton.declare_rule(names::shared(residual, &config.name, "phm_rule"), config, start)
        });
        for (residual, size) in &plan.sites {
            let path = names::site(residual, model_type, &config.name);
            let (hidden, size) = (residual.size, *size);
            let [down, up] = starts(config.init_weights, hidden);
            let down = Sizes { input: hidden, output: size, start: down };
            let up = Sizes { input: size, output: hidden, start: up };
            let site = DeclaredSite {
                down: skeleton.projection(&format!("{path}.adapter_down.0"), config, &down),
                up: skeleton.projection(&format!("{path}.adapter_up"), config, &up),
                norm_after: config.ln_after.then(|| {
                    let norm = format!("{path}.adapter_norm_after");
                    let weight = skeleton.declare(format!("{norm}.weight"), &[hidden], Start::Constant(1.0));
                    [weight, skeleton.declare(format!("{norm}.bias"), &[hidden], Start::Zeros)]
                }),
            };
            skeleton.sites[residual.id.index()] = Some(site);
        }
        for parameter in plan.head.iter().map(|id| modules.parameter(*id)) {
            let Self { declarations, stand_ins, head, .. } = &mut skeleton;
            stand_ins.add(parameter, parameter.name.clone(), declarations, head);
        }
        skeleton
    }

    /// Sizes of the parameters.
    pub(super) fn shapes(&self) -> Vec<Shape> {
        self.declarations.shapes().map(|(_, shape)| shape).collect()
    }

    /// The key of the rule that all layers share.
    pub(super) fn shared_rule(&self) -> Option<&str> {
        self.rule.map(|rule| self.saved[rule].name.as_str())
    }

    fn projection(&mut self, path: &str, config: &BottleneckConfig, sizes: &Sizes) -> DeclaredProjection {
        let Sizes { input, output, start } = *sizes;
        if !config.phm_layer {
            let weight = self.declare(format!("{path}.weight"), &[output, input], start);
            let bias = self.declare(format!("{path}.bias"), &[output], Start::Zeros);
            return DeclaredProjection { weight: DeclaredWeight::Dense(weight), bias: Some(bias) };
        }
        let (n, rank) = (config.phm_dim, config.phm_rank);
        let rule = self.rule.unwrap_or_else(|| {
            let start = rule_start(config, 0.01, 0.01);
            self.declare_rule(format!("{path}.phm_rule"), config, start)
        });
        let left = self.declare(format!("{path}.W_left"), &[n, input / n, rank], glorot(input / n, rank));
        let right = self.declare(format!("{path}.W_right"), &[n, rank, output / n], glorot(output / n, rank));
        let bias = config.phm_bias.then(|| self.declare(format!("{path}.b"), &[output], Start::Zeros));
        DeclaredProjection { weight: DeclaredWeight::Phm { rule, left, right }, bias }
    }

    fn declare_rule(&mut self, name: String, config: &BottleneckConfig, start: Start) -> usize {
        self.declare(name, &[config.phm_dim; 3], start)
    }

    fn declare(&mut self, name: String, shape: &[usize], start: Start) -> usize {
        let index = self.declarations.add(name.clone(), shape, start);
        self.saved.push(SavedTensor::trained(name, index));
        index
    }
}

/// Where the weights down and up start.
fn starts(init: Init, hidden: usize) -> [Start; 2] {
    match init {
        Init::Bert => [Start::Normal(0.02); 2],
        Init::Houlsby => [Start::TruncatedNormal(0.01); 2],
        Init::MamAdapter => [Start::Uniform(1.0 / (hidden as f32).sqrt()), Start::Zeros],
    }
}

fn rule_start(config: &BottleneckConfig, deviation: f32, bound: f32) -> Start {
    match config.phm_c_init {
        RuleInit::Normal => Start::Normal(deviation),
        RuleInit::Uniform => Start::Uniform(bound),
    }
}

/// `xavier_normal_` of a factor: AdapterHub means to read `hypercomplex_nonlinearity`, and draws this whatever it says.
fn glorot(size: usize, rank: usize) -> Start {
    Start::Normal((2.0 / (size + rank) as f32).sqrt())
}

impl DeclaredSite {
    /// The adapter, given the parameters.
    pub(super) fn with(&self, leaves: &[Tensor]) -> Site {
        Site {
            down: self.down.with(leaves),
            up: self.up.with(leaves),
            norm_after: self.norm_after.map(|norm| norm.map(|index| leaves[index].clone())),
        }
    }
}

impl DeclaredProjection {
    fn with(&self, leaves: &[Tensor]) -> Projection {
        let leaf = |index: usize| leaves[index].clone();
        let weight = match self.weight {
            DeclaredWeight::Dense(weight) => ProjectionWeight::Dense(leaf(weight)),
            DeclaredWeight::Phm { rule, left, right } => {
                ProjectionWeight::Phm { rule: leaf(rule), left: leaf(left), right: leaf(right) }
            }
        };
        Projection { weight, bias: self.bias.map(leaf) }
    }
}
