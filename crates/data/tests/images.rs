//! Image files become what Pillow and transformers' image processors make of them.

use std::path::{Path, PathBuf};

use checkpoint::{SafetensorsFile, read_json};
use serde_json::{Map, Value};
use tunesmith_data::{DataError, DataOptions, Dataset, ImageOptions, ImageProcessor, Task, label_names};

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/images").join(file)
}

fn processor(config: &str) -> (ImageProcessor, Map<String, Value>) {
    let configs: Map<String, Value> = read_json(&data("configs.json"), 1 << 20).unwrap();
    let config = configs[config].as_object().unwrap();
    (ImageProcessor::from_json(Path::new("preprocessor_config.json"), config).unwrap(), config.clone())
}

/// The size that a configuration makes of the recorded image, 26 by 19 pixels.
fn size(config: &Map<String, Value>) -> [usize; 2] {
    match &config.get("size") {
        Some(size) => ["height", "width"].map(|side| size[side].as_u64().unwrap() as usize),
        None => [26, 19],
    }
}

#[test]
fn every_filter_gives_pillows_pixels() {
    let expected = SafetensorsFile::open(data("expected.safetensors")).unwrap();
    let configs: Map<String, Value> = read_json(&data("configs.json"), 1 << 20).unwrap();
    assert_eq!(configs.len(), 9);
    for name in configs.keys() {
        let (processor, config) = processor(name);
        let got = processor.pixel_values(&data("rgb.png"), size(&config)).unwrap();
        let expected = expected.get(&format!("pil.{name}")).unwrap().to_f32().unwrap();
        assert_eq!(got.len(), expected.len(), "{name}");
        // The same bytes after resizing; then both round a product and a quotient of f32 by themselves. A level of 255 is
        // at least 3e-3 apart.
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!((got - expected).abs() <= 1e-6, "{name}: value {i} is {got:e}, expected {expected:e}");
        }
    }
}

#[test]
fn every_kind_of_file_is_read_as_pillow_reads_it() {
    let expected = SafetensorsFile::open(data("expected.safetensors")).unwrap();
    let (mut files, raw) = (0, r#"{"do_resize": false, "do_rescale": false, "do_normalize": false}"#);
    let processor = ImageProcessor::from_json(Path::new("p"), &serde_json::from_str(raw).unwrap()).unwrap();
    for tensor in expected.tensors() {
        let Some(file) = tensor.name().strip_prefix("rgb.") else { continue };
        files += 1;
        let &[height, width, _] = tensor.shape() else { panic!("{:?}", tensor.shape()) };
        let got = processor.pixel_values(&data(file), [height, width]).unwrap();
        // Channel by channel here, pixel by pixel there.
        let pixels = height * width;
        let value = |i: usize| f32::from(tensor.bytes()[i % pixels * 3 + i / pixels]);
        // JPEG says what coefficients mean, not how their transform is rounded: decoders differ by a few levels.
        let tolerance = if file.ends_with(".jpg") { 3.0 } else { 0.0 };
        assert_eq!(got.len(), 3 * pixels, "{file}");
        for (i, got) in got.iter().enumerate() {
            assert!((got - value(i)).abs() <= tolerance, "{file}: value {i} is {got}, expected {}", value(i));
        }
    }
    assert_eq!(files, 7);
}

/// A folder of two classes, and rows that name the same files.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (class, file) in [("cat", "gray.png"), ("cat", "rgb.png"), ("ant", "alpha.png")] {
        std::fs::create_dir_all(dir.path().join(class)).unwrap();
        std::fs::copy(data(file), dir.path().join(class).join(file.to_uppercase())).unwrap();
    }
    std::fs::write(dir.path().join("cat/notes.txt"), "not an image").unwrap();
    std::fs::write(dir.path().join("README"), "beside the classes").unwrap();
    std::fs::create_dir(dir.path().join(".hidden")).unwrap();
    let rows = "{\"image\": \"ant/ALPHA.PNG\", \"label\": 0}\n{\"image\": \"cat/GRAY.PNG\", \"label\": 1}\n";
    std::fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
    dir
}

fn load(path: &Path, names: &[&str]) -> Result<Dataset, String> {
    let label_names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let num_labels = names.len();
    let options = DataOptions { task: Task::ImageClassification, num_labels, label_names, ..DataOptions::new(1) };
    let images = ImageOptions { processor: processor("one-side").0, size: [26, 11], num_tokens: 5 };
    Dataset::load_images(path, &options, &images).map_err(|error| error.to_string())
}

#[test]
fn folders_are_classes() {
    let dir = folder();
    assert_eq!(label_names(dir.path(), &DataOptions::new(1)).unwrap(), ["ant", "cat"]);
    let dataset = load(dir.path(), &["ant", "bee", "cat"]).unwrap();
    let labels: Vec<i32> = (0..dataset.len()).flat_map(|index| dataset.labels(index).to_vec()).collect();
    assert_eq!((labels, dataset.lengths().collect::<Vec<_>>()), (vec![0, 2, 2], vec![5; 3]));
    let statistics = dataset.statistics();
    assert_eq!((statistics.examples, statistics.tokens, statistics.targets), (3, 15, 3));
    let batch = tunesmith_data::Batch::gather(&dataset, &[2, 0]).unwrap();
    assert_eq!((batch.num_sequences(), batch.num_tokens(), batch.num_targets), (2, 10, 2));
    assert_eq!((batch.pixel_values.len(), &batch.labels[..]), (2 * 3 * 26 * 11, &[2, 0][..]));
    assert_eq!(batch.pixel_values[..3 * 26 * 11], dataset.pixel_values(2).unwrap().unwrap());
    // Rows of the same files, numbers for classes.
    let rows = load(&dir.path().join("rows.jsonl"), &["ant", "cat"]).unwrap();
    assert_eq!(rows.pixel_values(0).unwrap(), dataset.pixel_values(0).unwrap());
    assert_eq!((rows.labels(1), rows.line(1)), (&[1][..], 2));
    // The content of files tells datasets apart.
    std::fs::copy(data("palette.png"), dir.path().join("cat/GRAY.PNG")).unwrap();
    assert_ne!(load(dir.path(), &["ant", "bee", "cat"]).unwrap().sha256(), dataset.sha256());
}

/// An image small at both ends may be large between the axes: 400,000 rows, each 224 wide.
#[test]
fn an_image_too_high_to_resize_is_refused_before_it_is_trained_on() {
    let dir = folder();
    let tall = dir.path().join("cat/TALL.png");
    image::GrayImage::from_pixel(1, 400_000, image::Luma([7])).save(&tall).unwrap();
    let vit = |resample: u64| {
        let config = serde_json::json!({"size": 224, "resample": resample, "do_rescale": false, "do_normalize": false});
        ImageProcessor::from_json(Path::new("p"), config.as_object().unwrap()).unwrap()
    };
    let label_names = vec!["ant".to_owned(), "cat".to_owned()];
    let options = DataOptions { task: Task::ImageClassification, num_labels: 2, label_names, ..DataOptions::new(1) };
    let load = |resample| {
        let images = ImageOptions { processor: vit(resample), size: [224, 224], num_tokens: 5 };
        Dataset::load_images(dir.path(), &options, &images)
    };
    let expected = "cat/TALL.png: 400000 x 1 is too high to resize to 224 x 224: made as wide it has 89600000 pixels";
    for error in [load(2).unwrap_err(), vit(2).pixel_values(&tall, [224, 224]).unwrap_err()] {
        assert!(matches!(error, DataError::Image { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    // The nearest pixels are taken from both axes at once.
    assert_eq!(load(0).unwrap().len(), 4);
    assert_eq!(vit(0).pixel_values(&tall, [224, 224]).unwrap(), vec![7.0; 3 * 224 * 224]);
}

#[test]
fn what_cannot_be_used_is_named() {
    let dir = folder();
    let message = load(dir.path(), &["ant", "dog"]).unwrap_err();
    assert!(message.contains("cat: label `cat` is none of `ant`, `dog`"), "{message}");
    std::fs::write(dir.path().join("cat/BROKEN.png"), &std::fs::read(data("rgb.png")).unwrap()[..20]).unwrap();
    let message = load(dir.path(), &["ant", "cat"]).unwrap_err();
    assert!(message.contains("cat/BROKEN.png: "), "{message}");
    std::fs::remove_file(dir.path().join("cat/BROKEN.png")).unwrap();
    // Pixels that end too early are found when they are needed.
    let whole = std::fs::read(data("rgb.png")).unwrap();
    std::fs::write(dir.path().join("ant/ALPHA.PNG"), &whole[..whole.len() / 2]).unwrap();
    let dataset = load(dir.path(), &["ant", "cat"]).unwrap();
    let message = tunesmith_data::Batch::gather(&dataset, &[1, 0]).unwrap_err().to_string();
    assert!(message.contains("ant/ALPHA.PNG: "), "{message}");
    std::fs::create_dir(dir.path().join("bee")).unwrap();
    let message = load(dir.path(), &["ant", "bee", "cat"]).unwrap_err();
    assert!(message.contains("the class `bee` has nothing to learn from"), "{message}");
    let message = load(&dir.path().join("cat"), &["ant", "cat"]).unwrap_err();
    assert!(message.contains("nor a folder of images for each class"), "{message}");
    std::fs::write(dir.path().join("rows.jsonl"), "{\"image\": \"none.png\", \"label\": 0}\n").unwrap();
    let message = load(&dir.path().join("rows.jsonl"), &["ant", "cat"]).unwrap_err();
    assert!(message.contains("cannot read") && message.contains("none.png"), "{message}");
    std::fs::write(dir.path().join("rows.jsonl"), "{\"text\": \"x\", \"label\": 0}\n").unwrap();
    let message = load(&dir.path().join("rows.jsonl"), &["ant", "cat"]).unwrap_err();
    assert!(message.contains("rows.jsonl:1: ") && message.contains("{image, label}"), "{message}");
    let (processor, _) = processor("filter-2");
    let message = processor.pixel_values(&data("rgb.png"), [9, 9]).unwrap_err().to_string();
    assert!(message.contains("makes it 9 x 14 pixels, and the model takes 9 x 9"), "{message}");
}
