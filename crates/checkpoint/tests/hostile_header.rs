//! Safetensors files that lie: every one is refused with the file, the tensor and the numbers.

mod support;

use proptest::prelude::*;
use support::{file, open, refusal, two_tensors};
use tunesmith_checkpoint::{CheckpointError, Foreign};

/// One tensor `w` with this entry, over `data` bytes of data.
fn entry(entry: &str, data: usize) -> Vec<u8> {
    file(&format!("{{\"w\":{entry}}}"), &vec![0; data])
}

#[test]
fn a_sound_file_is_read_in_place() {
    let file = open(&two_tensors()).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b"]);
    let b = file.get("b").unwrap();
    assert_eq!(b.shape(), [1, 3]);
    assert_eq!(b.to_f32().unwrap(), [3.0, 4.0, 5.0]);
    let mapped = (**file.file()).as_ref().as_ptr_range();
    assert!(mapped.contains(&b.bytes().as_ptr()));
    // A tensor outlives its file.
    drop(file);
    assert_eq!(b.to_f32().unwrap()[2], 5.0);
}

#[test]
fn an_empty_file_is_named() {
    assert!(refusal(b"").contains("is empty (0 bytes)"));
    // A file that ends inside the length.
    assert!(refusal(&[1, 2, 3]).contains("the file holds 3"));
}

#[test]
fn header_lengths_are_checked_before_anything_is_allocated() {
    for length in [u64::MAX, u64::MAX - 8, 1 << 40, 100_000_001] {
        let message = refusal(&[&length.to_le_bytes()[..], b"{}"].concat());
        assert!(message.contains(&length.to_string()) && message.contains("100000000"), "{message}");
    }
    let message = refusal(&[&3u64.to_le_bytes()[..], b"{}"].concat());
    assert!(message.contains("a header of 3 bytes, but 2 bytes follow"), "{message}");
    assert!(refusal(&0u64.to_le_bytes()).contains("at least the two bytes"));
}

#[test]
fn headers_that_are_not_json_give_the_byte() {
    assert!(refusal(&file(" {}", b"")).contains("at byte 8: expected `{`, got ` `"));
    let not_utf8 = [&6u64.to_le_bytes()[..], b"{\"\xff\":1"].concat();
    assert!(refusal(&not_utf8).contains("at byte 10: not UTF-8"));
    let message = refusal(&file(r#"{"a": }"#, b""));
    assert!(message.contains("at byte 14: tensor `a`: expected value"), "{message}");
    assert!(refusal(&file("{}{}", b"")).contains("at byte 10: trailing characters"));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refusal(&file(&deep, b"")).contains("broken at byte"));
    let deep_unknown = entry(
        &format!(
            r#"{{"dtype":"F32","x":{}{},"shape":[],"data_offsets":[0,4]}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        ),
        4,
    );
    // Unknown fields are skipped without recursion.
    assert_eq!(open(&deep_unknown).unwrap().len(), 1);
}

#[test]
fn duplicate_names_are_refused() {
    let w = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let message = refusal(&file(&format!(r#"{{"w":{w},"w":{w}}}"#), &[0; 4]));
    assert!(message.contains("tensor `w`: the header names it twice"), "{message}");
    let message = refusal(&file(r#"{"__metadata__":{},"__metadata__":{}}"#, b""));
    assert!(message.contains("`__metadata__`: the header names it twice"), "{message}");
}

#[test]
fn offsets_cover_the_data_exactly() {
    let two = |a: [i64; 2], b: [i64; 2], data: usize| {
        let tensor = |[start, end]: [i64; 2]| {
            format!(r#"{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, (end - start).abs())
        };
        file(&format!(r#"{{"a":{},"b":{}}}"#, tensor(a), tensor(b)), &vec![0; data])
    };
    open(&two([0, 4], [4, 8], 8)).unwrap();
    open(&two([4, 8], [0, 4], 8)).unwrap();
    assert!(
        refusal(&two([0, 4], [2, 6], 6)).contains("tensor `b`: it starts at data offset 2, expected 4: it overlaps")
    );
    assert!(refusal(&two([0, 4], [5, 9], 9)).contains("it starts at data offset 5, expected 4: it leaves a hole"));
    assert!(refusal(&two([1, 4], [4, 8], 8)).contains("tensor `a`: it starts at data offset 1, expected 0"));
    assert!(refusal(&two([4, 0], [4, 8], 8)).contains("tensor `a`: its data_offsets [4, 0] are reversed"));
    assert!(refusal(&two([0, 4], [-4, 0], 4)).contains("tensor `b`"));
    assert!(refusal(&two([0, 4], [4, 8], 9)).contains("describes 8 bytes of data and the file holds 9"));
    assert!(refusal(&two([0, 4], [4, 8], 7)).contains("describes 8 bytes of data and the file holds 7"));
}

#[test]
fn shapes_must_match_their_bytes() {
    let message = refusal(&entry(r#"{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}"#, 20));
    assert!(
        message.contains("tensor `w`: F32 of shape [2, 3] takes 24 bytes, its data_offsets [0, 20] hold 20"),
        "{message}"
    );
    let message =
        refusal(&entry(r#"{"dtype":"F32","shape":[281474976710656,281474976710656],"data_offsets":[0,4]}"#, 4));
    assert!(message.contains("overflows"), "{message}");
    for shape in ["[0,18446744073709551615]", "[9223372036854775808,0]", "[281474976710657,0]"] {
        let message = refusal(&entry(&format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}"#), 0));
        assert!(message.contains("beyond anything real"), "{message}");
    }
    assert!(refusal(&entry(r#"{"dtype":"F4","shape":[3],"data_offsets":[0,2]}"#, 2)).contains("whole byte"));
    let message = refusal(&entry(r#"{"dtype":"F33","shape":[1],"data_offsets":[0,4]}"#, 4));
    assert!(message.contains("tensor `w`") && message.contains("F33"), "{message}");
    assert!(refusal(&file(r#"{"__metadata__":{"a":1}}"#, b"")).contains("expected a string"));
}

#[test]
fn a_tensor_without_elements_shares_its_neighbours_offset() {
    let header =
        r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"b":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;
    let opened = open(&file(header, &[0; 4])).unwrap();
    assert!(opened.get("a").unwrap().is_empty());
    assert_eq!(opened.get("b").unwrap().len(), 1);
}

#[test]
fn unaligned_data_is_read_correctly() {
    for padding in 0..8 {
        let header = format!(r#"{{"w":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}{}"#, " ".repeat(padding));
        let data: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(open(&file(&header, &data)).unwrap().get("w").unwrap().to_f32().unwrap(), [1.5, -2.0]);
    }
}

#[test]
fn truncation_is_noticed_wherever_it_falls() {
    let whole = two_tensors();
    for len in 0..whole.len() {
        refusal(&whole[..len]);
    }
}

#[test]
fn pickles_are_refused_and_a_header_that_starts_like_one_is_not() {
    let pickle = [b"\x80\x02}q\x00X\x05\x00\x00\x00".as_slice(), &[0; 64]].concat();
    for content in [pickle, b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl".to_vec()] {
        let message = refusal(&content);
        assert!(message.contains("pickle") && message.contains("save_pretrained"), "{message}");
    }
    assert!(matches!(
        open(b"version https://git-lfs.github.com/spec/v1\n"),
        Err(CheckpointError::Foreign { what: Foreign::GitLfsPointer, .. })
    ));
    // 0x0280 = 640: the file starts with the bytes 80 02, as a pickle of protocol 2 does.
    let header = format!("{:<640}", r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#);
    let file = file(&header, &[0; 4]);
    assert_eq!(file[..2], [0x80, 2]);
    open(&file).unwrap();
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let message = refusal(&file(r#"{"\u001b[31mred\n":{"dtype":"F32","shape":[1],"data_offsets":[0,5]}}"#, &[0; 5]));
    assert!(!message.contains('\u{1b}') && !message.contains('\n') && message.contains("\\u{1b}[31mred"), "{message}");
}

#[test]
fn integers_are_not_taken_for_floats() {
    let file = open(&entry(r#"{"dtype":"I64","shape":[1],"data_offsets":[0,8]}"#, 8)).unwrap();
    assert!(file.get("w").unwrap().to_f32().unwrap_err().to_string().contains("`w` holds I64"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = open(&bytes);
    }

    #[test]
    fn arbitrary_headers_never_panic(header in "\\{(\"[ab]\":)?[\\{\\}\\[\\]:,\"a-zA-Z0-9_ -]{0,80}", data in 0usize..32) {
        let _ = open(&file(&header, &vec![0; data]));
    }

    #[test]
    fn changed_bytes_give_an_error_or_ranges_inside_the_file(at in any::<prop::sample::Index>(), byte: u8) {
        let mut content = two_tensors();
        let at = at.index(content.len());
        content[at] = byte;
        if let Ok(file) = open(&content) {
            for tensor in file.tensors() {
                prop_assert!(tensor.bytes().len() <= 20);
            }
        }
    }
}
