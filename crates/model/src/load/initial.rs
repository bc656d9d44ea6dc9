//! What the files of a model made for another task do not have: its head.

use device::philox::Stream;
use tensor::{Result, Tensor};

use crate::ModuleId;
use crate::module::Parameter;

/// Streams of training use the step as their second coordinate, and those of an adapter's start the last number; this one is
/// neither's.
const INITIAL_STEP: u32 = u32::MAX - 1;

/// How parameters start that the files do not have: weights normal with mean 0, biases zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Initial {
    /// The standard deviation of weights.
    pub(crate) deviation: f32,
    pub(crate) seed: u64,
}

/// Modules that may be missing from the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewModules {
    pub(crate) modules: Vec<ModuleId>,
    pub(crate) initial: Initial,
    /// Whether what the files have of them is for other classes and left aside.
    pub(crate) are_replaced: bool,
}

impl Initial {
    /// The value of a parameter that the files do not have: a function of the seed, the parameter and the element.
    pub(super) fn value(&self, parameter: &Parameter) -> Result<Tensor> {
        let mut values = vec![0.0; parameter.count()];
        if !parameter.name.ends_with(".bias") {
            let stream = Stream::new(self.seed, INITIAL_STEP, parameter.id.index() as u32);
            values.iter_mut().zip(0..).for_each(|(value, i)| *value = stream.normal(i) * self.deviation);
        }
        Tensor::from_f32(&parameter.shape[..], &values)
    }
}
