//! Keys and values that an adapter sets before the tokens.

mod support;

use std::sync::Arc;

use support::{Recorded, grow_together, load, logits, relative_error, targets, variants};
use tensor::{Gradients, Tensor, backward, ops};
use tunesmith_model::{Adapter, Decoder, Input, Pass};

const VIRTUAL_TOKENS: usize = 3;

/// Prefixes of all blocks, computed from one trainable matrix, as a projected prefix is.
struct SharedPrefix {
    keys: Tensor,
    values: Tensor,
    trained: Tensor,
}

impl SharedPrefix {
    fn of(model: &Decoder) -> Self {
        let width = model.config().heads.key_value_size();
        let values: Vec<f32> = (0..VIRTUAL_TOKENS * width).map(|i| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0).collect();
        let trained = Tensor::leaf([VIRTUAL_TOKENS, width], &values).unwrap();
        let scaled = |factor| ops::scale(&trained, factor).unwrap();
        Self { keys: scaled(0.5), values: scaled(-0.25), trained }
    }
}

impl Adapter for SharedPrefix {
    fn prefix(&self, _layer: usize) -> tensor::Result<Option<(Tensor, Tensor)>> {
        Ok(Some((self.keys.clone(), self.values.clone())))
    }

    fn position_offset(&self) -> u32 {
        VIRTUAL_TOKENS as u32
    }
}

#[test]
fn a_prefix_changes_every_logit_and_is_not_cached_twice() {
    for variant in variants() {
        let (model, ids) = (load(&variant), Recorded::of(&variant).input_ids(1));
        let pass = Pass::evaluation(Arc::new(SharedPrefix::of(&model)));
        let whole = logits(&model, &[&ids], &pass);
        assert!(relative_error(&whole, &logits(&model, &[&ids], &Pass::base())) > 1e-3, "{variant}");

        let mut cache = model.new_cache().unwrap();
        let mut cached = Vec::new();
        for part in ids.chunks(4) {
            let hidden = model.forward_cached(&mut cache, &[part], &pass).unwrap();
            cached.extend(model.logits(&hidden, &pass).unwrap().to_vec());
        }
        // Where frequencies depend on the length, logits of earlier tokens change as the text grows: the last ones count.
        let last = whole.len() - 3 * model.config().vocab_size;
        assert!(relative_error(&cached[last..], &whole[last..]) <= 1e-5, "{variant}");
    }
}

#[test]
fn texts_in_one_cache_see_the_prefix() {
    for variant in variants() {
        let (model, ids) = (load(&variant), Recorded::of(&variant).input_ids(1));
        let pass = Pass::evaluation(Arc::new(SharedPrefix::of(&model)));
        grow_together(&model, &ids, &pass, &variant);
    }
}

#[test]
fn gradients_reach_what_prefixes_are_computed_from() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), Recorded::of(&variant));
        let targets = targets(&recorded.integers("labels.1"));
        let gradient = |gradient_checkpointing| {
            let adapter = Arc::new(SharedPrefix::of(&model));
            let trained = adapter.trained.clone();
            let pass = Pass { gradient_checkpointing, ..Pass::evaluation(adapter) };
            let mut gradients = Gradients::new([&trained]).unwrap();
            let input = Input::from_sequences(&[&recorded.input_ids(1)]).unwrap();
            let loss = model.loss(&model.forward(&input, &pass).unwrap(), &targets, &pass).unwrap();
            backward(&loss, 1.0, &mut gradients).unwrap();
            gradients.of(&trained).unwrap().to_vec()
        };
        let kept = gradient(false);
        // Where blocks see a window, the first virtual tokens may have left it before a token is trained on.
        let windowed = model.config().layers.iter().any(|layer| layer.window.is_some());
        let reached = kept.iter().filter(|g| **g != 0.0).count();
        assert!(if windowed { reached > 0 } else { reached == kept.len() }, "{variant}");
        assert!(kept == gradient(true), "{variant}");
    }
}
