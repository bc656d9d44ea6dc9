//! Where a new adapter starts, as far as it is not drawn value by value.

use device::Device;
use device::philox::Stream;
use model::{Base, ModuleKind};

use super::base_part::row_major;
use super::decompose::orthogonal;
use super::skeleton::DeclaredSite;
use super::{InitLoraWeights, Lora};
use crate::{PeftError, init};

impl Lora {
    /// Sets what follows from the weights of `base`, or from several draws together.
    pub(super) fn start(&self, declared: &[Option<DeclaredSite>], base: &Base, seed: u64) -> Result<(), PeftError> {
        for (module, declared) in base.modules().iter().zip(declared) {
            let Some((site, declared)) = self.sites[module.id.index()].as_ref().zip(*declared) else { continue };
            let DeclaredSite { lora_a, lora_b, magnitude, .. } = declared;
            if let Some(part) = &site.base_part {
                let [b, a] = part.start();
                self.parameters.set(lora_b, &b)?;
                self.parameters.set(lora_a, &a)?;
            }
            let is_embedding = matches!(module.kind, ModuleKind::Embedding { .. });
            if self.config.init_lora_weights == InitLoraWeights::Orthogonal && !is_embedding {
                let (rank, inputs) = (site.lora_a.shape()[0], site.lora_a.shape()[1]);
                // Beside those of the parameters themselves, which are drawn and not kept.
                let count = self.parameters.iter().len();
                let streams = [count + lora_a, lora_a, lora_b].map(|i| Stream::new(seed, init::INIT_STEP, i as u32));
                let factors = orthogonal(inputs, site.lora_b.shape()[0], rank, &streams);
                self.parameters.set(lora_a, &row_major(&factors.a))?;
                self.parameters.set(lora_b, &row_major(&factors.b))?;
            }
            if let Some((index, values)) = magnitude.zip(site.starting_magnitude(base, module)?) {
                // Where steps are only planned, weights have no values.
                if !matches!(base.device(), Device::Dry(_)) {
                    check_norms(&module.path, &values)?;
                }
                self.parameters.set(index, &values)?;
            }
        }
        Ok(())
    }
}

/// Refuses DoRA where an output's weights are all zero: they have no direction, and dividing by their norm gives no number.
fn check_norms(path: &str, norms: &[f32]) -> Result<(), PeftError> {
    match norms.iter().position(|norm| *norm == 0.0) {
        None => Ok(()),
        Some(output) => {
            let path = checkpoint::Quoted(path);
            let reason = format!(
                "the weights of output {output} of {path} are all zero, and dividing by their norm gives no number; leave \
                 the module out with exclude_modules, or train without use_dora"
            );
            Err(PeftError::Setting { key: "use_dora", reason })
        }
    }
}
