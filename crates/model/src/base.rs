//! A frozen base model as a method sees it: sizes, modules, weights.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{Checkpoint, MappedTensor};
use device::launch::{Executor, Staging};
use device::{DType, Device};
use tensor::{Int8Matrix, Layout, Nf4Matrix, Tensor, TensorError};

use crate::config::Heads;
use crate::load::{self, Expected, Loaded, StoredNames};
use crate::module::{Modules, Parameter};
use crate::stored::{Stored, transposed};
use crate::{ModelError, ParameterId, Result};

/// Each half of what weights pass through on their way to a device: long enough for the bus to be busy while pages of the next
/// one are read.
const STAGING_BYTES: usize = 32 << 20;

/// How weights are quantized to NF4 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nf4 {
    /// Whether the scales are quantized too.
    pub double_quant: bool,
}

/// Weights of a base, on the device where they are.
pub struct Held {
    parameters: Arc<[Stored]>,
    device: Device,
}

/// Sizes that every kind of model has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// What `config.json` calls the family.
    pub model_type: &'static str,
    /// The class of transformers that PEFT wraps.
    pub architecture: &'static str,
    /// Rows of the input embedding.
    pub vocab_size: usize,
    /// Elements of a token's hidden state.
    pub hidden_size: usize,
    /// Elements between the two products of an MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Heads of every block's attention.
    pub heads: Heads,
    /// Rows of a table of learned positions; `None` where a text may be of any length.
    pub learned_positions: Option<usize>,
    /// Whether the rotations of a token depend on how long its sequence is: dynamic and longrope scaling.
    pub rotations_follow_length: bool,
    /// Channels, height and width of an image, of a model of images.
    pub image: Option<[usize; 3]>,
}

/// The weights of a frozen model under the names of its modules. Every kind of model holds one, and methods know nothing
/// else of it.
pub struct Base {
    dimensions: Dimensions,
    modules: Modules,
    parameters: Arc<[Stored]>,
    newly_initialized: Vec<ParameterId>,
    names: StoredNames,
    dtype: DType,
    device: Device,
    dir: PathBuf,
}

impl Base {
    /// The parameters of `modules` out of `checkpoint`; see [`crate::Decoder::load`] for `dtype`.
    ///
    /// # Errors
    /// [`ModelError::MissingTensors`], [`ModelError::MissingHead`], [`ModelError::ExtraTensors`],
    /// [`ModelError::TensorShape`], [`ModelError::TensorDtype`], [`ModelError::QuantState`]; [`ModelError::Tensor`] without
    /// memory.
    pub(crate) fn load(
        dimensions: Dimensions,
        expected: &Expected,
        mut modules: Modules,
        checkpoint: &Checkpoint,
        dtype: DType,
    ) -> Result<Self> {
        let names = StoredNames::new(&expected.spelling, checkpoint);
        let Loaded { tensors, newly_initialized } =
            load::load(&dimensions, expected, &mut modules, &names, checkpoint, dtype)?;
        let dir = checkpoint.dir().to_owned();
        let parameters = tensors.into();
        Ok(Self { dimensions, modules, parameters, newly_initialized, names, dtype, device: Device::Cpu, dir })
    }

    /// Its sizes.
    pub fn dimensions(&self) -> &Dimensions {
        &self.dimensions
    }

    /// What the model computes with; see [`crate::Decoder::load`].
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its modules and parameters, in model order.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The value of a parameter in its shape, in the dtype it is held in; one in quantized blocks is dequantized into memory
    /// of its own.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] without memory.
    pub fn parameter(&self, id: ParameterId) -> Result<Tensor> {
        Ok(self.parameters[id.index()].to_dense(self.modules.layout(id))?)
    }

    /// The blocks of a parameter that is held in NF4.
    pub fn quantized(&self, id: ParameterId) -> Option<&Nf4Matrix> {
        match &self.parameters[id.index()] {
            Stored::Dense(_) | Stored::Int8(_) => None,
            Stored::Nf4(matrix) => Some(matrix),
        }
    }

    /// Whether any of its weights is held in NF4 blocks.
    pub fn is_quantized(&self) -> bool {
        self.parameters.iter().any(|stored| matches!(stored, Stored::Nf4(_)))
    }

    /// Bytes of its weights, those of mapped files included; parameters that share a tensor count once.
    pub fn size_bytes(&self) -> usize {
        let own = self.modules.parameters().filter(|parameter| parameter.tied_to.is_none());
        own.map(|parameter| self.parameters[parameter.id.index()].size_bytes()).sum()
    }

    /// Quantizes the weights of [`Module::is_quantizable`](crate::Module::is_quantizable) modules to NF4 blocks, as
    /// transformers does with bitsandbytes: values are those that the model computes with, weights of `Conv1D` are
    /// transposed. What is quantized already stays as it is. `checkpoint` is what the base was loaded from: memory of its
    /// tensors is given back one by one.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] without memory.
    pub fn quantize(&mut self, checkpoint: &Checkpoint, double_quant: bool) -> Result<()> {
        self.compress(checkpoint, |base, stored, id| Ok(Stored::Nf4(base.blocks(stored, id, double_quant)?)))
    }

    /// Holds the same weights in 8-bit integers, with one scale for each output channel: for the CPU, which multiplies them
    /// by activations in 8 bits. What is quantized already stays as it is, and memory is given back as by [`Base::quantize`].
    ///
    /// # Errors
    /// [`ModelError::Tensor`] without memory.
    pub fn quantize_int8(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.compress(checkpoint, |base, stored, id| {
            let layout = base.modules.layout(id);
            let dense = stored.to_dense(layout)?;
            let dense = if layout == Layout::OutIn { dense } else { transposed(&dense)? };
            Ok(Stored::Int8(Int8Matrix::quantize(&dense, base.dtype)?))
        })
    }

    /// Replaces the dense weights of quantizable modules, one by one.
    fn compress(
        &mut self,
        checkpoint: &Checkpoint,
        replace: impl Fn(&Self, &Stored, ParameterId) -> Result<Stored>,
    ) -> Result<()> {
        let mut parameters: Vec<Stored> = self.parameters.iter().cloned().collect();
        // Else the dense weights would live until the last of them is quantized.
        self.parameters = Arc::new([]);
        let mut quantizable = self.modules.iter().filter(|module| module.is_quantizable());
        let result = quantizable.try_for_each(|module| {
            let stored = &mut parameters[module.weight.index()];
            if let Stored::Dense(_) = stored {
                *stored = replace(self, stored, module.weight)?;
                let name = self.names.of(&self.modules.parameter(module.weight).name);
                checkpoint.get(&name).iter().for_each(MappedTensor::release);
            }
            Ok(())
        });
        self.parameters = parameters.into();
        result
    }

    /// Where its weights are, and so where the model is computed.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Copies the weights to `device` in the type that the model computes with, one by one; with `quantization`, those that
    /// [`Base::quantize`] would quantize become blocks there as soon as they have arrived, with the same codes. Memory of the
    /// tensors of `checkpoint`, which the base was loaded from, is given back as soon as they are read. On a device other than
    /// the CPU activations have the model's type too.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] for a device that is not there, and without memory on it.
    pub fn to_device(&mut self, checkpoint: &Checkpoint, device: Device, quantization: Option<Nf4>) -> Result<()> {
        if device == self.device {
            return Ok(());
        }
        let executor = Executor::for_device(device).map_err(TensorError::Device)?;
        let mut staging = Staging::new(&executor, STAGING_BYTES).map_err(TensorError::Device)?;
        let mut parameters: Vec<Stored> = self.parameters.iter().cloned().collect();
        let is_shared: Vec<bool> = self.modules.parameters().map(|parameter| self.is_shared(parameter)).collect();
        // Else copies in another type than the files' would live until the last of them has arrived.
        self.parameters = Arc::new([]);
        let mut all = self.modules.parameters();
        let result: Result<()> = all.try_for_each(|parameter| {
            let id = parameter.id;
            let module = self.modules.get(parameter.module);
            let stored = &parameters[id.index()];
            let moved = match (parameter.tied_to.filter(|_| is_shared[id.index()]), quantization) {
                (Some(tied), _) => Ok(parameters[tied.index()].clone()),
                (None, Some(Nf4 { double_quant })) if module.is_quantizable() && module.weight == id => {
                    stored.quantized_on_device(self.modules.layout(id), &mut staging, self.dtype, double_quant)
                }
                (None, _) => stored.to_device(&mut staging, self.dtype),
            };
            parameters[id.index()] = moved?;
            checkpoint.get(&self.names.of(&parameter.name)).iter().for_each(MappedTensor::release);
            Ok(())
        });
        (self.parameters, self.device) = (parameters.into(), device);
        result?;
        // Dense weights have passed through.
        executor.trim().map_err(|error| TensorError::Device(error).into())
    }

    /// Sets the weights on the CPU to what `weight` gives for each parameter: for measurements of models whose files are not
    /// there.
    ///
    /// # Errors
    /// Those of `weight`; [`ModelError::Tensor`] for a tensor of another shape.
    pub fn replace(&mut self, mut weight: impl FnMut(&Parameter) -> Result<Tensor>) -> Result<()> {
        let mut parameters: Vec<Stored> = Vec::with_capacity(self.parameters.len());
        for parameter in self.modules.parameters() {
            if let Some(tied) = parameter.tied_to {
                parameters.push(parameters[tied.index()].clone());
                continue;
            }
            let tensor = weight(parameter)?;
            if tensor.shape() != parameter.shape {
                return Err(tensor.unexpected("replace", "weight", format!("{:?}", parameter.shape)).into());
            }
            parameters.push(Stored::Dense(tensor));
        }
        self.parameters = parameters.into();
        Ok(())
    }

    /// The weights as they are held, to be [put back](Base::restore) after they were somewhere else.
    pub fn held(&self) -> Held {
        Held { parameters: Arc::clone(&self.parameters), device: self.device }
    }

    /// Puts weights back.
    pub fn restore(&mut self, held: Held) {
        Held { parameters: self.parameters, device: self.device } = held;
    }

    /// Whether the values of a parameter are those of the one it is tied to, in memory.
    fn is_shared(&self, parameter: &Parameter) -> bool {
        let stored = |id: ParameterId| &self.parameters[id.index()];
        parameter.tied_to.is_some_and(|tied| stored(tied).shares(stored(parameter.id)))
    }

    /// The weight of a linear module in NF4 blocks of `[out_features, in_features]`, as [`Base::quantize`] makes them.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] without memory.
    pub fn quantize_parameter(&self, id: ParameterId, double_quant: bool) -> Result<Nf4Matrix> {
        self.blocks(&self.parameters[id.index()], id, double_quant)
    }

    /// `values` of a parameter in its shape, as they are after they were quantized to NF4 like [`Base::quantize_parameter`]
    /// and back.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] without memory, or if the values do not fill the shape.
    pub fn through_nf4(&self, id: ParameterId, values: &[f32], double_quant: bool) -> Result<Tensor> {
        let stored = Stored::Dense(Tensor::from_f32(self.modules.parameter(id).shape.as_slice(), values)?);
        Ok(Stored::Nf4(self.blocks(&stored, id, double_quant)?).to_dense(self.modules.layout(id))?)
    }

    fn blocks(&self, stored: &Stored, id: ParameterId, double_quant: bool) -> Result<Nf4Matrix> {
        Ok(match (stored, self.modules.layout(id)) {
            (Stored::Nf4(matrix), _) => matrix.clone(),
            (Stored::Int8(matrix), _) => Nf4Matrix::quantize(&matrix.dequantize()?, self.dtype, double_quant)?,
            (Stored::Dense(tensor), Layout::OutIn) => Nf4Matrix::quantize(tensor, self.dtype, double_quant)?,
            (Stored::Dense(tensor), Layout::InOut) => {
                Nf4Matrix::quantize(&transposed(tensor)?, self.dtype, double_quant)?
            }
        })
    }

    /// Parameters that its files do not have: those of a head for another task. They start at random.
    pub fn newly_initialized(&self) -> &[ParameterId] {
        &self.newly_initialized
    }

    /// What its files call its parameters.
    pub fn stored_names(&self) -> &StoredNames {
        &self.names
    }

    /// The directory of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Checks that every weight is a finite number. It reads the whole model once.
    ///
    /// # Errors
    /// [`ModelError::NonFinite`] with the first tensor and element that is not.
    pub fn check_finite(&self) -> Result<()> {
        for parameter in self.modules.parameters().filter(|p| p.tied_to.is_none()) {
            let found = match &self.parameters[parameter.id.index()] {
                Stored::Dense(tensor) => {
                    let read = tensor.read();
                    load::check_finite(read.elements()).map(|index| (index, read.elements().get(index)))
                }
                Stored::Nf4(matrix) => matrix.first_non_finite()?,
                Stored::Int8(matrix) => matrix.first_non_finite(),
            };
            if let Some((index, got)) = found {
                let (dir, name) = (self.dir.clone(), parameter.name.clone());
                return Err(ModelError::NonFinite { dir, name, index, got });
            }
        }
        Ok(())
    }

    /// Its parameters, by id.
    pub(crate) fn parameters(&self) -> &Arc<[Stored]> {
        &self.parameters
    }
}
