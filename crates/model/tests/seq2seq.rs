//! Encoder-decoders compute what transformers computes, packed, cached and computed again.

mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::DType;
use support::{Recorded, data, relative_error};
use tensor::{Gradients, Tensor, backward};
use tunesmith_model::{Adapter, EncoderDecoder, EncoderDecoderConfig, Input, ParameterId, Pass};

/// Roundings of f32, as in `golden.rs`. Scores are not scaled and reach some 30, where a rounding changes a probability by
/// 2e-6 of itself: transformers' own f32 is up to 5e-6 from its f64. A wrong bucket, scale or epsilon shows above 1e-3.
const TOLERANCE: f32 = 2e-5;

fn variants() -> Vec<String> {
    let entries = std::fs::read_dir(data("seq2seq")).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 10, "the reference data is not complete: {names:?}");
    names
}

fn folder(variant: &str) -> PathBuf {
    data("seq2seq").join(variant)
}

fn load(variant: &str) -> EncoderDecoder {
    EncoderDecoder::load(&folder(variant), DType::F32).unwrap_or_else(|error| panic!("{variant}: {error}"))
}

fn recorded(variant: &str) -> Recorded {
    Recorded::open(folder(variant).join("io.safetensors"))
}

/// Rows of one batch.
struct Rows {
    input: Input,
    labels: Vec<i64>,
    decoder_input: Input,
}

impl Rows {
    fn new(model: &EncoderDecoder, recorded: &Recorded, rows: &[usize]) -> Self {
        let ids: Vec<Vec<u32>> = rows.iter().map(|&i| recorded.input_ids(i)).collect();
        let labels: Vec<Vec<i64>> = rows.iter().map(|&i| recorded.integers(&format!("labels.{i}"))).collect();
        let mut ends = vec![0];
        labels.iter().for_each(|row| ends.push(ends[ends.len() - 1] + row.len() as u32));
        let labels = labels.concat();
        let decoder_input = model.decoder_input(&labels, &ends).unwrap();
        let input = Input::from_sequences(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        Self { input, labels, decoder_input }
    }

    fn logits(&self, model: &EncoderDecoder, pass: &Pass) -> Vec<f32> {
        let hidden = model.forward(&self.input, &self.decoder_input, pass).unwrap();
        model.logits(&hidden, pass).unwrap().to_vec()
    }

    /// The mean loss.
    fn loss(&self, model: &EncoderDecoder, pass: &Pass) -> f32 {
        let hidden = model.forward(&self.input, &self.decoder_input, pass).unwrap();
        let sum = model.loss(&hidden, &self.labels, pass).unwrap().item().unwrap();
        sum / self.num_supervised()
    }

    fn num_supervised(&self) -> f32 {
        self.labels.iter().filter(|&&label| label != -100).count() as f32
    }
}

#[test]
fn logits_and_losses_are_those_of_transformers() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), recorded(&variant), Pass::base());
        for i in 0..2 {
            let rows = Rows::new(&model, &recorded, &[i]);
            let error = relative_error(&rows.logits(&model, &pass), &recorded.floats(&format!("logits.{i}")));
            println!("{variant}: logits.{i} differ by {error:.1e}");
            assert!(error <= TOLERANCE, "{variant}: logits.{i} differ by {error:.1e}");
            let error = relative_error(&[rows.loss(&model, &pass)], &recorded.floats(&format!("loss.{i}")));
            assert!(error <= TOLERANCE, "{variant}: loss.{i} differs by {error:.1e}");
        }
        // Packed, against a padded batch.
        let loss = Rows::new(&model, &recorded, &[0, 1]).loss(&model, &pass);
        assert!(relative_error(&[loss], &recorded.floats("loss")) <= TOLERANCE, "{variant}: {loss}");
    }
}

#[test]
fn the_spelling_of_transformers_4_means_the_same_model() {
    for variant in variants() {
        let path = folder(&variant).join("config.v4.json");
        let old = EncoderDecoderConfig::from_json(&path, &checkpoint::read_json(&path, 1 << 20).unwrap()).unwrap();
        assert_eq!(format!("{old:?}"), format!("{:?}", EncoderDecoderConfig::read(&folder(&variant)).unwrap()));
        let checkpoint = Checkpoint::open(folder(&variant)).unwrap();
        let (model, recorded) =
            (EncoderDecoder::from_checkpoint(old, &checkpoint, DType::F32).unwrap(), recorded(&variant));
        let logits = Rows::new(&model, &recorded, &[1]).logits(&model, &Pass::base());
        assert!(relative_error(&logits, &recorded.floats("logits.1")) <= TOLERANCE, "{variant}");
    }
}

#[test]
fn greedy_generation_is_that_of_transformers() {
    for variant in variants() {
        let (model, recorded, pass) = (load(&variant), recorded(&variant), Pass::base());
        for i in 0..2 {
            let expected = recorded.integers(&format!("generated.{i}"));
            let mut cache = model.new_cache().unwrap();
            model.start(&mut cache, &[&recorded.input_ids(i)], &pass).unwrap();
            let mut token = model.config().decoder_start_token_id;
            let mut generated = vec![i64::from(token)];
            while generated.len() < expected.len() {
                let hidden = model.forward_cached(&mut cache, &[&[token]], &pass).unwrap();
                let logits = model.logits(&hidden, &pass).unwrap().to_vec();
                token = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32;
                generated.push(i64::from(token));
            }
            assert_eq!(generated, expected, "{variant}: generated.{i}");
        }
    }
}

#[test]
fn a_cached_text_is_computed_as_if_at_once() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), recorded(&variant));
        for pass in [Pass::base(), Pass::evaluation(Arc::new(Virtual::of(&model)))] {
            let rows = Rows::new(&model, &recorded, &[1]);
            let whole = rows.logits(&model, &pass);
            let mut cache = model.new_cache().unwrap();
            model.start(&mut cache, &[&rows.input.input_ids], &pass).unwrap();
            let mut cached = Vec::new();
            for part in rows.decoder_input.input_ids.chunks(4) {
                let hidden = model.forward_cached(&mut cache, &[part], &pass).unwrap();
                cached.extend(model.logits(&hidden, &pass).unwrap().to_vec());
            }
            // The same sums over the same numbers, cut at other places: a few roundings.
            assert!(relative_error(&cached, &whole) <= 1e-5, "{variant}");
        }
    }
}

#[test]
fn texts_in_one_cache_are_computed_as_if_alone() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), recorded(&variant));
        for pass in [Pass::base(), Pass::evaluation(Arc::new(Virtual::of(&model)))] {
            let rows = [0, 1].map(|i| Rows::new(&model, &recorded, &[i]));
            let whole = rows.each_ref().map(|rows| rows.logits(&model, &pass));
            let vocab = whole[0].len() / rows[0].labels.len();
            let new = |row: usize, range: Range<usize>| &rows[row].decoder_input.input_ids[range];
            let mut cache = model.new_cache().unwrap();
            let hold = |cached: &Tensor, expected: [(usize, Range<usize>); 2]| {
                let expected =
                    expected.map(|(row, range)| &whole[row][range.start * vocab..range.end * vocab]).concat();
                // The same sums over the same numbers, cut at other places: a few roundings.
                let error = relative_error(&model.logits(cached, &pass).unwrap().to_vec(), &expected);
                assert!(error <= 1e-5, "{variant}: {error:.1e}");
            };
            model.start(&mut cache, &[&rows[1].input.input_ids], &pass).unwrap();
            let hidden = model.forward_cached(&mut cache, &[new(1, 0..2)], &pass).unwrap();
            hold(&hidden, [(1, 0..2), (0, 0..0)]);
            // Another begins while the first waits; then both go on, and the first makes way for a third.
            model.start(&mut cache, &[&[], &rows[0].input.input_ids], &pass).unwrap();
            let hidden = model.forward_cached(&mut cache, &[&[], new(0, 0..1)], &pass).unwrap();
            hold(&hidden, [(1, 0..0), (0, 0..1)]);
            let hidden = model.forward_cached(&mut cache, &[new(1, 2..3), new(0, 1..3)], &pass).unwrap();
            hold(&hidden, [(1, 2..3), (0, 1..3)]);
            model.start(&mut cache, &[&rows[0].input.input_ids], &pass).unwrap();
            let hidden = model.forward_cached(&mut cache, &[new(0, 0..3), new(0, 3..4)], &pass).unwrap();
            hold(&hidden, [(0, 0..3), (0, 3..4)]);
        }
        let (mut cache, pass) = (model.new_cache().unwrap(), Pass::base());
        assert!(model.forward_cached(&mut cache, &[&[1]], &pass).is_err(), "{variant}: nothing was encoded");
    }
}

#[test]
fn a_packed_row_is_computed_as_if_alone() {
    for variant in variants() {
        let (model, recorded) = (load(&variant), recorded(&variant));
        for pass in [Pass::base(), Pass::evaluation(Arc::new(Virtual::of(&model)))] {
            let logits = |rows: &[usize]| Rows::new(&model, &recorded, rows).logits(&model, &pass);
            let (packed, alone) = (logits(&[1, 0, 1]), [logits(&[1]), logits(&[0]), logits(&[1])].concat());
            // Products of at most eight rows, those of the short row alone, add up in another order.
            assert!(relative_error(&packed, &alone) <= 1e-5, "{variant}");
            let long = logits(&[1]);
            assert!(logits(&[1, 1]) == [&long[..], &long[..]].concat(), "{variant}");
        }
    }
}

/// A prompt for the encoder and prefixes for the decoder, from one trainable matrix each.
struct Virtual {
    prompt: Tensor,
    keys: Tensor,
    values: Tensor,
}

impl Virtual {
    fn of(model: &EncoderDecoder) -> Self {
        let leaf = |rows: usize, columns: usize, step: usize| {
            let values: Vec<f32> = (0..rows * columns).map(|i| ((i * step + 3) % 11) as f32 / 5.0 - 1.0).collect();
            Tensor::leaf([rows, columns], &values).unwrap()
        };
        let config = model.config();
        let columns = config.heads.key_value_size();
        Self { prompt: leaf(3, config.hidden_size, 7), keys: leaf(2, columns, 5), values: leaf(2, columns, 9) }
    }
}

impl Adapter for Virtual {
    fn prefix(&self, layer: usize) -> tensor::Result<Option<(Tensor, Tensor)>> {
        // The first block alone has none: how many there are may differ from block to block.
        Ok((layer > 0).then(|| (self.keys.clone(), self.values.clone())))
    }

    fn prompt(&self) -> tensor::Result<Option<Tensor>> {
        Ok(Some(self.prompt.clone()))
    }

    fn prompt_len(&self) -> usize {
        self.prompt.shape()[0]
    }
}

#[test]
fn prompts_and_prefixes_are_trained_through_both_sides() {
    for variant in variants().into_iter().filter(|variant| variant != "t5-layers") {
        let (model, recorded) = (load(&variant), recorded(&variant));
        let rows = Rows::new(&model, &recorded, &[0, 1]);
        let gradients = |gradient_checkpointing| {
            let adapter = Arc::new(Virtual::of(&model));
            let leaves = [adapter.prompt.clone(), adapter.keys.clone(), adapter.values.clone()];
            let pass = Pass { gradient_checkpointing, ..Pass::evaluation(adapter) };
            let mut gradients = Gradients::new(&leaves).unwrap();
            let hidden = model.forward(&rows.input, &rows.decoder_input, &pass).unwrap();
            backward(&model.loss(&hidden, &rows.labels, &pass).unwrap(), 1.0, &mut gradients).unwrap();
            leaves.map(|leaf| gradients.of(&leaf).unwrap().to_vec())
        };
        let kept = gradients(false);
        assert!(kept.iter().flatten().all(|g| *g != 0.0), "{variant}");
        assert!(kept == gradients(true), "{variant}");
    }
}

/// Trains every parameter of the base; those that are tied are one.
struct EveryParameter(HashMap<ParameterId, Tensor>);

impl EveryParameter {
    fn of(model: &EncoderDecoder) -> Self {
        let mut leaves: HashMap<ParameterId, Tensor> = HashMap::new();
        for parameter in model.base().modules().parameters() {
            let values = model.base().parameter(parameter.id).unwrap().to_vec();
            let own = || Tensor::leaf(&parameter.shape[..], &values).unwrap();
            let leaf = parameter.tied_to.map_or_else(own, |original| leaves[&original].clone());
            leaves.insert(parameter.id, leaf);
        }
        Self(leaves)
    }
}

impl Adapter for EveryParameter {
    fn parameter(&self, id: ParameterId) -> Option<&Tensor> {
        self.0.get(&id)
    }
}

#[test]
fn gradients_of_every_parameter_are_those_of_transformers() {
    let mut compared = 0;
    for variant in variants() {
        let (model, recorded) = (load(&variant), recorded(&variant));
        let rows = Rows::new(&model, &recorded, &[0, 1]);
        let adapter = Arc::new(EveryParameter::of(&model));
        let parameters = model.base().modules().parameters().filter(|p| p.tied_to.is_none());
        let leaves: Vec<(&str, Tensor)> = parameters.map(|p| (p.name.as_str(), adapter.0[&p.id].clone())).collect();
        let gradients = |gradient_checkpointing| {
            let mut gradients = Gradients::new(leaves.iter().map(|(_, leaf)| leaf)).unwrap();
            let pass = Pass { gradient_checkpointing, ..Pass::evaluation(adapter.clone()) };
            let hidden = model.forward(&rows.input, &rows.decoder_input, &pass).unwrap();
            let loss = model.loss(&hidden, &rows.labels, &pass).unwrap();
            backward(&loss, 1.0 / rows.num_supervised(), &mut gradients).unwrap();
            gradients
        };
        let (kept, again) = (gradients(false), gradients(true));
        for (name, leaf) in &leaves {
            let gradient = kept.of(leaf).unwrap();
            assert!(gradient == again.of(leaf).unwrap(), "{variant}: {name} with gradient checkpointing");
            if let Some(expected) = recorded.optional_floats(&format!("grad.{name}")) {
                let error = relative_error(gradient, &expected);
                // Sums of a few dozen terms that cancel in part, after as many products as the logits.
                assert!(error <= 2e-5, "{variant}: {name} differs by {error:.1e}");
                compared += 1;
            }
        }
        assert_eq!(recorded.names("grad.").len() % leaves.len(), 0, "{variant}: gradients that nothing here has");
    }
    assert!(compared > 100);
}

/// The `config.json` of the plain T5 with `key` set, or removed where `value` is null.
fn refused(key: &str, value: serde_json::Value) -> String {
    let path = folder("t5").join("config.json");
    let mut json: serde_json::Map<String, serde_json::Value> = checkpoint::read_json(&path, 1 << 20).unwrap();
    match value {
        serde_json::Value::Null => json.remove(key),
        value => json.insert(key.to_owned(), value),
    };
    match EncoderDecoderConfig::from_json(&path, &json) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{key} was accepted"),
    }
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    use serde_json::json;
    for (key, value, expected) in [
        ("model_type", json!("llama"), "decoders are for task_type CAUSAL_LM"),
        ("model_type", json!("bert"), "encoders are for task_type SEQ_CLS or TOKEN_CLS"),
        ("model_type", json!(null), "one of mt5, t5"),
        ("decoder_start_token_id", json!(null), "`decoder_start_token_id` is missing"),
        ("decoder_start_token_id", json!(51), "a token below the size of the vocabulary, 51"),
        ("feed_forward_proj", json!("swiglu-gelu"), "an activation, or `gated-` before one"),
        ("dense_act_fn", json!("gelu-new"), "`dense_act_fn`"),
        ("relative_attention_num_buckets", json!(3), "at least 2 buckets for each direction"),
        ("relative_attention_num_buckets", json!(1 << 20), "at most 65536"),
        ("relative_attention_max_distance", json!(2), "a distance above half of them"),
        ("num_decoder_layers", json!(1_000_000), "at most 4096"),
        ("d_kv", json!(1 << 20), "at most 349525"),
        ("d_model", json!(0), "a whole number from 1 to"),
    ] {
        let message = refused(key, value.clone());
        assert!(message.contains(expected), "{key} = {value}: {message}");
    }
}

#[test]
fn inputs_that_do_not_belong_to_the_model() {
    let (model, pass) = (load("t5"), Pass::base());
    let error = model.decoder_input(&[3, 51], &[0, 2]).unwrap_err().to_string();
    assert_eq!(error, "label 1 of the batch is 51, expected a token below 51 or -100, which is not trained on");
    assert!(model.decoder_input(&[3], &[0, 2]).is_err());
    let input = |sequences: &[&[u32]]| Input::from_sequences(sequences).unwrap();
    assert!(model.forward(&input(&[&[51]]), &input(&[&[0]]), &pass).is_err());
    // A row of the decoder without one of the encoder.
    assert!(model.forward(&input(&[&[5]]), &input(&[&[0], &[0]]), &pass).is_err());
    let empty = model.decoder_input(&[], &[0, 0]).unwrap();
    assert_eq!(model.forward(&input(&[&[5]]), &empty, &pass).unwrap().shape(), [0, 24]);
}
