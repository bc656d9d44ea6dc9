//! Folding the factors into the base: rows of W and b where outputs are scaled, columns of W where inputs are.

use model::{ModuleKind, ParameterId};
use tensor::Layout;

use super::{Ia3, Scales};
use crate::{PeftError, finite};

impl Ia3 {
    pub(super) fn merges_parameter(&self, id: ParameterId) -> bool {
        let module = self.modules.get(self.modules.parameter(id).module);
        let scaled = self.sites[module.id.index()]
            .as_ref()
            .is_some_and(|site| id == module.weight || site.scales == Scales::Outputs);
        scaled || self.stand_ins.get(id).is_some()
    }

    pub(super) fn merge_parameter(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        let parameter = self.modules.parameter(id);
        self.stand_ins.merge(parameter, values)?;
        let module = self.modules.get(parameter.module);
        let Some(site) = &self.sites[module.id.index()] else { return Ok(()) };
        finite::check(&module.path, &site.ia3_l)?;
        let factors = site.ia3_l.to_vec();
        let ModuleKind::Linear { layout, .. } = module.kind else { return Ok(()) };
        match (id == module.weight, site.scales, layout) {
            (true, Scales::Outputs, Layout::OutIn) | (true, Scales::Inputs, Layout::InOut) => {
                scale_rows(values, &factors);
            }
            (true, ..) | (false, Scales::Outputs, _) => scale_columns(values, &factors),
            // A bias is added behind the product and not scaled with its inputs.
            (false, Scales::Inputs, _) => {}
        }
        Ok(())
    }
}

/// Row `i` times `factors[i]`.
fn scale_rows(values: &mut [f32], factors: &[f32]) {
    let columns = (values.len() / factors.len().max(1)).max(1);
    for (row, factor) in values.chunks_exact_mut(columns).zip(factors) {
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Column `i` times `factors[i]`; a bias is one row.
fn scale_columns(values: &mut [f32], factors: &[f32]) {
    for row in values.chunks_exact_mut(factors.len().max(1)) {
        row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    }
}
