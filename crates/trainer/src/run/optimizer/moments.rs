//! The moments of AdamW: f32, or 8-bit codes with a scale for each block of them.
//!
//! Parameters that keep their moments in one way and follow each other are a piece, and a tensor with codes is one by itself, as
//! blocks of codes begin with it. All pieces lie in the same few flat buffers.

use std::ops::Range;

use adamw::launch::Maps;
use adamw::{MIN_8BIT_SIZE, num_code_blocks};
use device::{Buffer, DType};
use model::{ModuleKind, Modules};
use tensor::Parameters;

use super::base_name;
use super::bytes::Bytes;
use crate::Error;
use crate::config::Optim;

/// Soft prompts that are embeddings in PEFT.
const PROMPTS: [&str; 2] = ["prompt_embeddings", "prompt_encoder.embedding.weight"];

/// Both moments of all parameters.
pub(in crate::run) struct Moments {
    pub(super) pieces: Vec<Piece>,
    /// Where those of each tensor are.
    pub(in crate::run) tensors: Vec<Kept>,
    /// What codes stand for, on a device: made with the first step that reads some.
    pub(super) maps: Option<Maps>,
    /// Means of the gradients.
    pub(in crate::run) exp_avg: Moment,
    /// Means of the squared gradients.
    pub(in crate::run) exp_avg_sq: Moment,
}

/// One moment of all parameters.
pub(in crate::run) struct Moment {
    /// Of the pieces in f32.
    pub(in crate::run) f32: Buffer,
    /// Of the others: a code for each parameter.
    pub(in crate::run) codes: Bytes,
    /// A scale for each block of codes.
    pub(in crate::run) absmax: Buffer,
}

/// Parameters that are updated together.
pub(super) struct Piece {
    /// In the flat buffer of all.
    pub(super) parameters: Range<usize>,
    pub(super) kept: Kept,
}

/// Where moments are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) enum Kept {
    /// In [`Moment::f32`].
    F32(Range<usize>),
    /// In [`Moment::codes`] and [`Moment::absmax`].
    Codes { codes: Range<usize>, absmax: Range<usize> },
}

impl Moments {
    /// Zeros for `parameters` of a method on a base with `modules`.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn new(parameters: &Parameters, optim: Optim, modules: &Modules) -> Result<Self, Error> {
        let device = parameters.device();
        let mut layout = Layout::default();
        for (name, tensor) in parameters.iter() {
            layout.add(tensor.count(), has_codes(name, tensor.count(), optim, modules));
        }
        let Layout { pieces, tensors, f32, codes, absmax } = layout;
        let moment = || -> Result<Moment, Error> {
            Ok(Moment {
                f32: Buffer::zeroed(device, DType::F32, f32)?,
                codes: Bytes::zeroed(device, codes)?,
                absmax: Buffer::zeroed(device, DType::F32, absmax)?,
            })
        };
        Ok(Self { pieces, tensors, maps: None, exp_avg: moment()?, exp_avg_sq: moment()? })
    }
}

/// Bytes of both moments of a tensor called `name`, of a base with `modules`.
pub fn moment_bytes(name: &str, len: usize, optim: Optim, modules: &Modules) -> u64 {
    let bytes = match has_codes(name, len, optim, modules) {
        true => len + num_code_blocks(len) * size_of::<f32>(),
        false => len * size_of::<f32>(),
    };
    2 * bytes as u64
}

fn has_codes(name: &str, len: usize, optim: Optim, modules: &Modules) -> bool {
    let is_embedding = || {
        let of_base = modules.find_parameter(base_name(name)).map(|parameter| modules.get(parameter.module));
        of_base.is_some_and(|module| matches!(module.kind, ModuleKind::Embedding { .. })) || PROMPTS.contains(&name)
    };
    optim == Optim::AdamW8bit && len >= MIN_8BIT_SIZE && !is_embedding()
}

/// Where everything is, and how long the flat buffers are.
#[derive(Default)]
struct Layout {
    pieces: Vec<Piece>,
    tensors: Vec<Kept>,
    f32: usize,
    codes: usize,
    absmax: usize,
}

impl Layout {
    /// One tensor more, of `len` parameters.
    fn add(&mut self, len: usize, has_codes: bool) {
        let start = self.pieces.last().map_or(0, |piece| piece.parameters.end);
        let parameters = start..start + len;
        let grow = |length: &mut usize, by: usize| {
            *length += by;
            *length - by..*length
        };
        let kept = match has_codes {
            true => {
                Kept::Codes { codes: grow(&mut self.codes, len), absmax: grow(&mut self.absmax, num_code_blocks(len)) }
            }
            false => Kept::F32(grow(&mut self.f32, len)),
        };
        self.tensors.push(kept.clone());
        match (self.pieces.last_mut(), &kept) {
            (Some(Piece { parameters: before, kept: Kept::F32(range) }), Kept::F32(own)) => {
                (before.end, range.end) = (parameters.end, own.end);
            }
            _ => self.pieces.push(Piece { parameters, kept }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(tensors: &[(&str, usize)], optim: Optim) -> Vec<(Range<usize>, Kept)> {
        let mut layout = Layout::default();
        tensors.iter().for_each(|(name, len)| layout.add(*len, has_codes(name, *len, optim, &Modules::default())));
        assert_eq!(layout.tensors.len(), tensors.len());
        layout.pieces.into_iter().map(|piece| (piece.parameters, piece.kept)).collect()
    }

    #[test]
    fn f32_is_one_piece() {
        let tensors = [("a", 10), ("b", 5000), ("c", 1)];
        assert_eq!(pieces(&tensors, Optim::AdamW), [(0..5011, Kept::F32(0..5011))]);
        assert_eq!(pieces(&[], Optim::AdamW), []);
    }

    #[test]
    fn large_tensors_have_codes_and_small_ones_are_taken_together() {
        let tensors = [("a", 4095), ("b", 1), ("c", 4096), ("d", 5000), ("e", 7), ("prompt_embeddings", 8192)];
        assert_eq!(
            pieces(&tensors, Optim::AdamW8bit),
            [
                (0..4096, Kept::F32(0..4096)),
                (4096..8192, Kept::Codes { codes: 0..4096, absmax: 0..16 }),
                (8192..13192, Kept::Codes { codes: 4096..9096, absmax: 16..36 }),
                (13192..21391, Kept::F32(4096..12295)),
            ]
        );
        let bytes = |name, len| moment_bytes(name, len, Optim::AdamW8bit, &Modules::default());
        assert_eq!((bytes("b", 1), bytes("d", 5000), bytes("prompt_embeddings", 8192)), (8, 10_160, 65_536));
    }
}
