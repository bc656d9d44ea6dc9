//! One update of all parameters, piece by piece.

use std::ops::Range;

use adamw::launch::{self, Maps};
use adamw::{AdamW, Codes, Group, Step, Step8bit};
use device::launch::DeviceBuffer;

use super::groups::within;
use super::moments::{Kept, Moments};
use crate::Error;

/// A step of the method.
pub(super) struct Update<'a> {
    pub(super) method: AdamW,
    pub(super) groups: &'a [Group],
    /// Its number, from 1.
    pub(super) step: u64,
    pub(super) learning_rate: f64,
}

impl Update<'_> {
    /// Updates `parameters` and `moments` on the CPU.
    pub(super) fn on_host(
        &self,
        moments: &mut Moments,
        parameters: &mut [f32],
        gradients: &[f32],
        grad_scale: f32,
    ) -> Result<(), Error> {
        let &Update { step, learning_rate, .. } = self;
        let Moments { pieces, exp_avg, exp_avg_sq, .. } = moments;
        for piece in pieces.iter() {
            let at = piece.parameters.clone();
            let (parameters, gradients) = (&mut parameters[at.clone()], &gradients[at.clone()]);
            match &piece.kept {
                Kept::F32(own) => {
                    let exp_avg = &mut exp_avg.f32.f32_mut()?[own.clone()];
                    let exp_avg_sq = &mut exp_avg_sq.f32.f32_mut()?[own.clone()];
                    let groups = &within(self.groups, &at);
                    let args =
                        Step { step, learning_rate, grad_scale, groups, gradients, parameters, exp_avg, exp_avg_sq };
                    adamw::step(&self.method, args)?;
                }
                Kept::Codes { codes, absmax } => {
                    let (method, learning_rate) = self.of_tensor(&at);
                    let exp_avg = Codes {
                        codes: exp_avg.codes.host_mut(codes.clone())?,
                        absmax: &mut exp_avg.absmax.f32_mut()?[absmax.clone()],
                    };
                    let exp_avg_sq = Codes {
                        codes: exp_avg_sq.codes.host_mut(codes.clone())?,
                        absmax: &mut exp_avg_sq.absmax.f32_mut()?[absmax.clone()],
                    };
                    let args = Step8bit { step, learning_rate, grad_scale, gradients, parameters, exp_avg, exp_avg_sq };
                    adamw::step_8bit(&method, args)?;
                }
            }
        }
        Ok(())
    }

    /// The same on a device, which is not waited for.
    pub(super) fn on_device(
        &self,
        moments: &mut Moments,
        parameters: &DeviceBuffer,
        gradients: &DeviceBuffer,
        grad_scale: &DeviceBuffer,
    ) -> Result<(), Error> {
        let &Update { step, learning_rate, .. } = self;
        let Moments { pieces, maps, exp_avg, exp_avg_sq, .. } = moments;
        for piece in pieces.iter() {
            let at = &piece.parameters;
            let (parameters, gradients) = (&mut floats(parameters, at), &floats(gradients, at));
            match &piece.kept {
                Kept::Codes { codes, absmax } => {
                    let maps = match maps {
                        Some(maps) => &*maps,
                        None => maps.insert(Maps::new(parameters.executor())?),
                    };
                    let (method, learning_rate) = self.of_tensor(at);
                    let exp_avg = launch::Codes {
                        codes: &mut exp_avg.codes.on_device(codes.clone())?,
                        absmax: &mut floats(exp_avg.absmax.memory()?, absmax),
                    };
                    let exp_avg_sq = launch::Codes {
                        codes: &mut exp_avg_sq.codes.on_device(codes.clone())?,
                        absmax: &mut floats(exp_avg_sq.absmax.memory()?, absmax),
                    };
                    let args = launch::Step8bit {
                        step,
                        learning_rate,
                        grad_scale,
                        maps,
                        gradients,
                        parameters,
                        exp_avg,
                        exp_avg_sq,
                        shadow: None,
                    };
                    launch::step_8bit(&method, args)?;
                }
                Kept::F32(own) => {
                    let args = launch::Step {
                        step,
                        learning_rate,
                        grad_scale,
                        groups: &within(self.groups, at),
                        gradients,
                        parameters,
                        exp_avg: &mut floats(exp_avg.f32.memory()?, own),
                        exp_avg_sq: &mut floats(exp_avg_sq.f32.memory()?, own),
                        shadow: None,
                    };
                    launch::step(&self.method, args)?;
                }
            }
        }
        Ok(())
    }

    /// The method and the learning rate of a tensor, which lies in one group.
    fn of_tensor(&self, parameters: &Range<usize>) -> (AdamW, f64) {
        let group = self.groups.iter().find(|group| group.range.end >= parameters.end);
        let [learning_rate, weight_decay] = group.map_or([1.0; 2], |group| [group.learning_rate, group.weight_decay]);
        let method = AdamW { weight_decay: self.method.weight_decay * weight_decay, ..self.method };
        (method, self.learning_rate * learning_rate)
    }
}

/// Those of `range` of a buffer of f32.
fn floats(buffer: &DeviceBuffer, range: &Range<usize>) -> DeviceBuffer {
    buffer.view(range.start * size_of::<f32>()..range.end * size_of::<f32>())
}
