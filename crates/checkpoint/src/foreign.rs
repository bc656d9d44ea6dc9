//! Files that are not what their name says, recognised by their first bytes.

use std::fmt::{Display, Formatter};

/// What a file is when it is not safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// A Python pickle, plain or inside PyTorch's zip.
    Pickle,
    /// The placeholder that git leaves where a large file was not fetched.
    GitLfsPointer,
    /// A web page: a download that was answered with a login or error page.
    Html,
}

impl Foreign {
    /// Recognises a file by its first bytes.
    pub fn recognise(start: &[u8]) -> Option<Self> {
        let text = start.trim_ascii_start();
        let tag = |t: &str| text.get(..t.len()).is_some_and(|s| s.eq_ignore_ascii_case(t.as_bytes()));
        match start {
            [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => Some(Foreign::Pickle),
            _ if start.starts_with(b"version https://git-lfs") => Some(Foreign::GitLfsPointer),
            _ if tag("<!doctype html") || tag("<html") => Some(Foreign::Html),
            _ => None,
        }
    }
}

impl Display for Foreign {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Foreign::Pickle => {
                "a Python pickle, which can run code when it is read and is refused; convert it in Python: load it with \
                 `from_pretrained` and write it with `save_pretrained`, which saves safetensors"
            }
            Foreign::GitLfsPointer => "a Git LFS pointer instead of the file itself; run `git lfs pull` there",
            Foreign::Html => "a web page instead of the file; the download needs a login or another address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart() {
        assert_eq!(Foreign::recognise(b"PK\x03\x04rest"), Some(Foreign::Pickle));
        for protocol in 2..=5 {
            assert_eq!(Foreign::recognise(&[0x80, protocol, b'}']), Some(Foreign::Pickle));
        }
        assert_eq!(Foreign::recognise(b"version https://git-lfs.github.com/spec/v1"), Some(Foreign::GitLfsPointer));
        assert_eq!(Foreign::recognise(b"\n<!DOCTYPE HTML><p>"), Some(Foreign::Html));
        assert_eq!(Foreign::recognise(b"{}"), None);
        assert_eq!(Foreign::recognise(b""), None);
    }
}
