//! A rotation as a configuration describes it, in either spelling: `rope_theta` beside `rope_scaling` (transformers 4), or
//! `rope_parameters` with everything in it (transformers 5).

use super::default::inverse_frequencies;
use super::{Dynamic, Frequencies, Linear, Llama3, Longrope, Yarn};
use crate::Result;
use crate::config::Keys;

/// One kind of rotation of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies.
    pub theta: f64,
    /// Channels of a head that are rotated, before an odd number of them is rounded up.
    pub dim: usize,
    /// How it is stretched to longer texts.
    pub scaling: RopeScaling,
}

/// Ways to stretch a rotation.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not stretched.
    Default,
    /// By a constant.
    Linear(Linear),
    /// By the length of the sequence.
    Dynamic(Dynamic),
    /// By parts of the spectrum, with a factor on attention.
    Yarn(Yarn),
    /// By searched factors for short and for long sequences.
    Longrope(Longrope),
    /// By parts of the spectrum.
    Llama3(Llama3),
}

const SUPPORTED: &str = "default, linear, dynamic, yarn, longrope and llama3";

const NO_ANGLES: &str = "with it and `rope_theta`, tokens would be rotated by angles that are no finite numbers";

/// What the keys beside `rope_parameters` say, or a family where they say nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RopeContext {
    /// The base, if the parameters give none.
    pub(crate) theta: f64,
    /// The rotated share of a head, if the parameters give none.
    pub(crate) partial_rotary_factor: f64,
    /// Whether the family can rotate a part of a head.
    pub(crate) partial: bool,
    /// Elements of a head.
    pub(crate) head_dim: usize,
    /// The longest text.
    pub(crate) max_position_embeddings: usize,
    /// The trained length; it has precedence over that of the parameters.
    pub(crate) original_max_position_embeddings: Option<usize>,
}

/// `rope_scaling`, else `rope_parameters`, else nothing; transformers prefers them in this order and takes an empty one
/// for none.
pub(crate) fn flat_parameters<'a>(keys: &Keys<'a>) -> Result<Keys<'a>> {
    for key in ["rope_scaling", "rope_parameters"] {
        if let Some(parameters) = keys.object(key)?.filter(|p| !p.is_empty()) {
            if let Some(layer_type) = ["full_attention", "sliding_attention"].into_iter().find(|t| parameters.has(t)) {
                let reason = "this family has one rotation for all layers";
                return Err(parameters.unsupported(layer_type, reason));
            }
            return Ok(parameters);
        }
    }
    Ok(keys.nothing("rope_parameters"))
}

impl RopeConfig {
    /// Reads the parameters of one rotation.
    pub(crate) fn read(keys: &Keys<'_>, context: RopeContext) -> Result<Self> {
        let theta = keys.positive("rope_theta", context.theta)?;
        let dim = rotated_channels(keys, &context)?;
        let max = context.max_position_embeddings;
        let original = match context.original_max_position_embeddings {
            Some(original) => original,
            None => keys.size("original_max_position_embeddings", max)?,
        };
        let name = if keys.has("rope_type") { "rope_type" } else { "type" };
        let scaling = match keys.text(name)? {
            None | Some("default") => RopeScaling::Default,
            Some("linear") => RopeScaling::Linear(Linear::read(keys)?),
            Some("dynamic") => RopeScaling::Dynamic(Dynamic::read(keys, dim, max)?),
            Some("yarn") => RopeScaling::Yarn(Yarn::read(keys, max, original)?),
            // "su" is what the first files of Phi-3 call it.
            Some("longrope" | "su") => RopeScaling::Longrope(Longrope::read(keys, dim, max, original)?),
            Some("llama3") => RopeScaling::Llama3(Llama3::read(keys, original)?),
            Some(_) => return Err(keys.refuse(name, format!("a rope type among {SUPPORTED}"))),
        };
        let rope = Self { theta, dim, scaling };
        if rope.has_finite_angles() { Ok(rope) } else { Err(keys.unsupported_together(NO_ANGLES)) }
    }

    /// Whether the rotation is one at every position, by the frequencies of short texts and by those of long ones.
    fn has_finite_angles(&self) -> bool {
        const FARTHEST: usize = 1 << 24;
        [0, FARTHEST].into_iter().map(|length| self.frequencies(length)).all(|frequencies| {
            let angles = frequencies.inv_freq.iter().map(|inv_freq| inv_freq * FARTHEST as f32);
            frequencies.attention_factor.is_finite() && angles.into_iter().all(f32::is_finite)
        })
    }

    /// Channels of a head that are rotated.
    pub fn rotary_dim(&self) -> usize {
        self.dim.next_multiple_of(2)
    }

    /// The frequencies of a sequence of `length` tokens.
    pub fn frequencies(&self, length: usize) -> Frequencies {
        let (theta, dim) = (self.theta, self.dim);
        match &self.scaling {
            RopeScaling::Default => Frequencies { inv_freq: inverse_frequencies(theta, dim), attention_factor: 1.0 },
            RopeScaling::Linear(linear) => linear.frequencies(theta, dim),
            RopeScaling::Dynamic(dynamic) => dynamic.frequencies(theta, dim, length),
            RopeScaling::Yarn(yarn) => yarn.frequencies(theta, dim),
            RopeScaling::Longrope(longrope) => longrope.frequencies(theta, dim, length),
            RopeScaling::Llama3(llama3) => llama3.frequencies(theta, dim),
        }
    }

    /// A number that is the same for two lengths exactly if their frequencies are.
    pub(crate) fn variant(&self, length: usize) -> usize {
        match &self.scaling {
            RopeScaling::Dynamic(dynamic) if length > dynamic.max_position_embeddings => length,
            RopeScaling::Longrope(longrope) if length > longrope.original_max_position_embeddings => 1,
            _ => 0,
        }
    }
}

fn rotated_channels(keys: &Keys<'_>, context: &RopeContext) -> Result<usize> {
    const KEY: &str = "partial_rotary_factor";
    let share = keys.positive(KEY, context.partial_rotary_factor)?;
    if !context.partial && share != 1.0 {
        return Err(keys.unsupported(KEY, "this family rotates whole heads"));
    }
    let dim = (context.head_dim as f64 * share) as usize;
    if dim == 0 || dim > context.head_dim || dim.next_multiple_of(2) > context.head_dim {
        let head_dim = context.head_dim;
        return Err(
            keys.refuse(KEY, format!("a share of the {head_dim} channels of a head that is 1 to {head_dim} of them"))
        );
    }
    Ok(dim)
}
