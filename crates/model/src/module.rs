//! What a model consists of: its modules under their Hugging Face paths, and the parameters that they hold.

use device::DType;
use tensor::Layout;
use tensor::ops::EmbeddingOptions;

/// Names one module of a model: its position in [`Modules::iter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(u32);

/// Names one parameter of a model: its position in [`Modules::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(u32);

/// Names one place of a model where the output of a part of a block joins the hidden states: its position in
/// [`Modules::residuals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResidualId(u32);

impl ModuleId {
    /// The position in [`Modules::iter`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ParameterId {
    /// The position in [`Modules::parameters`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl ResidualId {
    /// The position in [`Modules::residuals`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a module computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleKind {
    /// `y = x W^T + b`: `nn.Linear`, or `Conv1D` where `layout` says that the weight lies the other way round.
    Linear {
        /// Columns of `x`.
        in_features: usize,
        /// Columns of `y`.
        out_features: usize,
        /// How the weight lies in memory.
        layout: Layout,
    },
    /// Rows of a table: `nn.Embedding`.
    Embedding {
        /// Rows.
        num_embeddings: usize,
        /// Columns.
        embedding_dim: usize,
    },
    /// RMSNorm or LayerNorm.
    Norm {
        /// Elements of a row.
        size: usize,
    },
    /// `nn.Conv2d` whose steps are as long as its kernel: a projection of every patch of an image.
    Conv2d {
        /// Channels of the image.
        in_channels: usize,
        /// Elements that a patch becomes.
        out_channels: usize,
        /// Height and width of a patch.
        kernel_size: [usize; 2],
    },
    /// A parameter of the module around it and no module itself, under the path and name of the parameter.
    Parameter,
}

/// A leaf module: one that holds parameters.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name here.
    pub id: ModuleId,
    /// Its name in Hugging Face's module tree, such as `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// What older releases of transformers call it, where that is something else; adapters may have that name too.
    pub older_path: Option<String>,
    /// The block that it is in; `None` for embeddings, the last norm and the head.
    pub layer: Option<usize>,
    /// What it computes, with its sizes.
    pub kind: ModuleKind,
    /// Whether it is the output embedding, which "all-linear" leaves out.
    pub is_head: bool,
    /// What it does beside looking up rows, if it is an embedding.
    pub embedding_options: EmbeddingOptions,
    /// Its `weight`.
    pub weight: ParameterId,
    /// Its `bias`, if it has one.
    pub bias: Option<ParameterId>,
}

impl Module {
    /// Whether quantization of a base replaces its weight: linear modules of blocks, as transformers does for
    /// bitsandbytes. Heads stay as they are, and so does the last projection of T5's MLP, whose sums exceed f16.
    pub fn is_quantizable(&self) -> bool {
        let in_block = matches!(self.kind, ModuleKind::Linear { .. }) && self.layer.is_some() && !self.is_head;
        in_block && !self.path.ends_with(".DenseReluDense.wo")
    }
}

/// A parameter of a module.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name here.
    pub id: ParameterId,
    /// Its name in Hugging Face's state dict: the module's path followed by `.weight` or `.bias`, or the path alone where
    /// the module is [`ModuleKind::Parameter`].
    pub name: String,
    /// The module that holds it.
    pub module: ModuleId,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// The parameter whose values this one shares in the base model (a tied head). They are still two parameters: an
    /// adapter that replaces one has to replace the other, if they shall stay tied.
    pub tied_to: Option<ParameterId>,
}

impl Parameter {
    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that it takes in `dtype`.
    pub fn size_bytes(&self, dtype: DType) -> usize {
        self.count() * dtype.size_bytes()
    }
}

/// A part of a block, whose output is added to the hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Attention of tokens to one another.
    Attention,
    /// Attention of a decoder to an encoder's output.
    CrossAttention,
    /// The feed-forward part.
    Mlp,
}

/// A place where the output of a part of a block joins the hidden states.
#[derive(Clone, Debug)]
pub struct Residual {
    /// Its name here.
    pub id: ResidualId,
    /// The module that takes the sum in Hugging Face's module tree: the block (`model.layers.0`), or a module of its own
    /// (`bert.encoder.layer.0.attention.output`, `decoder.block.0.layer.2`).
    pub path: String,
    /// The number of the block; those of a decoder go on where those of its encoder end.
    pub layer: usize,
    /// What is added.
    pub part: Part,
    /// Elements of a row of the hidden states.
    pub size: usize,
}

/// Every leaf module of a model, in the order in which the model uses them, every parameter, and every residual
/// connection.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    modules: Vec<Module>,
    parameters: Vec<Parameter>,
    residuals: Vec<Residual>,
}

impl Modules {
    /// The modules in model order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Module> {
        self.modules.iter()
    }

    /// The module called `id`.
    pub fn get(&self, id: ModuleId) -> &Module {
        &self.modules[id.index()]
    }

    /// The module at a Hugging Face path.
    pub fn find(&self, path: &str) -> Option<&Module> {
        self.modules.iter().find(|m| m.path == path)
    }

    /// The parameters in model order.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = &Parameter> {
        self.parameters.iter()
    }

    /// The parameter called `id`.
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.index()]
    }

    /// How the weight of a linear module lies in memory; [`Layout::OutIn`] for other parameters.
    pub(crate) fn layout(&self, id: ParameterId) -> Layout {
        match self.get(self.parameter(id).module).kind {
            ModuleKind::Linear { layout, .. } => layout,
            ModuleKind::Embedding { .. }
            | ModuleKind::Norm { .. }
            | ModuleKind::Conv2d { .. }
            | ModuleKind::Parameter => Layout::OutIn,
        }
    }

    /// The parameter of a Hugging Face name.
    pub fn find_parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|p| p.name == name)
    }

    /// The residual connections in model order.
    pub fn residuals(&self) -> impl ExactSizeIterator<Item = &Residual> {
        self.residuals.iter()
    }

    /// The output embedding.
    pub fn head(&self) -> Option<&Module> {
        // It is the last module, and asked for once for each parameter that is loaded.
        self.modules.iter().rev().find(|m| m.is_head)
    }

    /// Number of parameter values; tied ones count once.
    pub fn count(&self) -> usize {
        self.parameters.iter().filter(|p| p.tied_to.is_none()).map(Parameter::count).sum()
    }

    /// Adds a module whose weight has `weight_shape`, with a bias of `bias` elements if there is one.
    pub(crate) fn add(
        &mut self,
        path: String,
        layer: Option<usize>,
        kind: ModuleKind,
        weight_shape: Vec<usize>,
        bias: Option<usize>,
    ) -> &mut Module {
        let id = ModuleId(self.modules.len() as u32);
        let weight = match kind {
            ModuleKind::Parameter => path.clone(),
            _ => format!("{path}.weight"),
        };
        let weight = self.add_parameter(weight, id, weight_shape);
        let bias = bias.map(|size| self.add_parameter(format!("{path}.bias"), id, vec![size]));
        self.modules.push(Module {
            id,
            path,
            older_path: None,
            layer,
            kind,
            is_head: false,
            embedding_options: EmbeddingOptions::default(),
            weight,
            bias,
        });
        &mut self.modules[id.index()]
    }

    /// Notes what older releases of transformers call each module.
    pub(crate) fn set_older_paths(&mut self, older: impl Fn(&str) -> String) {
        for module in &mut self.modules {
            module.older_path = Some(older(&module.path)).filter(|path| *path != module.path);
        }
    }

    /// Adds a residual connection.
    pub(crate) fn add_residual(&mut self, path: String, layer: usize, part: Part, size: usize) -> ResidualId {
        let id = ResidualId(self.residuals.len() as u32);
        self.residuals.push(Residual { id, path, layer, part, size });
        id
    }

    /// Marks `module` as the head, its weight tied to `tied_to` if given.
    pub(crate) fn set_head(&mut self, module: ModuleId, tied_to: Option<ParameterId>) {
        self.modules[module.index()].is_head = true;
        if let Some(original) = tied_to {
            self.tie(self.modules[module.index()].weight, original);
        }
    }

    /// Gives the parameter the values of `original`.
    pub(crate) fn tie(&mut self, id: ParameterId, original: ParameterId) {
        self.parameters[id.index()].tied_to = Some(original);
    }

    /// Gives the parameter values of its own.
    pub(crate) fn untie(&mut self, id: ParameterId) {
        self.parameters[id.index()].tied_to = None;
    }

    fn add_parameter(&mut self, name: String, module: ModuleId, shape: Vec<usize>) -> ParameterId {
        let id = ParameterId(self.parameters.len() as u32);
        self.parameters.push(Parameter { id, name, module, shape, tied_to: None });
        id
    }
}
