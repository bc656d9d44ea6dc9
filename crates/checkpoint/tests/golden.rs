//! Files that Python wrote are written again byte for byte.

use std::borrow::Cow;
use std::path::Path;

use tunesmith_checkpoint::{CheckpointError, SafetensorsFile, Storage, TensorSpec, write_safetensors};

#[test]
fn files_are_byte_for_byte_those_of_python() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/peft");
    let out = tempfile::tempdir().unwrap();
    let mut files = 0;
    for case in std::fs::read_dir(&data).unwrap() {
        // io.safetensors holds int64 beside float32: its order is by dtype first.
        for name in ["adapter_model.safetensors", "io.safetensors", "model.safetensors", "trainable_init.safetensors"] {
            let path = case.as_ref().unwrap().path().join(name);
            if path.exists() {
                rewrite(&path, &out.path().join("copy.safetensors"));
                files += 1;
            }
        }
    }
    assert!(files >= 30, "only {files} files found under {}", data.display());
}

fn rewrite(original: &Path, copy: &Path) {
    let file = SafetensorsFile::open(original).unwrap();
    let specs: Vec<TensorSpec> = file
        .tensors()
        .map(|t| TensorSpec { name: t.name().to_owned(), dtype: t.dtype(), shape: t.shape().to_vec() })
        .collect();
    let metadata: Vec<(&str, &str)> = file.metadata().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    write_safetensors::<CheckpointError>(&Storage, copy, &specs, &metadata, |spec| {
        Ok(Cow::Owned(file.get(&spec.name).unwrap().bytes().to_vec()))
    })
    .unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(original).unwrap(), "{}", original.display());
}
