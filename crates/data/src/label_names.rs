//! The classes that the rows of a file name.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Map, Value};

use crate::lines::Lines;
use crate::{DataError, DataOptions, IGNORE_INDEX, image_folder};

/// The names of classes in the rows of `path`, `{"text", "label": "name"}` or `{"tokens", "tags": ["name", ...]}`, in
/// alphabetical order; none where classes are numbers. Of a folder of images, those of its folders. What else is wrong with
/// the rows is left to [`crate::Dataset::load`].
///
/// # Errors
/// [`DataError::Io`], and [`DataError::Row`] for a line that is no object, and where only some rows name their class.
pub fn label_names(path: &Path, options: &DataOptions) -> Result<Vec<String>, DataError> {
    if path.is_dir() {
        return Ok(image_folder::classes(path)?.into_iter().map(|class| class.name).collect());
    }
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
            let found = names_in(&object);
            if found.as_ref().is_some_and(Vec::is_empty) {
                continue;
            }
            let (same, opposite) = if found.is_some() { (&mut named, unnamed) } else { (&mut unnamed, named) };
            same.get_or_insert(line.number);
            if let Some(other) = opposite {
                return Err(at(DataError::SomeLabelsNamed { other }));
            }
            names.extend(found.into_iter().flatten().map(str::to_owned));
        }
    }
}

/// The names in a row; none of them where all of its words are left out, and `None` where classes are numbers.
fn names_in(object: &Map<String, Value>) -> Option<Vec<&str>> {
    let name = ["label", "labels"].into_iter().find_map(|key| object.get(key)?.as_str());
    let words = || object.contains_key("tokens").then(|| object.get("tags").or(object.get("labels"))?.as_array())?;
    match (name, words()) {
        (Some(name), _) => Some(vec![name]),
        (None, Some(tags)) => {
            let is_left_out = |tag: &Value| tag.as_i64() == Some(IGNORE_INDEX);
            let names: Vec<&str> = tags.iter().filter_map(Value::as_str).collect();
            (!names.is_empty() || tags.iter().all(is_left_out)).then_some(names)
        }
        (None, None) => None,
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
        for (rows, at) in [("{\"label\":\"a\"}\n{\"label\":1}\n", 1), ("{\"label\":1}\n{}\n{\"label\":\"a\"}\n", 1)] {
            let error = names(rows).unwrap_err();
            assert!(error.contains(&format!("in line {at}, and not in both")), "{error}");
        }
        let words = "{\"tokens\":[\"a\",\"b\"],\"tags\":[\"O\",-100]}\n{\"tokens\":[],\"labels\":[]}\n{\"tokens\":[\"c\"],\"labels\":[\"B\"]}\n";
        assert_eq!(names(words).unwrap(), ["B", "O"]);
        assert!(names("{\"tokens\":[\"a\"],\"tags\":[2]}\n").unwrap().is_empty());
        let error = names("{\"label\":\"a\"}\n[1]\n").unwrap_err();
        assert!(error.contains("rows.jsonl") && error.contains('2'), "{error}");
    }
}
