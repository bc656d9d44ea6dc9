//! The lines of a JSON Lines file, one block after the other.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::DataError;
use crate::json::{self, Fault};
use crate::row::kind;

/// A block ends after so many lines, or [bytes](BLOCK_BYTES).
const BLOCK_LINES: usize = 1024;
/// Bytes of a file that are encoded at once, but for a last line that may be longer. What is made of them in memory is several times
/// as much, and so many keep all cores busy for a while.
pub const BLOCK_BYTES: usize = 1 << 20;

/// One line that is not blank.
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    /// Of its first byte in what is read.
    pub(crate) start: u64,
    bytes: Vec<u8>,
}

/// Reads lines without ever holding more than one block and one line. A byte order mark at the beginning, carriage returns
/// at the end of lines and blank lines are dropped.
pub(crate) struct Lines<R> {
    reader: R,
    path: PathBuf,
    limit: usize,
    number: usize,
    start: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, path: &Path, limit: usize) -> Self {
        Self { reader, path: path.to_owned(), limit, number: 0, start: 0 }
    }

    /// The same where `number` lines were read before.
    pub(crate) fn after(number: usize, reader: R, path: &Path, limit: usize) -> Self {
        Self { number, ..Self::new(reader, path, limit) }
    }

    /// Bytes that were read.
    pub(crate) fn position(&self) -> u64 {
        self.start
    }

    /// The next lines; empty at the end.
    pub(crate) fn block(&mut self) -> Result<Vec<Line>, DataError> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.is_empty() || (lines.len() < BLOCK_LINES && bytes < BLOCK_BYTES) {
            let Some(line) = self.line()? else { break };
            bytes += line.bytes.len();
            if !line.bytes.iter().all(u8::is_ascii_whitespace) {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// The next line, blank or not; `None` at the end.
    pub(crate) fn line(&mut self) -> Result<Option<Line>, DataError> {
        let mut bytes = Vec::new();
        // Two bytes for the line's end.
        let mut limited = self.reader.by_ref().take(self.limit as u64 + 2);
        limited.read_until(b'\n', &mut bytes).map_err(|source| DataError::Io { path: self.path.clone(), source })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let start = self.start;
        self.start += bytes.len() as u64;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.len() > self.limit {
            return Err(self.at(DataError::LineTooLong { limit: self.limit }));
        }
        if self.number == 1 {
            if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
                return Err(DataError::Utf16 { path: self.path.clone() });
            }
            if bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
        }
        Ok(Some(Line { number: self.number, start, bytes }))
    }

    fn at(&self, source: DataError) -> DataError {
        DataError::Row { path: self.path.clone(), line: self.number, source: Box::new(source) }
    }
}

impl Line {
    /// The object on the line.
    ///
    /// # Errors
    /// [`DataError::NotUtf8`], [`DataError::Nul`], [`DataError::NotJson`], [`DataError::RepeatedKey`], [`DataError::NotAnObject`].
    pub(crate) fn object(&self) -> Result<Map<String, Value>, DataError> {
        if let Some(position) = self.bytes.iter().position(|&byte| byte == 0) {
            return Err(DataError::Nul { column: position + 1 });
        }
        let text = std::str::from_utf8(&self.bytes).map_err(|e| DataError::NotUtf8 { column: e.valid_up_to() + 1 })?;
        match json::parse(text) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(other) => Err(DataError::NotAnObject { got: kind(&other) }),
            // The first line of an indented array or object.
            Err(Fault::Repeated { key, column }) => Err(DataError::RepeatedKey { key, column }),
            Err(_) if text.trim() == "[" => Err(DataError::NotAnObject { got: "the beginning of a list" }),
            Err(_) if text.trim() == "{" => Err(DataError::NotAnObject { got: "the beginning of an indented object" }),
            Err(Fault::Syntax(error)) => {
                let reason = error.to_string();
                let end = reason.find(" at line ").unwrap_or(reason.len());
                Err(DataError::NotJson { column: error.column(), reason: reason[..end].to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbered = Vec<(usize, Map<String, Value>)>;

    fn objects(content: &[u8], limit: usize) -> Result<Numbered, DataError> {
        let mut lines = Lines::new(content, Path::new("rows.jsonl"), limit);
        let mut all = Vec::new();
        loop {
            let block = lines.block()?;
            if block.is_empty() {
                return Ok(all);
            }
            for line in block {
                all.push((line.number, line.object()?));
            }
        }
    }

    #[test]
    fn marks_returns_and_blanks_are_dropped() {
        let rows = objects(b"\xef\xbb\xbf{\"a\":1}\r\n\r\n  \t\n{\"a\":\"x\\u0000\"}\n{\"a\":3}", 100).unwrap();
        assert_eq!(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 4, 5]);
        assert_eq!(rows[1].1["a"], "x\0");
        assert!(objects(b"", 100).unwrap().is_empty());
        assert!(objects(b"\n\n", 100).unwrap().is_empty());
    }

    #[test]
    fn blocks_end_and_numbers_go_on() {
        let content = b"{}\n\n".repeat(BLOCK_LINES + 3);
        let rows = objects(&content, 100).unwrap();
        assert_eq!((rows.len(), rows.last().unwrap().0), (BLOCK_LINES + 3, 2 * (BLOCK_LINES + 3) - 1));
    }

    #[test]
    fn a_line_of_the_limit_is_read_and_a_longer_one_is_not() {
        let line = format!("{{\"a\":\"{}\"}}", "x".repeat(92));
        assert_eq!(line.len(), 100);
        for end in ["", "\n", "\r\n"] {
            assert_eq!(objects(format!("{line}{end}").as_bytes(), 100).unwrap().len(), 1, "{end:?}");
        }
        for end in ["", "\n", "\r\n"] {
            let error = objects(format!("{{}}\n{line} {end}").as_bytes(), 100).unwrap_err().to_string();
            assert!(error.starts_with("rows.jsonl:2: the line is longer than 100 bytes"), "{error}");
        }
    }

    #[test]
    fn an_endless_line_is_not_read_to_its_end() {
        let mut lines = Lines::new(std::io::BufReader::new(std::io::repeat(b'x')), Path::new("rows.jsonl"), 1 << 16);
        assert!(matches!(lines.block(), Err(DataError::Row { line: 1, .. })));
    }

    #[test]
    fn faults_name_the_byte() {
        let message = |content: &[u8]| objects(content, 1000).unwrap_err().to_string();
        assert!(message(b"{\"a\": }").starts_with("not JSON at byte 7: expected value"), "{}", message(b"{\"a\": }"));
        assert!(message(b"{\"a\": \"\xff\"}").starts_with("byte 8 of the line is not UTF-8"));
        assert!(message(b"{\"a\": \"\0\"}").starts_with("byte 8 of the line is zero"));
        assert!(message(b"{\"a\": 1, \"b\": {}, \"a\": 1}").starts_with("`a` is there twice, again at byte 21"));
        assert!(message(b"[1]").starts_with("the line is a list, expected an object"));
        assert!(message(b"[\n{}\n]").starts_with("the line is the beginning of a list"));
        assert!(message(b"\xff\xfe{\0}\0").contains("rows.jsonl is UTF-16"));
        let deep = [b"{\"a\":".repeat(100_000), b"1".to_vec()].concat();
        assert!(objects(&deep, 1 << 20).unwrap_err().to_string().contains("recursion limit"));
    }
}
