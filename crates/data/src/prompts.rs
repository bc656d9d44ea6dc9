//! `{"prompt", "adapter"}`: texts to continue.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::Value;

use crate::encode::chosen_adapter;
use crate::lines::Lines;
use crate::row::text;
use crate::{DataError, DataOptions};

/// A text to continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// The adapter that it is for, by its place in [`DataOptions::adapters`].
    pub adapter: Option<u32>,
    /// The line that it is on, from 1, if it is in a file.
    pub line: Option<usize>,
}

/// The prompts in the JSON Lines file `path`. Keys other than `prompt` and `adapter` are ignored.
///
/// # Errors
/// [`DataError::Io`], [`DataError::Row`] for the first bad line, [`DataError::NoRows`].
pub fn read_prompts(path: &Path, options: &DataOptions) -> Result<Vec<Prompt>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut lines = Lines::new(BufReader::with_capacity(1 << 20, file), path, options.max_line_bytes);
    let mut prompts = Vec::new();
    loop {
        let block = lines.block()?;
        if block.is_empty() {
            break;
        }
        for line in block {
            let prompt = || {
                let mut object = line.object()?;
                let adapter = chosen_adapter(&mut object, &options.adapters)?;
                if object.get("prompt").is_none_or(Value::is_null) {
                    return Err(DataError::NoPrompt { keys: object.keys().cloned().collect() });
                }
                Ok(Prompt { text: text(&mut object, "prompt", "adapter")?, adapter, line: Some(line.number) })
            };
            let at = |source| DataError::Row { path: path.to_owned(), line: line.number, source: Box::new(source) };
            prompts.push(prompt().map_err(at)?);
        }
    }
    if prompts.is_empty() {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    Ok(prompts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_choose_adapters() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prompts.jsonl");
        let options = DataOptions { adapters: vec!["x".to_owned(), "base".to_owned()], ..DataOptions::new(10) };
        let read = |text: &str, options: &DataOptions| {
            std::fs::write(&path, text).unwrap();
            read_prompts(&path, options).map_err(|error| error.to_string())
        };
        let prompt = |text: &str, adapter, line| Prompt { text: text.to_owned(), adapter, line: Some(line) };
        let rows = "{\"prompt\":\"a\",\"adapter\":\"base\"}\n\n{\"adapter\":\"x\",\"prompt\":\"b\",\"id\":1}\n";
        assert_eq!(read(rows, &options), Ok(vec![prompt("a", Some(1), 1), prompt("b", Some(0), 3)]));
        let error = read("{\"prompt\":\"a\"}\n", &options).unwrap_err();
        assert!(error.contains("prompts.jsonl:1") && error.contains("there are x, base"), "{error}");
        assert_eq!(read("{\"prompt\":\"a\"}\n", &DataOptions::new(10)), Ok(vec![prompt("a", None, 1)]));
        let error =
            read("{\"prompt\":\"a\"}\n{\"prompt\":\"a\",\"adapter\":\"x\"}\n", &DataOptions::new(10)).unwrap_err();
        assert!(error.contains("prompts.jsonl:2: the row names an `adapter`, and none is given by name"), "{error}");
        for (row, keys) in [
            ("{\"text\":\"a\",\"adapter\":\"x\"}", "the keys `text`;"),
            ("{\"prompt\":null,\"adapter\":\"x\"}", "the keys `prompt`;"),
        ] {
            let error = read(row, &options).unwrap_err();
            assert!(error.contains(keys) && error.contains("{prompt, adapter}"), "{error}");
        }
        assert!(read("", &options).is_err());
    }
}
