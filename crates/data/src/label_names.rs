//! The classes that the rows of a file name.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::lines::Lines;
use crate::{DataError, DataOptions};

/// The names of classes in the rows of `path`, `{"text", "label": "name"}`, in alphabetical order; none where classes are
/// numbers. What else is wrong with the rows is left to [`crate::Dataset::load`].
///
/// # Errors
/// [`DataError::Io`], and [`DataError::Row`] for a line that is no object, and where only some rows name their class.
pub fn label_names(path: &Path, options: &DataOptions) -> Result<Vec<String>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut lines = Lines::new(BufReader::with_capacity(1 << 20, file), path, options.max_line_bytes);
    let mut names = BTreeSet::new();
    // The first row of either kind.
    let (mut named, mut unnamed) = (None, None);
    loop {
        let block = lines.block()?;
        if block.is_empty() {
            return Ok(names.into_iter().collect());
        }
        for line in block {
            let at = |source| DataError::Row { path: path.to_owned(), line: line.number, source: Box::new(source) };
            let object = line.object().map_err(at)?;
            let name = ["label", "labels"].into_iter().find_map(|key| object.get(key)?.as_str());
            let (same, opposite) = if name.is_some() { (&mut named, unnamed) } else { (&mut unnamed, named) };
            same.get_or_insert(line.number);
            if let Some(other) = opposite {
                return Err(at(DataError::SomeLabelsNamed { other }));
            }
            names.extend(name.map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_once_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.jsonl");
        let names = |text: &str| {
            std::fs::write(&path, text).unwrap();
            label_names(&path, &DataOptions::new(10)).map_err(|error| error.to_string())
        };
        let rows = "{\"text\":\"a\",\"label\":\"spam\"}\n\n{\"text\":\"b\",\"label\":\"ham\"}\n{\"label\":\"spam\"}\n";
        assert_eq!(names(rows).unwrap(), ["ham", "spam"]);
        assert!(names("{\"text\":\"a\",\"label\":1}\n{\"input_ids\":[1],\"labels\":[1]}\n").unwrap().is_empty());
        for (rows, at) in [("{\"label\":\"a\"}\n{\"label\":1}\n", 1), ("{\"label\":1}\n{}\n{\"label\":\"a\"}\n", 2)] {
            let error = names(rows).unwrap_err();
            assert!(error.contains(&format!("in line {at}, and not in both")), "{error}");
        }
        let error = names("{\"label\":\"a\"}\n[1]\n").unwrap_err();
        assert!(error.contains("rows.jsonl") && error.contains('2'), "{error}");
    }
}
