//! Embeddings that an adapter sets before the tokens.

mod support;

use std::sync::{Arc, Mutex};

use support::{Recorded, grow_together, load, logits, relative_error, variants};
use tensor::ops::EmbeddingOptions;
use tensor::{Gradients, Tensor, backward, no_grad};
use tunesmith_model::{Adapter, Context, Decoder, Input, ModuleId, NoAdapter, Pass};

/// Tokens whose embeddings make up the prompt.
const TOKENS: [u32; 3] = [9, 4, 30];

/// A trainable prompt.
struct Prompt(Tensor);

impl Prompt {
    /// The embeddings of [`TOKENS`], as the model computes them.
    fn of(model: &Decoder) -> Self {
        struct Embeddings(Mutex<Option<Tensor>>);
        impl Adapter for Embeddings {
            fn embedding(
                &self,
                id: ModuleId,
                ids: &Arc<[u32]>,
                table: &Tensor,
                options: EmbeddingOptions,
                context: &Context,
            ) -> tensor::Result<Tensor> {
                let rows = NoAdapter.embedding(id, ids, table, options, context)?;
                self.0.lock().unwrap().get_or_insert(rows.clone());
                Ok(rows)
            }
        }
        let seen = Arc::new(Embeddings(Mutex::new(None)));
        let pass = Pass::evaluation(Arc::clone(&seen) as Arc<dyn Adapter>);
        no_grad(|| model.forward(&Input::from_sequences(&[&TOKENS]).unwrap(), &pass)).unwrap();
        let rows = seen.0.lock().unwrap().take().unwrap();
        Self(Tensor::leaf(rows.shape(), &rows.to_vec()).unwrap())
    }
}

impl Adapter for Prompt {
    fn prompt(&self) -> tensor::Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }

    fn prompt_len(&self) -> usize {
        TOKENS.len()
    }
}

#[test]
fn a_prompt_of_token_embeddings_is_those_tokens() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), Recorded::of(&variant));
        let pass = Pass::evaluation(Arc::new(Prompt::of(&model)));
        let (a, b) = (recorded.input_ids(0), recorded.input_ids(1));
        let spelled = [[&TOKENS[..], &a].concat(), [&TOKENS[..], &b].concat()];
        let expected = logits(&model, &[&spelled[0], &spelled[1]], &Pass::base());
        assert!(logits(&model, &[&a, &b], &pass) == expected, "{variant}");
    }
}

#[test]
fn a_cached_text_after_a_prompt_is_computed_as_if_at_once() {
    for variant in variants() {
        let (model, ids) = (load(&variant), Recorded::of(&variant).input_ids(1));
        let pass = Pass::evaluation(Arc::new(Prompt::of(&model)));
        let vocab = model.config().vocab_size;
        let mut cache = model.new_cache().unwrap();
        let mut done = 0;
        for step in [4, 1, 1, 7, 2] {
            let hidden = model.forward_cached(&mut cache, &[&ids[done..done + step]], &pass).unwrap();
            assert_eq!(hidden.shape()[0], step, "{variant}");
            done += step;
            let cached = model.logits(&hidden, &pass).unwrap().to_vec();
            let whole = logits(&model, &[&ids[..done]], &pass);
            let expected = &whole[(TOKENS.len() + done - step) * vocab..];
            // The same sums over the same numbers, cut at other places: a few roundings.
            assert!(relative_error(&cached, expected) <= 1e-5, "{variant}: {done} tokens");
        }
    }
}

#[test]
fn texts_in_one_cache_have_a_prompt_each() {
    for variant in variants() {
        let (model, ids) = (load(&variant), Recorded::of(&variant).input_ids(1));
        let pass = Pass::evaluation(Arc::new(Prompt::of(&model)));
        grow_together(&model, &ids, &pass, &variant);
    }
}

#[test]
fn the_gradient_of_a_prompt_survives_recomputation_and_points_where_the_loss_falls() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), Recorded::of(&variant));
        let (a, b) = (recorded.input_ids(0), recorded.input_ids(1));
        // The last row of the prompt predicts the first token.
        let target = |ids: &[u32]| {
            let tokens = ids.iter().map(|&id| i64::from(id));
            [-100, -100].into_iter().chain(tokens).chain([-100]).collect::<Vec<i64>>()
        };
        let targets = [target(&a), target(&b)].concat();
        let run = |prompt: Tensor, gradient_checkpointing| {
            let adapter = Arc::new(Prompt(prompt.clone()));
            let pass = Pass { gradient_checkpointing, ..Pass::evaluation(adapter) };
            let mut gradients = Gradients::new([&prompt]).unwrap();
            let hidden = model.forward(&Input::from_sequences(&[&a, &b]).unwrap(), &pass).unwrap();
            let loss = model.loss(&hidden, &targets, &pass).unwrap();
            backward(&loss, 1.0, &mut gradients).unwrap();
            (loss.item().unwrap(), gradients.of(&prompt).unwrap().to_vec())
        };
        let prompt = Prompt::of(&model).0;
        let (loss, gradient) = run(prompt.clone(), false);
        assert!(run(prompt.clone(), true) == (loss, gradient.clone()), "{variant}");
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        let step = 1e-2 / norm;
        let moved: Vec<f32> =
            prompt.to_vec().iter().zip(&gradient).map(|(p, g)| p - (step * f64::from(*g)) as f32).collect();
        let fallen = f64::from(loss - run(Tensor::leaf(prompt.shape(), &moved).unwrap(), false).0);
        // First order: the curvature over the step and the rounding of two losses of about 100 stay.
        assert!(
            (fallen - 1e-2 * norm).abs() <= 0.2 * 1e-2 * norm,
            "{variant}: fell by {fallen}, expected {}",
            1e-2 * norm
        );
    }
}

#[test]
fn a_prompt_of_another_width_is_refused() {
    let model = load("llama");
    let narrow = Tensor::from_f32([1, 3], &[0.0; 3]).unwrap();
    let refused = model.forward(&Input::from_sequences(&[&[1]]).unwrap(), &Pass::evaluation(Arc::new(Prompt(narrow))));
    assert!(refused.unwrap_err().to_string().contains("prepend: `x` has shape"), "a prompt 3 wide");
}
