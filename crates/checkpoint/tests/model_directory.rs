//! Model and adapter directories: what is found, and what is refused.

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;

use support::{file, put, two_tensors};
use tunesmith_checkpoint::{AdapterDirectory, Checkpoint, CheckpointError};

fn tensor(name: &str, value: f32) -> Vec<u8> {
    file(&format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#), &value.to_le_bytes())
}

fn index(dir: &Path, entries: &str) {
    let text = format!(r#"{{"metadata":{{"total_size":8}},"weight_map":{{{entries}}}}}"#);
    put(dir, "model.safetensors.index.json", text.as_bytes());
}

fn refusal(dir: &Path) -> String {
    Checkpoint::open(dir).expect_err("must be refused").to_string()
}

/// Two shards and their index, in `dir`.
fn sharded(dir: &Path) {
    put(dir, "s1.safetensors", &tensor("a", 1.0));
    put(dir, "s2.safetensors", &tensor("b", 2.0));
    index(dir, r#""a":"s1.safetensors","b":"s2.safetensors""#);
}

#[test]
fn a_single_file_wins_over_an_index() {
    let dir = tempfile::tempdir().unwrap();
    sharded(dir.path());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(checkpoint.get("b").unwrap().to_f32().unwrap(), [2.0]);
    assert_eq!(checkpoint.files().len(), 2);
    put(dir.path(), "model.safetensors", &two_tensors());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.get("b").unwrap().to_f32().unwrap(), [3.0, 4.0, 5.0]);
    assert!(checkpoint.get("c").is_none() && !checkpoint.contains("c"));
}

#[test]
fn what_a_directory_holds_instead_is_said() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refusal(dir.path()).contains("holds no model.safetensors"));
    put(dir.path(), "pytorch_model.bin", b"PK\x03\x04");
    let message = refusal(dir.path());
    assert!(message.contains("only `pytorch_model.bin`") && message.contains("save_pretrained"), "{message}");
    assert!(matches!(Checkpoint::open(dir.path().join("none")), Err(CheckpointError::Io { action: "list", .. })));
}

#[test]
fn index_entries_stay_inside_the_directory() {
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "x.safetensors", &tensor("a", 1.0));
    for (entry, why) in [
        ("../x.safetensors", "is a path"),
        ("/etc/passwd", "is a path"),
        (r"a\\b.safetensors", "is a path"),
        (r"a\u0000.safetensors", "control character"),
        ("..", "starts with a dot"),
        ("", "is not a safetensors file"),
        ("pytorch_model.bin", "is not a safetensors file"),
    ] {
        let dir = outside.path().join("model");
        std::fs::create_dir_all(&dir).unwrap();
        index(&dir, &format!(r#""a":"{entry}""#));
        let message = refusal(&dir);
        assert!(message.contains(why) && message.contains("tensor `a`"), "{entry}: {message}");
    }
    let dir = outside.path().join("linked");
    std::fs::create_dir(&dir).unwrap();
    symlink(outside.path().join("x.safetensors"), dir.join("s.safetensors")).unwrap();
    index(&dir, r#""a":"s.safetensors""#);
    let message = refusal(&dir);
    assert!(message.contains("`s.safetensors`, which is a link out of the model directory"), "{message}");
}

#[test]
fn links_into_the_hugging_face_cache_are_followed() {
    let cache = tempfile::tempdir().unwrap();
    let model = cache.path().join("models--org--name");
    let snapshot = model.join("snapshots/0123abcd");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir(model.join("blobs")).unwrap();
    put(&model.join("blobs"), "etag", &tensor("a", 7.0));
    symlink("../../blobs/etag", snapshot.join("s.safetensors")).unwrap();
    index(&snapshot, r#""a":"s.safetensors""#);
    let checkpoint = Checkpoint::open(&snapshot).unwrap();
    assert_eq!(checkpoint.get("a").unwrap().to_f32().unwrap(), [7.0]);
    // Called by the name that the index has for it: who writes the model anew writes a file of this name.
    assert_eq!(checkpoint.files()[0].path(), snapshot.join("s.safetensors"));
}

#[test]
fn shards_and_index_must_agree() {
    let dir = tempfile::tempdir().unwrap();
    sharded(dir.path());
    put(dir.path(), "stray.safetensors", b"not even read");
    assert_eq!(
        Checkpoint::open(dir.path()).unwrap().notes(),
        ["`stray.safetensors` is ignored: the index does not name it"]
    );

    index(dir.path(), r#""a":"s1.safetensors","b":"s3.safetensors""#);
    assert!(refusal(dir.path()).contains("shard `s3.safetensors` is missing"));
    index(dir.path(), r#""a":"s1.safetensors","c":"s2.safetensors""#);
    assert!(refusal(dir.path()).contains("shard `s2.safetensors` lacks tensor `c`"));
    index(dir.path(), r#""a":"s2.safetensors","b":"s1.safetensors""#);
    assert!(refusal(dir.path()).contains("lacks tensor"));
    index(dir.path(), r#""a":"s1.safetensors","a":"s2.safetensors""#);
    assert!(refusal(dir.path()).contains("twice"));
    put(dir.path(), "s2.safetensors", &tensor("a", 2.0));
    index(dir.path(), r#""a":"s1.safetensors","b":"s2.safetensors""#);
    assert!(refusal(dir.path()).contains("tensor `a` is in two shards, `s1.safetensors` and `s2.safetensors`"));
    put(dir.path(), "model.safetensors.index.json", b"{\n\"weight_map\": 3}");
    assert!(refusal(dir.path()).contains("index.json:2:"));
}

#[test]
fn a_file_shortened_while_mapped_is_noticed_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = put(dir.path(), "model.safetensors", &two_tensors());
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    checkpoint.check_length().unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(16).unwrap();
    assert!(checkpoint.check_length().unwrap_err().to_string().contains("was shortened while in use"));
}

#[test]
fn adapters_are_opened_or_explained() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = || AdapterDirectory::open(dir.path()).unwrap_err().to_string();
    assert!(refusal().contains("holds no adapter_config.json"));
    put(dir.path(), "adapter_config.json", b"{}");
    assert!(refusal().contains("holds no adapter_model.safetensors; it was not saved completely"));
    put(dir.path(), "adapter_model.bin", b"PK\x03\x04");
    assert!(refusal().contains("only `adapter_model.bin`, which is a Python pickle"));
    put(dir.path(), "adapter_model.safetensors", &two_tensors());
    let adapter = AdapterDirectory::open(dir.path()).unwrap();
    assert_eq!((adapter.config.as_str(), adapter.weights.len()), ("{}", 2));
}
