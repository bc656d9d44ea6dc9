//! Encoders and classifiers compute what transformers computes.

mod support;

use std::path::Path;

use checkpoint::Checkpoint;
use device::DType;
use serde_json::{Map, Value, json};
use support::{Recorded, data, relative_error};
use tunesmith_model::{
    Classifier, ClassifierConfig, DecoderConfig, Encoder, EncoderConfig, Input, ModelError, Pass, TaskHead,
};

/// Both compute in f32 and add up in another order: a few roundings for each of some ten products of depth 24 to 40. The
/// worst of all variants is below 1e-6; a wrong position, epsilon or head shows above 1e-3.
const TOLERANCE: f32 = 3e-6;

const CLASSIFIERS: [&str; 10] = [
    "bert",
    "bert-first-files",
    "bert-token",
    "roberta",
    "roberta-token",
    "xlm-roberta",
    "distilbert",
    "distilbert-token",
    "llama",
    "gpt2",
];

fn head(variant: &str) -> TaskHead {
    let num_labels = ClassifierConfig::read(&data("encoders").join(variant)).unwrap().labels.len();
    if variant.ends_with("-token") {
        TaskHead::TokenClassification { num_labels }
    } else {
        TaskHead::SequenceClassification { num_labels }
    }
}

fn classifier(variant: &str) -> Classifier {
    Classifier::load(&data("encoders").join(variant), head(variant), DType::F32, 1)
        .unwrap_or_else(|error| panic!("{variant}: {error}"))
}

fn recorded(variant: &str) -> Recorded {
    Recorded::open(data("encoders").join(variant).join("io.safetensors"))
}

/// Recorded sequences packed together, with their parts.
fn input(variant: &str, sequences: &[usize]) -> Input {
    let recorded = recorded(variant);
    let ids: Vec<Vec<u32>> = sequences.iter().map(|&i| recorded.input_ids(i)).collect();
    let input = Input::from_sequences(&ids.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    if !variant.starts_with("bert") {
        return input;
    }
    let types = sequences.iter().flat_map(|i| recorded.integers(&format!("token_type_ids.{i}")));
    input.with_token_type_ids(&types.map(|kind| kind as u32).collect::<Vec<_>>()).unwrap()
}

#[test]
fn scores_are_those_of_transformers() {
    for variant in CLASSIFIERS {
        let (model, recorded, pass) = (classifier(variant), recorded(variant), Pass::base());
        assert!(model.base().newly_initialized().is_empty(), "{variant}");
        for sequences in [&[0][..], &[1], &[1, 0]] {
            let got = model.logits(&input(variant, sequences), &pass).unwrap().to_vec();
            let expected: Vec<f32> = sequences.iter().flat_map(|i| recorded.floats(&format!("logits.{i}"))).collect();
            let error = relative_error(&got, &expected);
            println!("{variant} {sequences:?}: {error:.1e}");
            assert!(error <= TOLERANCE, "{variant} {sequences:?}: {error:.1e}");
        }
    }
}

#[test]
fn hidden_states_are_those_of_transformers() {
    for variant in ["bert-features", "bert", "roberta", "xlm-roberta", "distilbert"] {
        let dir = data("encoders").join(variant);
        let model = Encoder::load(&dir, TaskHead::FeatureExtraction, DType::F32, 1).unwrap();
        let recorded = recorded(variant);
        let hidden = model.forward(&input(variant, &[0, 1]), &Pass::base()).unwrap();
        let expected = [recorded.floats("hidden.0"), recorded.floats("hidden.1")].concat();
        assert!(relative_error(&hidden.rows.to_vec(), &expected) <= TOLERANCE, "{variant}");
        let mean = hidden.mean().unwrap().to_vec();
        let expected = [recorded.floats("mean.0"), recorded.floats("mean.1")].concat();
        assert!(relative_error(&mean, &expected) <= TOLERANCE, "{variant}");
        // PEFT wraps the model without a head, the names of which have nothing in front.
        assert!(model.base().modules().iter().all(|module| !module.path.starts_with(model.config().base)), "{variant}");
    }
}

#[test]
fn the_spelling_of_transformers_4_means_the_same_model() {
    for variant in CLASSIFIERS {
        let dir = data("encoders").join(variant);
        let path = dir.join("config.v4.json");
        let old = ClassifierConfig::from_json(&path, &checkpoint::read_json(&path, 1 << 20).unwrap()).unwrap();
        assert_eq!(format!("{old:?}"), format!("{:?}", ClassifierConfig::read(&dir).unwrap()), "{variant}");
    }
}

#[test]
fn a_head_that_the_files_lack_starts_from_the_seed() {
    let dir = data("encoders").join("bert-features");
    let config = ClassifierConfig::read(&dir).unwrap();
    let head = TaskHead::SequenceClassification { num_labels: 4 };
    let load = |seed| {
        Classifier::from_checkpoint(config.clone(), head, &Checkpoint::open(&dir).unwrap(), DType::F32, seed).unwrap()
    };
    let model = load(1);
    let modules = model.base().modules();
    let name = |id: &_| modules.parameter(*id).name.as_str();
    let new: Vec<&str> = model.base().newly_initialized().iter().map(name).collect();
    // The pooler is that of the files.
    assert_eq!(new, ["classifier.weight", "classifier.bias"]);
    let value = |model: &Classifier, name: &str| {
        model.base().parameter(model.base().modules().find_parameter(name).unwrap().id).unwrap().to_vec()
    };
    assert_eq!(value(&model, "classifier.bias"), [0.0; 4]);
    let weight = value(&model, "classifier.weight");
    assert_eq!((weight.len(), &weight), (4 * 24, &value(&load(1), "classifier.weight")));
    assert_ne!(weight, value(&load(2), "classifier.weight"));
    let deviation = (weight.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>() / weight.len() as f64).sqrt();
    // Five standard errors of the deviation of 96 values.
    assert!((deviation / 0.02 - 1.0).abs() <= 5.0 / (2.0 * 96.0f64).sqrt(), "{deviation}");
}

#[test]
fn a_head_of_another_size_is_refused() {
    let head = TaskHead::SequenceClassification { num_labels: 5 };
    let error = Classifier::load(&data("encoders/bert"), head, DType::F32, 1).err().unwrap().to_string();
    assert!(error.contains("classifier.weight") && error.contains("[3, 24]") && error.contains("[5, 24]"), "{error}");
}

#[test]
fn what_cannot_be_classified_is_refused() {
    let model = classifier("bert");
    let error = model.logits(&Input::from_sequences(&[&[3], &[]]).unwrap(), &Pass::base()).unwrap_err();
    assert!(matches!(error, ModelError::EmptySequence { index: 1 }), "{error}");
    let error = model.logits(&Input::from_sequences(&[&[50]]).unwrap(), &Pass::base()).unwrap_err();
    assert!(matches!(error, ModelError::TokenId { id: 50, .. }), "{error}");
    // 32 rows of positions, of which RoBERTa's padding takes two.
    let long = |tokens| Input::from_sequences(&[&vec![3; tokens]]).unwrap();
    let roberta = classifier("roberta");
    assert!(roberta.logits(&long(30), &Pass::base()).is_ok());
    let error = roberta.logits(&long(31), &Pass::base()).unwrap_err();
    assert!(matches!(error, ModelError::TooLong { got: 30, limit: 30 }), "{error}");
    assert!(model.logits(&long(32), &Pass::base()).is_ok());
    let types = Input::from_sequences(&[&[3, 4]]).unwrap().with_token_type_ids(&[0]);
    assert!(matches!(types, Err(ModelError::BatchLength { argument: "token_type_ids", .. })));
    let token = TaskHead::TokenClassification { num_labels: 3 };
    let error = Classifier::load(&data("encoders/llama"), token, DType::F32, 1).err().unwrap();
    assert!(matches!(error, ModelError::NoHead { task: "TOKEN_CLS" }), "{error}");
}

#[test]
fn configurations_that_mean_something_else_are_refused() {
    let edited = |key: &str, value: Value| {
        let path = data("encoders/bert/config.json");
        let mut json: Map<String, Value> = checkpoint::read_json(&path, 1 << 20).unwrap();
        json.insert(key.to_owned(), value);
        ClassifierConfig::from_json(Path::new("m/config.json"), &json).unwrap_err().to_string()
    };
    let cases = [
        ("is_decoder", json!(true), "every token sees the whole text"),
        ("position_embedding_type", json!("relative_key"), "`absolute`"),
        ("problem_type", json!("multi_label_classification"), "one label for each row"),
        ("problem_type", json!("regression"), "give it one label"),
        ("id2label", json!({"0": "a", "2": "b"}), "none left out"),
        ("id2label", json!({}), "none left out"),
        ("id2label", json!({"0": 1}), "an object of strings"),
        ("hidden_size", json!(25), "a multiple of the number of attention heads, 3"),
        ("max_position_embeddings", json!(0), "a whole number from 1 to"),
        ("model_type", json!("deberta"), "supported are bert, distilbert, roberta, xlm-roberta, gemma"),
    ];
    for (key, value, expected) in cases {
        let message = edited(key, value);
        assert!(message.starts_with("m/config.json: `") && message.contains(expected), "{key}: {message}");
    }
    let bert = checkpoint::read_json(&data("encoders/bert/config.json"), 1 << 20).unwrap();
    let message = DecoderConfig::from_json(Path::new("m/config.json"), &bert).unwrap_err().to_string();
    assert!(message.contains("it is an encoder, for task_type SEQ_CLS or TOKEN_CLS"), "{message}");
    let path = data("encoders/roberta/config.json");
    let mut roberta: Map<String, Value> = checkpoint::read_json(&path, 1 << 20).unwrap();
    roberta.insert("pad_token_id".to_owned(), json!(40));
    let message = EncoderConfig::from_json(&path, &roberta).unwrap_err().to_string();
    assert!(message.contains("`max_position_embeddings` is `32`"), "{message}");
}

#[test]
fn a_head_of_the_files_keeps_its_classes() {
    let dir = data("encoders").join("bert");
    let head = TaskHead::SequenceClassification { num_labels: 7 };
    let error = Classifier::load(&dir, head, DType::F32, 1).err().unwrap();
    assert!(matches!(&error, ModelError::HeadShape { num_labels: 7, .. }), "{error}");
    assert!(error.to_string().contains("7 classes make it [7, "), "{error}");
}

#[test]
fn a_value_that_is_no_number_is_never_close() {
    for i in 0..3 {
        let mut got = [1.0; 3];
        got[i] = f32::NAN;
        assert_eq!(relative_error(&got, &[1.0; 3]), f32::INFINITY);
    }
    assert_eq!(relative_error(&[1.0, 3.0], &[1.0, 4.0]), 0.25);
}
