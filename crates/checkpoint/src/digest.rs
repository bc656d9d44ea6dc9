//! SHA-256 of files.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::CheckpointError;

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

/// The SHA-256 of a file's content in lower-case hexadecimal, read in chunks.
///
/// # Errors
/// [`CheckpointError::Io`].
pub fn sha256_file(path: &Path) -> Result<String, CheckpointError> {
    let failed = |source| CheckpointError::Io { action: "read", path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).map_err(failed)? {
            0 => return Ok(hexdigest(digest)),
            n => digest.update(&chunk[..n]),
        }
    }
}

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hexdigest(Sha256::new_with_prefix(bytes))
}

/// What was given to `digest`, as its SHA-256 in lower-case hexadecimal.
pub fn hexdigest(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // FIPS 180-4 examples: the empty message and "abc".
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b""), empty);
        assert_eq!(sha256_hex(b"abc"), abc);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abc").unwrap();
        assert_eq!(sha256_file(file.path()).unwrap(), abc);
    }
}
