//! That an adapter computes the same after it was saved and read, and merged.

use std::sync::Arc;

use checkpoint::Storage;
use device::DType;
use model::{Decoder, Pass};
use tunesmith_peft::{Method, open, save};

use super::{assert_close, batch, data, logits, merge_into, pass};

/// Adapted and merged models add the same numbers in another order: sums of at most a few hundred terms, each rounded to 6e-8. Random
/// adapters are up to four times as strong as the weights beside them, and each of two blocks magnifies what reaches it by as much.
const MERGED: f32 = 2e-5 * 16.0;

/// Asserts it of `method` on the model in `folder`.
pub(crate) fn assert_kept(folder: &str, model: &Decoder, method: &Arc<dyn Method>) {
    let adapted = logits(model, &batch().input, &pass(method));
    let dir = tempfile::tempdir().unwrap();
    save(&**method, &Storage, dir.path()).unwrap();
    let (opened, _) = open(dir.path(), model.base()).unwrap();
    assert_eq!(logits(model, &batch().input, &pass(&opened)), adapted);
    assert_eq!(opened.config_text(), method.config_text());

    std::fs::copy(data(folder).join("config.json"), dir.path().join("config.json")).unwrap();
    merge_into(&**method, model, dir.path()).unwrap();
    let merged = Decoder::load(dir.path(), DType::F32).unwrap();
    assert_close(folder, &logits(&merged, &batch().input, &Pass::base()), &adapted, MERGED);
}
