//! Which blocks look at a window of the text only.

use super::Keys;
use crate::Result;

/// What one block attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerType {
    /// All tokens before.
    Full,
    /// The last `sliding_window` of them.
    Sliding,
}

impl LayerType {
    /// `layer_types`, or where the file has none what `rule` says of each block.
    pub(crate) fn read(keys: &Keys<'_>, num_layers: usize, rule: impl Fn(usize) -> Self) -> Result<Vec<Self>> {
        const KEY: &str = "layer_types";
        let Some(names) = keys.texts(KEY)? else { return Ok((0..num_layers).map(rule).collect()) };
        if names.len() != num_layers {
            return Err(keys.refuse(KEY, format!("{num_layers} names, one for each block")));
        }
        let parse = |name: &str| match name {
            "full_attention" => Ok(LayerType::Full),
            "sliding_attention" => Ok(LayerType::Sliding),
            _ => Err(keys.refuse(KEY, "a list of `full_attention` and `sliding_attention`")),
        };
        names.into_iter().map(parse).collect()
    }

    /// The window of a block of this type.
    pub(crate) fn window(self, keys: &Keys<'_>, sliding_window: Option<usize>) -> Result<Option<usize>> {
        match (self, sliding_window) {
            (LayerType::Full, _) => Ok(None),
            (LayerType::Sliding, Some(window)) => Ok(Some(window)),
            (LayerType::Sliding, None) => {
                Err(keys.refuse("sliding_window", "a window, because `layer_types` names `sliding_attention`"))
            }
        }
    }
}
