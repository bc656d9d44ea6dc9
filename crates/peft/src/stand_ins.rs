//! Trainable values that stand in for parameters of the base, which stay as they are: `modules_to_save`, norms.

use model::{Module, Modules, Parameter, ParameterId};
use tensor::Tensor;

use crate::declare::{Declarations, Start};
use crate::method::SavedTensor;
use crate::{PeftError, finite, names};

/// Stand-ins that are declared and not made yet: by the number of the parameter, the position of its value.
pub(crate) struct DeclaredStandIns(Vec<Option<usize>>);

impl DeclaredStandIns {
    /// None yet.
    pub(crate) fn none(modules: &Modules) -> Self {
        Self(vec![None; modules.parameters().len()])
    }

    /// Declares one for each of `ids`, saved under the parameter's own name behind PEFT's prefix.
    pub(crate) fn plain(
        ids: &[ParameterId],
        modules: &Modules,
        declarations: &mut Declarations,
        saved: &mut Vec<SavedTensor>,
    ) -> Self {
        let mut declared = Self::none(modules);
        for &id in ids {
            let parameter = modules.parameter(id);
            let name = format!("{}{}", names::PREFIX, parameter.name);
            declared.add(parameter, name, declarations, saved);
        }
        declared
    }

    /// Declares one that starts as a copy of `parameter` and is saved as `name`.
    pub(crate) fn add(
        &mut self,
        parameter: &Parameter,
        name: String,
        declarations: &mut Declarations,
        saved: &mut Vec<SavedTensor>,
    ) {
        let index = declarations.add(name.clone(), &parameter.shape, Start::Base(parameter.id));
        self.0[parameter.id.index()] = Some(index);
        saved.push(SavedTensor::trained(name, index));
    }

    /// Declares one for `parameter` of an adapter that PEFT wraps modules for. Where `wrapped` says so, the wrapper stands
    /// between module and parameter in the name; older releases saved it without.
    pub(crate) fn add_wrapped(
        &mut self,
        parameter: &Parameter,
        module: &Module,
        wrapped: bool,
        declarations: &mut Declarations,
        saved: &mut Vec<SavedTensor>,
    ) {
        let plain = format!("{}{}", names::PREFIX, parameter.name);
        match parameter.name.strip_prefix(&module.path) {
            Some(end) if wrapped => {
                let name = names::key(&module.path, &format!("base_layer{end}"));
                self.add(parameter, name, declarations, saved);
                saved.iter_mut().next_back().into_iter().for_each(|tensor| tensor.alias = Some(plain.clone()));
            }
            _ => self.add(parameter, plain, declarations, saved),
        }
    }

    /// The same with the values that were made for them.
    pub(crate) fn with(self, leaves: &[Tensor]) -> StandIns {
        StandIns(self.0.into_iter().map(|index| index.map(|index| leaves[index].clone())).collect())
    }
}

/// By the number of the parameter, what stands in for it.
pub(crate) struct StandIns(Vec<Option<Tensor>>);

impl StandIns {
    /// What stands in for a parameter.
    pub(crate) fn get(&self, id: ParameterId) -> Option<&Tensor> {
        self.0[id.index()].as_ref()
    }

    /// Replaces `values` of the base by what stands in for them, if something does.
    ///
    /// # Errors
    /// [`PeftError::NonFinite`].
    pub(crate) fn merge(&self, parameter: &Parameter, values: &mut [f32]) -> Result<(), PeftError> {
        let Some(trained) = self.get(parameter.id) else { return Ok(()) };
        finite::check(&parameter.name, trained)?;
        trained.read().elements().widen_into(values);
        Ok(())
    }
}
