//! Where the outputs of the parts of a block join the hidden states, an adapter may change them.

mod support;

use std::sync::{Arc, Mutex};

use support::{Recorded, load, logits, relative_error, targets, variants};
use tensor::{Gradients, Tensor, backward, ops};
use tunesmith_model::{Adapter, Context, Input, Join, Part, Pass, ResidualId};

/// Scales what is added at every connection: `y = residual + factor * output`.
struct Scaled(f32);

impl Adapter for Scaled {
    fn residual(&self, _id: ResidualId, join: Join<'_>, _context: &Context) -> tensor::Result<Tensor> {
        join.finish(&ops::scale(join.output, self.0)?)
    }
}

/// Adds one trained row to the output of one connection.
struct Shifted {
    at: ResidualId,
    row: Tensor,
}

impl Adapter for Shifted {
    fn residual(&self, id: ResidualId, join: Join<'_>, _context: &Context) -> tensor::Result<Tensor> {
        if id != self.at {
            return join.finish(join.output);
        }
        let ids: Arc<[u32]> = vec![0; join.output.shape()[0]].into();
        join.finish(&ops::add(join.output, &ops::embedding(&ids, &self.row, Default::default())?)?)
    }
}

/// Whether each connection's input is also what the output is added to.
#[derive(Default)]
struct Watched(Mutex<Vec<(usize, bool)>>);

impl Adapter for Watched {
    fn residual(&self, id: ResidualId, join: Join<'_>, _context: &Context) -> tensor::Result<Tensor> {
        assert!(join.norm.is_none() && join.normed(join.input)?.to_vec() == join.input.to_vec());
        self.0.lock().unwrap().push((id.index(), join.input.to_vec() == join.residual.to_vec()));
        join.finish(join.output)
    }
}

#[test]
fn every_block_has_two_connections_in_model_order() {
    for variant in variants() {
        let model = load(&variant);
        let found: Vec<_> = model.base().modules().residuals().map(|r| (r.layer, r.part, r.size)).collect();
        let size = model.config().hidden_size;
        let expected =
            (0..model.base().dimensions().num_layers).flat_map(|l| [(l, Part::Attention, size), (l, Part::Mlp, size)]);
        assert_eq!(found, expected.collect::<Vec<_>>(), "{variant}");
        let first = model.base().modules().residuals().next().unwrap();
        assert!(
            model.base().modules().iter().any(|module| module.path.starts_with(&format!("{}.", first.path))),
            "{variant}"
        );

        let watched = Arc::new(Watched::default());
        logits(&model, &[&Recorded::of(&variant).input_ids(0)], &Pass::evaluation(watched.clone()));
        let parallel = variant.starts_with("gpt_neox") && !variant.contains("sequential");
        let expected: Vec<_> =
            found.iter().enumerate().map(|(i, r)| (i, !parallel || r.1 == Part::Attention)).collect();
        assert_eq!(*watched.0.lock().unwrap(), expected, "{variant}");
    }
}

#[test]
fn without_any_output_tokens_do_not_see_each_other() {
    for variant in variants() {
        let (model, ids) = (load(&variant), Recorded::of(&variant).input_ids(1));
        let last = |ids: &[u32], factor| {
            let logits = logits(&model, &[ids], &Pass::evaluation(Arc::new(Scaled(factor))));
            logits[logits.len() - model.config().vocab_size..].to_vec()
        };
        let mut others = ids.clone();
        let neighbour = &mut others[ids.len() - 2];
        *neighbour = if *neighbour == 3 { 4 } else { 3 };
        assert_eq!(last(&ids, 0.0), last(&others, 0.0), "{variant}");
        assert!(relative_error(&last(&ids, 1.0), &last(&others, 1.0)) > 1e-4, "{variant}");
        let base = logits(&model, &[&ids], &Pass::base());
        assert_eq!(last(&ids, 1.0), base[base.len() - model.config().vocab_size..], "{variant}");
    }
}

#[test]
fn gradients_reach_what_a_connection_adds() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), Recorded::of(&variant));
        let targets = targets(&recorded.integers("labels.1"));
        let size = model.config().hidden_size;
        for residual in model.base().modules().residuals() {
            let gradient = |gradient_checkpointing| {
                let row = Tensor::leaf([1, size], &vec![0.0; size]).unwrap();
                let adapter = Arc::new(Shifted { at: residual.id, row: row.clone() });
                let pass = Pass { gradient_checkpointing, ..Pass::evaluation(adapter) };
                let mut gradients = Gradients::new([&row]).unwrap();
                let input = Input::from_sequences(&[&recorded.input_ids(1)]).unwrap();
                let loss = model.loss(&model.forward(&input, &pass).unwrap(), &targets, &pass).unwrap();
                backward(&loss, 1.0, &mut gradients).unwrap();
                gradients.of(&row).unwrap().to_vec()
            };
            let kept = gradient(false);
            assert!(kept.iter().all(|g| *g != 0.0), "{variant} {residual:?}");
            assert!(kept == gradient(true), "{variant} {residual:?}");
        }
    }
}
