//! Image classification from folders of files to adapters, merged models and embeddings.

use serde_json::{Value, json};
use tunesmith_tests::{Output, Workspace, data, metrics};

const SIZE: [usize; 2] = [13, 8];
const CLASSES: [&str; 3] = ["disk", "frame", "stripes"];

/// A directory with a tiny ViT of three other classes, and drawings in `train/<class>` and `valid/<class>`.
fn workspace() -> Workspace {
    workspace_of("base-vit")
}

/// The same with another model.
fn workspace_of(base: &str) -> Workspace {
    let workspace = Workspace::new(1);
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(data("vision").join(base).join(file), workspace.path("model").join(file)).unwrap();
    }
    for of_text in ["model/tokenizer.json", "train.jsonl"] {
        std::fs::remove_file(workspace.path(of_text)).unwrap();
    }
    let processor = json!({
        "image_processor_type": "ViTImageProcessor", "size": { "height": SIZE[0], "width": SIZE[1] }, "resample": 2,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    });
    std::fs::write(workspace.path("model/preprocessor_config.json"), processor.to_string()).unwrap();
    for (class, name) in CLASSES.iter().enumerate() {
        for (split, numbers) in [("train", 0..16), ("valid", 16..24)] {
            let dir = workspace.path(split).join(name);
            std::fs::create_dir_all(&dir).unwrap();
            numbers.for_each(|number| draw(class, number).save(dir.join(format!("{number:02}.png"))).unwrap());
        }
    }
    workspace
}

/// A shape of the class in the middle of an image of some size, in colors that tell nothing.
fn draw(class: usize, number: u32) -> image::RgbImage {
    let (width, height) = (16 + number % 5, 26 + number % 3);
    let color = |salt: u32| [7u32, 31, 57].map(|factor| ((number + salt) * factor % 90) as u8);
    let (ink, paper) = (color(1).map(|value| value + 160), color(5));
    image::RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (x as f32 - width as f32 / 2.0, y as f32 - height as f32 / 2.0);
        let drawn = match class {
            0 => dx * dx + dy * dy < 36.0,
            1 => x < 3 || y < 3 || x + 3 >= width || y + 3 >= height,
            _ => y / 3 % 2 == 0,
        };
        image::Rgb(if drawn { ink } else { paper })
    })
}

fn train(workspace: &Workspace, out: &str, set: &[&str]) -> Output {
    let base = [
        "model.task_type=IMAGE_CLS",
        "data.train=.",
        "training.max_steps=40",
        "training.learning_rate=1e-2",
        "training.per_device_train_batch_size=12",
    ];
    workspace.train(out, &[&base[..], set].concat())
}

fn eval(workspace: &Workspace, model: &str, more: &[&str]) -> Value {
    let base = ["eval", "--model", model, "--data", "valid", "--json"];
    workspace.run(&[&base[..], more].concat()).expect(0).json()
}

fn assert_close(a: &Value, b: &Value, tolerance: f64) {
    let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
    assert!((a - b).abs() <= tolerance * b.abs(), "{a} and {b}");
}

#[test]
fn folders_of_drawings_are_learned_merged_and_embedded() {
    let workspace = workspace();
    let run = train(&workspace, "out", &["adapter.r=4"]).expect(0);
    assert!(run.stdout.contains("3 (`disk`, `frame`, `stripes`)"), "{}", run.stdout);
    let logged = metrics(&workspace.path("out")).last().unwrap().clone();
    // The images of `valid` were not trained on; a third is chance.
    assert!(logged["eval_accuracy"].as_f64().unwrap() >= 0.9, "{logged}");
    let text = std::fs::read_to_string(workspace.path("out/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["task_type"], Value::Null);
    assert_eq!(config["auto_mapping"]["base_model_class"], "ViTForImageClassification");
    assert_eq!(config["auto_mapping"]["parent_library"], "transformers.models.vit.modeling_vit");
    assert_eq!(config["modules_to_save"], json!(["classifier"]));
    assert_eq!(config["target_modules"], json!(["q_proj", "v_proj"]));
    let card = std::fs::read_to_string(workspace.path("out/README.md")).unwrap();
    assert!(card.contains("AutoModelForImageClassification"), "{card}");

    let adapted = eval(&workspace, "model", &["--adapter", "out", "--logits", "l.safetensors", "--batch-size", "5"]);
    assert_close(&adapted["loss"], &logged["eval_loss"], 1e-6);
    assert_eq!(adapted["tokens"], 24);
    let logits = checkpoint::SafetensorsFile::open(workspace.path("l.safetensors")).unwrap();
    assert_eq!(logits.get("logits").unwrap().shape(), [5, 3]);

    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
    let text = std::fs::read_to_string(workspace.path("merged/config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["id2label"], json!({ "0": "disk", "1": "frame", "2": "stripes" }));
    assert_eq!(config["architectures"], json!(["ViTForImageClassification"]));
    // Merged weights are sums of those of base and adapter, rounded once: in f32 a few of 6e-8.
    assert_close(&eval(&workspace, "merged", &[])["loss"], &adapted["loss"], 1e-4);

    let embed = ["embed", "--model", "model", "--adapter", "out", "--data", "valid", "--output", "e.safetensors"];
    workspace.run(&embed).expect(0);
    let embeddings = checkpoint::SafetensorsFile::open(workspace.path("e.safetensors")).unwrap();
    assert_eq!(embeddings.get("embeddings").unwrap().shape(), [24, 32]);
    let inspected = workspace.run(&["inspect", "model", "--json"]).expect(0).json();
    assert_eq!((&inspected["model_type"], &inspected["image_size"]), (&json!("vit"), &json!(SIZE)));
}

#[test]
fn a_deit_with_two_heads_stays_one() {
    let workspace = workspace_of("base-deit_teacher");
    train(&workspace, "out", &["adapter.r=4"]).expect(0);
    let read = |path: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(workspace.path(path)).unwrap()).unwrap()
    };
    const CLASS: &str = "DeiTForImageClassificationWithTeacher";
    assert_eq!(read("out/adapter_config.json")["auto_mapping"]["base_model_class"], CLASS);
    let adapted = eval(&workspace, "model", &["--adapter", "out"]);
    // A third is chance.
    assert!(adapted["accuracy"].as_f64().unwrap() >= 0.9, "{adapted}");
    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
    assert_eq!(read("merged/config.json")["architectures"], json!([CLASS]));
    assert_close(&eval(&workspace, "merged", &[])["loss"], &adapted["loss"], 1e-4);
}

#[test]
fn every_method_that_fits_images_trains() {
    let workspace = workspace();
    let cases = [
        ("ia3", &["adapter.method=ia3", "training.learning_rate=3e-2"][..]),
        ("qlora", &["adapter.method=qlora", "adapter.target_modules=all-linear"]),
        ("bottleneck", &["adapter.method=bottleneck", "adapter.reduction_factor=4"]),
        ("prompt", &["adapter.method=prompt_tuning", "adapter.num_virtual_tokens=4"]),
        ("prefix", &["adapter.method=prefix_tuning", "adapter.num_virtual_tokens=4"]),
        ("p_tuning", &["adapter.method=p_tuning", "adapter.num_virtual_tokens=4"]),
        ("pixels", &["adapter.method=pixel_prompt", "adapter.prompt_size=2", "training.gradient_checkpointing=true"]),
        ("patch", &["adapter.method=pixel_prompt", "adapter.pixel_prompt=fixed_patch", "adapter.prompt_size=4"]),
        ("full", &["adapter.method=full", "training.learning_rate=1e-3"]),
    ];
    for (out, set) in cases {
        let run = train(&workspace, out, &[set, &["training.max_steps=12"]].concat()).expect(0);
        let logged = metrics(&workspace.path(out));
        let loss = |entry: &Value, key: &str| entry[key].as_f64().unwrap();
        let (first, last) = (loss(&logged[0], "loss"), loss(logged.last().unwrap(), "eval_loss"));
        assert!(last < first, "{out}: {first} to {last}\n{}", run.stdout);
        let more = if out == "qlora" { &["--quantization", "nf4"][..] } else { &[] };
        let evaluated = match out {
            "full" => eval(&workspace, out, more),
            _ => eval(&workspace, "model", &[&["--adapter", out], more].concat()),
        };
        assert_close(&evaluated["loss"], &json!(last), 1e-6);
    }
    let refused = workspace.run(&["merge", "--model", "model", "--adapter", "pixels", "--output", "merged"]).expect(3);
    assert!(refused.stderr.contains("methods that change weights can be merged"), "{}", refused.stderr);
}

#[test]
fn a_head_of_another_number_of_classes_is_new_and_said_to_be() {
    let workspace = workspace();
    for split in ["train", "valid"] {
        std::fs::remove_dir_all(workspace.path(split).join("frame")).unwrap();
    }
    let run = train(&workspace, "out", &["training.max_steps=20"]).expect(0);
    assert!(run.stderr.contains("newly initialized") && run.stderr.contains("classifier.weight"), "{}", run.stderr);
    let adapted = eval(&workspace, "model", &["--adapter", "out"]);
    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "merged"]).expect(0);
    assert_close(&eval(&workspace, "merged", &[])["loss"], &adapted["loss"], 1e-4);
}

#[test]
fn images_and_folders_that_cannot_be_used_are_named() {
    let workspace = workspace();
    let one = workspace.path("train/disk/00.png");
    let whole = std::fs::read(&one).unwrap();
    std::fs::write(&one, &whole[..whole.len() / 2]).unwrap();
    let run = train(&workspace, "cut", &[]).expect(3);
    assert!(run.stderr.contains("train/disk/00.png: "), "{}", run.stderr);
    std::fs::write(&one, "GIF89a").unwrap();
    let run = train(&workspace, "gif", &[]).expect(3);
    assert!(run.stderr.contains("train/disk/00.png: it is neither PNG nor JPEG"), "{}", run.stderr);
    std::fs::write(&one, &whole).unwrap();
    let run = train(&workspace, "labels", &["model.num_labels=5"]).expect(2);
    assert!(run.stderr.contains("model.num_labels is 5") && run.stderr.contains("name 3 classes"), "{}", run.stderr);
    let run = train(&workspace, "frame", &["adapter.method=pixel_prompt"]).expect(2);
    assert!(run.stderr.contains("`prompt_size`: must be at least 1 and at most 3"), "{}", run.stderr);
    std::fs::remove_file(workspace.path("model/preprocessor_config.json")).unwrap();
    let run = train(&workspace, "processor", &[]).expect(3);
    assert!(run.stderr.contains("holds no preprocessor_config.json"), "{}", run.stderr);
}
