//! A ViT and a DeiT compute what transformers computes.

mod support;

use std::path::Path;

use checkpoint::Checkpoint;
use device::DType;
use serde_json::{Map, Value, json};
use support::{Recorded, data, relative_error};
use tunesmith_model::{DecoderConfig, ImageClassifier, Images, ModelError, Pass, VisionConfig};

/// Both compute in f32 and add up in another order: a few roundings for each of some ten products of depth 32 to 48.
const TOLERANCE: f32 = 3e-6;
/// Values of an image of three channels, 13 by 8.
const IMAGE: usize = 3 * 13 * 8;

fn model() -> ImageClassifier {
    load("vit")
}

fn load(base: &str) -> ImageClassifier {
    ImageClassifier::load(&data(&format!("vision/base-{base}")), Some(3), DType::F32, 1).unwrap()
}

fn recorded() -> Recorded {
    Recorded::open(data("vision/vit-lora/io.safetensors"))
}

#[test]
fn scores_are_those_of_transformers_one_by_one_too() {
    for base in ["vit", "deit", "deit_teacher"] {
        let recorded = Recorded::open(data(&format!("vision/{base}-lora/io.safetensors")));
        let (model, pass) = (load(base), Pass::base());
        assert!(model.base().newly_initialized().is_empty(), "{base}");
        let (pixels, expected) = (recorded.floats("pixel_values"), recorded.floats("logits_base"));
        let all = model.logits(&Images::new(&pixels, 3), &pass).unwrap().to_vec();
        let error = relative_error(&all, &expected);
        assert!(error <= TOLERANCE, "{base}: {error:.1e}");
        for (image, expected) in pixels.chunks_exact(IMAGE).zip(expected.chunks_exact(3)) {
            let one = model.logits(&Images::new(image, 1), &pass).unwrap().to_vec();
            assert!(relative_error(&one, expected) <= TOLERANCE, "{base}");
        }
        assert!(model.logits(&Images::new(&[], 0), &pass).unwrap().to_vec().is_empty());
    }
}

#[test]
fn the_tokens_and_heads_of_a_deit_are_those_of_its_class_in_transformers() {
    let (one, two) = (load("deit"), load("deit_teacher"));
    let names = |model: &ImageClassifier, end: &str| -> Vec<String> {
        let parameters = model.base().modules().parameters().map(|parameter| parameter.name.clone());
        parameters.filter(|name| name.ends_with(end)).collect()
    };
    for model in [&one, &two] {
        assert_eq!(names(model, "_token"), ["deit.embeddings.cls_token", "deit.embeddings.distillation_token"]);
        assert_eq!((model.config().num_patches(), model.config().num_tokens()), (6, 8));
    }
    assert_eq!(names(&one, "classifier.weight"), ["classifier.weight"]);
    assert_eq!(names(&two, "classifier.weight"), ["cls_classifier.weight", "distillation_classifier.weight"]);
    assert_eq!(two.base().dimensions().architecture, "DeiTForImageClassificationWithTeacher");
    // Both heads are new for another number of classes, and neither is in the way of a model without a head.
    let five = ImageClassifier::load(&data("vision/base-deit_teacher"), Some(5), DType::F32, 1).unwrap();
    assert_eq!(five.base().newly_initialized().len(), 4);
    let bare = ImageClassifier::load(&data("vision/base-deit_teacher"), None, DType::F32, 1).unwrap();
    let pixels = recorded().floats("pixel_values");
    let (images, pass) = (Images::new(&pixels, 3), Pass::base());
    assert_eq!(bare.logits(&images, &pass).unwrap().to_vec(), two.features(&images, &pass).unwrap().to_vec());
}

#[test]
fn a_model_without_a_head_gives_what_the_head_is_given() {
    let pixels = recorded().floats("pixel_values");
    let bare = ImageClassifier::load(&data("vision/base-vit"), None, DType::F32, 1).unwrap();
    assert!(bare.base().modules().iter().all(|module| !module.path.starts_with("vit.")));
    let (images, pass) = (Images::new(&pixels, 3), Pass::base());
    let features = bare.features(&images, &pass).unwrap().to_vec();
    assert_eq!(features, model().features(&images, &pass).unwrap().to_vec());
    assert_eq!(features, bare.logits(&images, &pass).unwrap().to_vec());
}

#[test]
fn modules_have_the_names_of_both_releases_of_transformers() {
    let model = model();
    let modules = model.base().modules();
    let query = modules.find("vit.layers.1.attention.q_proj").unwrap();
    assert_eq!(query.older_path.as_deref(), Some("vit.encoder.layer.1.attention.attention.query"));
    assert_eq!(modules.find("vit.layernorm").unwrap().older_path, None);
    for name in ["vit.embeddings.cls_token", "vit.embeddings.position_embeddings"] {
        assert!(modules.find_parameter(name).is_some(), "{name}");
    }
    // The convolution stays as it is, and so does the head.
    let quantizable = modules.iter().filter(|module| module.is_quantizable());
    assert_eq!(quantizable.count(), 2 * 6);
}

#[test]
fn a_head_for_another_number_of_classes_is_new() {
    let model = ImageClassifier::load(&data("vision/base-vit"), Some(5), DType::F32, 1).unwrap();
    let modules = model.base().modules();
    let new: Vec<&str> =
        model.base().newly_initialized().iter().map(|&id| modules.parameter(id).name.as_str()).collect();
    assert_eq!(new, ["classifier.weight", "classifier.bias"]);
    assert_eq!(modules.parameter(model.base().newly_initialized()[0]).shape, [5, 32]);
}

#[test]
fn images_of_another_size_are_refused() {
    let error = model().logits(&Images::new(&[0.0; IMAGE + 1], 1), &Pass::base()).unwrap_err();
    assert!(matches!(error, ModelError::PixelValues { images: 1, expected: IMAGE, .. }), "{error}");
}

#[test]
fn configurations_that_cannot_be_used_are_refused() {
    let path = data("vision/base-vit/config.json");
    let config: Map<String, Value> = checkpoint::read_json(&path, 1 << 20).unwrap();
    let edited = |key: &str, value: Value| {
        let mut json = config.clone();
        json.insert(key.to_owned(), value);
        VisionConfig::from_json(Path::new("m/config.json"), &json)
    };
    let cases = [
        ("patch_size", json!(9), "no more than `image_size`, 13 x 8"),
        ("patch_size", json!(0), "a whole number from 1 to 8192, or height and width"),
        ("image_size", json!([1, 2, 3]), "or height and width"),
        ("num_channels", json!(4096), "at most 1024"),
        ("hidden_size", json!(33), "a multiple of the number of attention heads, 4"),
        ("model_type", json!("dinov2"), "supported are deit, vit"),
    ];
    for (key, value, expected) in cases {
        let message = edited(key, value).unwrap_err().to_string();
        assert!(message.starts_with("m/config.json: `") && message.contains(expected), "{key}: {message}");
    }
    let other = edited("patch_size", json!([3, 4])).unwrap();
    assert_eq!((other.grid(), other.num_tokens()), ([4, 2], 9));
    // The files are of patches of 4 by 4.
    let checkpoint = Checkpoint::open(data("vision/base-vit")).unwrap();
    let error = ImageClassifier::from_checkpoint(other, Some(3), &checkpoint, DType::F32, 1).err().unwrap().to_string();
    assert!(error.contains("position_embeddings") && error.contains("`image_size`, `patch_size`"), "{error}");
    let message = DecoderConfig::from_json(Path::new("m/config.json"), &config).unwrap_err().to_string();
    assert!(message.contains("it is a model of images, for task_type IMAGE_CLS"), "{message}");
}
