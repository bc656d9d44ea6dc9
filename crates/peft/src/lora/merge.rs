//! Folding the update into the base: `W + s B A`, computed in f32; with DoRA its rows brought to their norms.

use gemm::{Matrix, MatrixMut, Update, gemm};
use model::{ModuleKind, ParameterId};
use tensor::Layout;

use super::{Lora, Site};
use crate::{PeftError, finite};

impl Lora {
    pub(super) fn merges_parameter(&self, id: ParameterId) -> bool {
        let parameter = self.modules.parameter(id);
        let module = self.modules.get(parameter.module);
        let updated =
            self.sites[module.id.index()].as_ref().is_some_and(|site| id == module.weight || site.lora_bias.is_some());
        updated || self.trained[id.index()].is_some()
    }

    pub(super) fn merge_parameter(&self, id: ParameterId, values: &mut [f32]) -> Result<(), PeftError> {
        let parameter = self.modules.parameter(id);
        let module = self.modules.get(parameter.module);
        if let Some(trained) = &self.trained[id.index()] {
            finite::check(&parameter.name, trained)?;
            trained.read().elements().widen_into(values);
        }
        let Some(site) = &self.sites[module.id.index()] else { return Ok(()) };
        finite::check(&module.path, &site.lora_a)?;
        finite::check(&module.path, &site.lora_b)?;
        if site.lora_bias.is_some() && module.bias.is_none() {
            let reason = "its adapter has a bias (lora_bias) and the base model has none to add it to";
            return Err(PeftError::Unmergeable { module: module.path.clone(), reason });
        }
        if id == module.weight {
            add_product(site, module.kind, values)?;
            if let (Some(part), ModuleKind::Linear { layout, .. }) = (&site.base_part, module.kind) {
                part.merge(site, layout, values)?;
            }
            site.dora.as_ref().map_or(Ok(()), |dora| dora.merge(module, values))
        } else {
            if let Some(bias) = &site.lora_bias {
                finite::check(&parameter.name, bias)?;
                values.iter_mut().zip(bias.to_vec()).for_each(|(value, bias)| *value += site.scaling * bias);
            }
            Ok(())
        }
    }
}

/// Adds `s B A` to a weight in the layout it is stored in.
fn add_product(site: &Site, kind: ModuleKind, values: &mut [f32]) -> Result<(), PeftError> {
    let (a, b) = (site.lora_a.read(), site.lora_b.read());
    let a = Matrix::new(a.elements(), site.lora_a.shape()[0], site.lora_a.shape()[1]);
    let b = Matrix::new(b.elements(), site.lora_b.shape()[0], site.lora_b.shape()[1]);
    let (left, right) = match kind {
        ModuleKind::Linear { layout: Layout::OutIn, .. }
        | ModuleKind::Norm { .. }
        | ModuleKind::Conv2d { .. }
        | ModuleKind::Parameter => (b, a),
        ModuleKind::Linear { layout: Layout::InOut, .. } => (a.transposed(), b.transposed()),
        // A is kept as [vocab, r].
        ModuleKind::Embedding { .. } => (a, b.transposed()),
    };
    let (rows, columns) = (left.rows(), right.cols());
    Ok(gemm(site.scaling, left, right, Update::Accumulate, MatrixMut::new(values, rows, columns))?)
}
