//! GGUF files: written and read again, and what hostile ones are answered with.

use std::path::Path;

use proptest::prelude::*;
use tunesmith_checkpoint::{CheckpointError, GgufFile, GgufTensor, GgufValue, gguf_bytes};

fn example() -> Vec<u8> {
    let metadata = [
        ("general.type", GgufValue::String("adapter".to_owned())),
        ("adapter.lora.alpha", GgufValue::Float(16.0)),
        ("general.file_type", GgufValue::Unsigned(0)),
        ("some.signed", GgufValue::Signed(-3)),
        ("some.flag", GgufValue::Bool(true)),
    ];
    let tensors = [
        GgufTensor { name: "x.lora_a".to_owned(), shape: vec![2, 3], values: &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] },
        GgufTensor { name: "x.lora_b".to_owned(), shape: vec![1, 2], values: &[-1.0, 0.5] },
    ];
    gguf_bytes(&metadata, &tensors)
}

fn open(bytes: &[u8]) -> Result<GgufFile, CheckpointError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter.gguf");
    std::fs::write(&path, bytes).unwrap();
    GgufFile::open(Path::new(&path))
}

#[test]
fn what_is_written_is_read() {
    let bytes = example();
    assert!(bytes.starts_with(b"GGUF\x03\0\0\0\x02\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"));
    assert!(bytes.len().is_multiple_of(32));
    let file = open(&bytes).unwrap();
    let get = |key: &str| file.metadata().get(key).unwrap().clone();
    assert_eq!(get("general.type").as_str(), Some("adapter"));
    assert_eq!(get("adapter.lora.alpha"), GgufValue::Float(16.0));
    assert_eq!((get("general.file_type").as_f64(), get("some.signed").as_f64()), (Some(0.0), Some(-3.0)));
    assert_eq!(get("some.flag"), GgufValue::Bool(true));
    let [a, b] = file.tensors() else { panic!("two tensors") };
    assert_eq!(
        (a.name(), a.shape(), a.to_f32().unwrap()),
        ("x.lora_a", &[2, 3][..], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    );
    assert_eq!((b.name(), b.shape(), b.to_f32().unwrap()), ("x.lora_b", &[1, 2][..], vec![-1.0, 0.5]));
}

/// The example with `bytes` over what is at `position`.
fn with(position: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = example();
    file[position..position + bytes.len()].copy_from_slice(bytes);
    file
}

fn reason(bytes: &[u8]) -> String {
    open(bytes).unwrap_err().to_string()
}

#[test]
fn faults_say_what_and_where() {
    assert!(reason(b"PK\x03\x04").contains("expected `GGUF`"));
    assert!(reason(&with(4, &1u32.to_le_bytes())).contains("version 1"));
    assert!(reason(&with(4, &3u32.to_be_bytes())).contains("big-endian"));
    assert!(reason(&with(4, &9u32.to_le_bytes())).contains("version 9; 2 and 3 are read"));
    // More tensors and values than bytes: the file ends before memory does.
    for count in [8, 16] {
        assert!(reason(&with(count, &u64::MAX.to_le_bytes())).contains("broken as GGUF"));
    }
    // The length of the first key.
    assert!(reason(&with(24, &(1u64 << 60).to_le_bytes())).contains("at most 65536 are read"));
    assert!(reason(&with(32, b"\xff")).contains("not UTF-8"));
    // The type of the first value, after a key of 12 bytes; an array of arrays of arrays.
    assert!(reason(&with(44, &99u32.to_le_bytes())).contains("unknown type 99"));
    let bytes = example();
    let at = bytes.windows(8).position(|window| window == b"x.lora_a").unwrap();
    assert!(reason(&with(at + 8, &77u32.to_le_bytes())).contains("77 dimensions"));
    assert!(reason(&with(at + 12, &u64::MAX.to_le_bytes())).contains("absurd sizes"));
    assert!(reason(&with(at + 12, &999u64.to_le_bytes())).contains("does not lie in the file"));
    assert!(reason(&with(at + 28, &12u32.to_le_bytes())).contains("ggml's type 12"));
    assert!(reason(&with(at + 32, &7u64.to_le_bytes())).contains("aligned to 32"));
    assert!(reason(&with(at + 32, &u64::MAX.to_le_bytes())).contains("does not lie in the file"));
    let second = bytes.windows(8).position(|window| window == b"x.lora_b").unwrap();
    assert!(reason(&with(second, b"x.lora_a")).contains("there twice"));
    for length in 0..bytes.len() - 32 {
        assert!(open(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn arrays_are_read_over() {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend([0u64, 1].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(1u64.to_le_bytes());
    bytes.push(b'k');
    bytes.extend([9u32, 8].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(2u64.to_le_bytes());
    for text in ["one", "two"] {
        bytes.extend(3u64.to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    assert_eq!(open(&bytes).unwrap().metadata()["k"], GgufValue::Array(2));
    let deep = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x09\0\0\0".to_vec();
    let nested = [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat().repeat(9);
    assert!(reason(&[deep, nested].concat()).contains("nested deeper"));
}

proptest! {
    /// Any change of bytes gives a file or an error.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..6)) {
        let mut bytes = example();
        for (position, byte) in changes {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        if let Ok(file) = open(&bytes) {
            file.tensors().iter().for_each(|tensor| drop(tensor.to_f32()));
        }
    }
}
