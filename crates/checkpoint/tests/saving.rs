//! Saving, and failing to save: whatever goes wrong, a reader finds the old state or the new one.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::Path;

use tunesmith_checkpoint::faulty::{Fault, FaultyFs};
use tunesmith_checkpoint::{
    CheckpointError, Dtype, Fs, MANIFEST, Manifest, SafetensorsFile, StagedDirectory, Storage, TensorSpec,
    atomic_write, remove_leftovers, write_safetensors,
};

const FAULTS: [Fault; 4] =
    [Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::Other), Fault::Crash, Fault::PowerLoss];

fn spec(name: &str, dtype: Dtype, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs `save` with operation 1 failing, then 2, ... until it gets through, and `check`s what is left each time.
/// `prepare` makes the old state.
fn anomaly(
    prepare: impl Fn(&Path),
    save: impl Fn(&dyn Fs, &Path) -> Result<(), CheckpointError>,
    check: impl Fn(&Path, bool),
) {
    for fault in FAULTS {
        for at in 1.. {
            assert!(at < 200, "{fault:?}: saving never gets through");
            let dir = tempfile::tempdir().unwrap();
            prepare(dir.path());
            let fs = FaultyFs::new(fault, at);
            let saved = save(&fs, dir.path());
            fs.lose_power().unwrap();
            if !fs.struck() {
                saved.unwrap();
                check(dir.path(), true);
                break;
            }
            if let (Fault::Error(_), Err(_)) = (fault, &saved) {
                let left: Vec<String> =
                    names(dir.path()).into_iter().filter(|name| name.starts_with(".tmp-")).collect();
                assert!(left.is_empty(), "{fault:?} at {at}: {left:?} left behind");
            }
            remove_leftovers(&Storage, dir.path()).unwrap();
            check(dir.path(), saved.is_ok());
        }
    }
}

#[test]
fn a_file_is_old_or_new_after_any_failure() {
    let path = |dir: &Path| dir.join("state.json");
    anomaly(
        |dir| std::fs::write(path(dir), b"old state").unwrap(),
        |fs, dir| atomic_write(fs, &path(dir), b"new"),
        |dir, saved| {
            let content = std::fs::read(path(dir)).unwrap();
            assert!(content == b"new" || (!saved && content == b"old state"), "{}", content.escape_ascii());
            assert_eq!(names(dir), ["state.json"]);
        },
    );
}

fn save_checkpoint(fs: &dyn Fs, target: &Path, value: f32) -> Result<(), CheckpointError> {
    let mut staged = StagedDirectory::create(fs, target)?;
    let tensors = [spec("a", Dtype::F32, &[2]), spec("b", Dtype::F32, &[])];
    staged.write_safetensors("adapter_model.safetensors", &tensors, &[("format", "pt")], |tensor| {
        let len = tensor.shape.iter().product();
        Ok::<_, CheckpointError>(Cow::Owned(value.to_le_bytes().repeat(len)))
    })?;
    staged.write("state.json", format!("{{\"value\": {value}}}").as_bytes())?;
    let state = serde_json::json!({ "step": value });
    staged.commit(state.as_object().unwrap().clone())
}

/// The value that a complete checkpoint holds, the same in every file of it.
fn value_of(dir: &Path) -> Option<f32> {
    let manifest = Manifest::verify(dir).ok()?;
    let weights = SafetensorsFile::open(dir.join("adapter_model.safetensors")).unwrap();
    let value = weights.get("b").unwrap().to_f32().unwrap()[0];
    assert_eq!(weights.get("a").unwrap().to_f32().unwrap(), [value; 2]);
    assert_eq!(manifest.state["step"], value);
    assert_eq!(std::fs::read_to_string(dir.join("state.json")).unwrap(), format!("{{\"value\": {value}}}"));
    Some(value)
}

#[test]
fn a_directory_is_absent_or_complete_after_any_failure() {
    anomaly(
        |dir| save_checkpoint(&Storage, &dir.join("checkpoint-1"), 1.0).unwrap(),
        |fs, dir| save_checkpoint(fs, &dir.join("checkpoint-2"), 2.0),
        |dir, saved| {
            assert_eq!(value_of(&dir.join("checkpoint-1")), Some(1.0));
            let new = dir.join("checkpoint-2");
            assert!(value_of(&new) == Some(2.0) || (!saved && !new.exists()));
        },
    );
}

#[test]
fn a_directory_of_the_same_name_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("checkpoint-1");
    save_checkpoint(&Storage, &target, 1.0).unwrap();
    save_checkpoint(&Storage, &target, 2.0).unwrap();
    assert_eq!(value_of(&target), Some(2.0));
    assert_eq!(names(dir.path()), ["checkpoint-1"]);
}

#[test]
fn a_replaced_directory_is_old_or_new_after_any_failure() {
    for fault in FAULTS {
        for at in 1.. {
            assert!(at < 200, "{fault:?}: saving never gets through");
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("checkpoint-1");
            save_checkpoint(&Storage, &target, 1.0).unwrap();
            let fs = FaultyFs::new(fault, at);
            let saved = save_checkpoint(&fs, &target, 2.0);
            fs.lose_power().unwrap();
            remove_leftovers(&Storage, dir.path()).unwrap();
            let value = value_of(&target);
            assert!(value == Some(2.0) || (saved.is_err() && value == Some(1.0)), "{fault:?} at {at}: {value:?}");
            assert_eq!(names(dir.path()), ["checkpoint-1"]);
            if !fs.struck() {
                break;
            }
        }
    }
}

#[test]
fn an_incomplete_directory_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("checkpoint-1");
    save_checkpoint(&Storage, &target, 1.0).unwrap();
    let refusal = || Manifest::verify(&target).unwrap_err().to_string();
    let weights = target.join("adapter_model.safetensors");
    let mut content = std::fs::read(&weights).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, &content).unwrap();
    assert!(refusal().contains("content of `adapter_model.safetensors` differs"));
    std::fs::write(&weights, &content[1..]).unwrap();
    assert!(refusal().contains("bytes, expected"));
    std::fs::remove_file(&weights).unwrap();
    assert!(refusal().contains("`adapter_model.safetensors` is missing"));
    let manifest = target.join(MANIFEST);
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("state.json", "../state.json")).unwrap();
    assert!(refusal().contains("not a plain file name"));
    std::fs::write(&manifest, text.replace("\"format_version\": 1", "\"format_version\": 9")).unwrap();
    assert!(refusal().contains("format 9 is newer"));
    std::fs::remove_file(&manifest).unwrap();
    assert!(refusal().contains("has no manifest.json"));
}

#[test]
fn contradictions_are_found_before_or_while_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.safetensors");
    let write = |specs: &[TensorSpec]| {
        write_safetensors::<CheckpointError>(&Storage, &path, specs, &[], |_| Ok(Cow::Borrowed(&[0; 8])))
    };
    write(&[spec("a", Dtype::F32, &[2])]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let twice = [spec("a", Dtype::F32, &[2]), spec("b", Dtype::F32, &[2]), spec("a", Dtype::I64, &[1])];
    assert!(write(&twice).unwrap_err().to_string().contains("tensor `a`: the name is taken"));
    assert!(write(&[spec("__metadata__", Dtype::F32, &[2])]).is_err());
    let error = write(&[spec("a", Dtype::F32, &[3])]).unwrap_err().to_string();
    assert!(error.contains("tensor `a`: F32 of shape [3] takes 12 bytes, got 8"), "{error}");
    assert!(write(&[spec("a", Dtype::F32, &[1 << 40, 1 << 40])]).is_err());
    assert!(names(dir.path()).is_empty());
}

#[test]
fn the_widest_dtype_comes_first_and_data_is_asked_for_in_that_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.safetensors");
    let specs = [
        spec("b", Dtype::U8, &[4]),
        spec("z", Dtype::I64, &[1]),
        spec("a", Dtype::BF16, &[2]),
        spec("a2", Dtype::BF16, &[0]),
    ];
    let mut asked = Vec::new();
    write_safetensors::<CheckpointError>(&Storage, &path, &specs, &[("format", "pt")], |spec| {
        asked.push(spec.name.clone());
        Ok(Cow::Owned(vec![1; spec.dtype.bitsize() / 8 * spec.shape.iter().product::<usize>()]))
    })
    .unwrap();
    assert_eq!(asked, ["z", "a", "a2", "b"]);
    let content = std::fs::read(&path).unwrap();
    assert!(
        content[8..]
            .starts_with(br#"{"__metadata__":{"format":"pt"},"z":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"#)
    );
    assert_eq!((content.len() - 8 - 16) % 8, 0);
    assert_eq!(SafetensorsFile::open(&path).unwrap().len(), 4);
}
