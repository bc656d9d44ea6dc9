//! The LoRA of two checkpoints: for each module the product of rank r that is nearest to what fine-tuning changed.
//!
//! ```text
//! W' - W = U S V^T,   B = U[:, :r] S[:r],   A = V[:, :r]^T,   scaling 1
//! ```
//!
//! Sources: Eckart and Young 1936, for the nearest product; Halko, Martinsson and Tropp 2011, "Finding structure with
//! randomness", for matrices that are too large to decompose whole.

use device::philox::Stream;
use model::{Module, ModuleKind};
use tensor::Layout;

use crate::PeftError;
use crate::low_rank::{self, Truncated};
use crate::save::transpose;
use crate::targets::kind_of;
use crate::updates::{LoraUpdate, UpdateKind};

/// Of a matrix whose smaller side is longer the singular vectors are iterated and not computed whole.
const LARGEST_WHOLE: usize = 512;

/// What of a module's change an update of its rank holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Retained {
    /// The module.
    pub module: String,
    /// Rank of the update.
    pub rank: usize,
    /// `|W' - W| / |W|` in the Frobenius norm.
    pub change: f64,
    /// Share of `|W' - W|^2` that the update has.
    pub energy: f64,
    /// `|W' - W - B A| / |W' - W|`.
    pub error: f64,
}

/// The update of rank `rank`, or of the most that the module's sizes allow, from `base` to `tuned`, values of its weight as
/// it is stored; `None` if there is no difference. Random vectors are drawn from the stream `site` of `seed`.
///
/// # Errors
/// [`PeftError::UnsupportedTarget`] for a norm; [`PeftError::NonFinite`]; [`PeftError::Combination`] if the singular values
/// cannot be computed.
pub fn extract(
    module: &Module,
    base: &[f32],
    tuned: &[f32],
    rank: usize,
    (seed, site): (u64, u32),
) -> Result<Option<(LoraUpdate, Retained)>, PeftError> {
    if let Some(element) = base.iter().zip(tuned).position(|(base, tuned)| !(base.is_finite() && tuned.is_finite())) {
        return Err(PeftError::NonFinite { tensor: format!("{}.weight", module.path), element });
    }
    // `[out, in]`, as the product lies; of an embedding `[dim, vocab]`.
    let (kind, outputs, stored_transposed) = match module.kind {
        ModuleKind::Linear { out_features, layout, .. } => (UpdateKind::Linear, out_features, layout == Layout::InOut),
        ModuleKind::Embedding { embedding_dim, .. } => (UpdateKind::Embedding, embedding_dim, true),
        ModuleKind::Norm { .. } | ModuleKind::Conv2d { .. } | ModuleKind::Parameter => {
            let (path, kind) = (module.path.clone(), kind_of(module));
            return Err(PeftError::UnsupportedTarget {
                module: path,
                kind,
                adaptable: "linear modules and embeddings",
            });
        }
    };
    let difference: Vec<f32> = tuned.iter().zip(base).map(|(tuned, base)| tuned - base).collect();
    let norm = |values: &[f32]| values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let (changed, whole) = (norm(&difference), norm(base));
    if changed == 0.0 {
        return Ok(None);
    }
    let difference = if stored_transposed { transpose(&difference, outputs) } else { difference };
    let inputs = difference.len() / outputs.max(1);
    let rank = rank.min(inputs).min(outputs);
    let Truncated { a, b, error } = if inputs.min(outputs) <= LARGEST_WHOLE {
        low_rank::of_matrix(&module.path, &difference, outputs, rank)?
    } else {
        low_rank::of_large_matrix(&module.path, &difference, outputs, rank, &Stream::new(seed, 0, site))?
    };
    let change = if whole > 0.0 { changed / whole } else { f64::INFINITY };
    let retained =
        Retained { module: module.path.clone(), rank, change, energy: (1.0 - error * error).max(0.0), error };
    let update = LoraUpdate { module: module.path.clone(), kind, rank, a, b, scaling: 1.0, magnitude: None };
    Ok(Some((update, retained)))
}
