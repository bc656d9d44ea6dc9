//! Examples that are images: their files, looked at once and decoded whenever a batch is made.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::builder::Builder;
use super::columns::GrowingColumns;
use super::{Dataset, at};
use crate::encode::{Encoded, Encoder};
use crate::image_folder::{self, Class};
use crate::lines::Lines;
use crate::row::Label;
use crate::{DataError, DataOptions, Example, ImageOptions, Row, Task};

/// The files of a dataset's images.
#[derive(Clone, Debug)]
pub(super) struct Images {
    files: Vec<PathBuf>,
    /// SHA-256 of each file.
    digests: Vec<[u8; 32]>,
    options: ImageOptions,
}

impl Images {
    pub(super) fn pixel_values(&self, index: usize) -> Result<Vec<f32>, DataError> {
        self.options.processor.pixel_values(&self.files[index], self.options.size)
    }

    pub(super) fn num_tokens(&self) -> usize {
        self.options.num_tokens
    }

    /// What the files hold.
    pub(super) fn digests(&self) -> &[u8] {
        self.digests.as_flattened()
    }
}

/// One image before it is looked at.
struct Found {
    /// The line that names it, or how many came before and itself.
    line: usize,
    file: PathBuf,
    labels: Vec<i64>,
}

pub(super) fn load(path: &Path, options: &DataOptions, image: &ImageOptions) -> Result<Dataset, DataError> {
    let encoder = Encoder { tokenizer: None, template: None, options };
    let found = match path.is_dir() {
        true => in_folders(path, &encoder)?,
        false => in_rows(path, &encoder)?,
    };
    // Errors are those of the first file, whichever thread comes to it first.
    let digest = |found: &Found| Ok(Sha256::digest(image.processor.check(&found.file)?).into());
    let digests: Vec<Result<[u8; 32], DataError>> = found.par_iter().map(digest).collect();
    let digests = digests.into_iter().collect::<Result<_, _>>()?;
    let mut builder = Builder::new(&encoder, GrowingColumns::in_memory());
    let mut files = Vec::with_capacity(found.len());
    for Found { line, file, labels } in found {
        let example = Example { labels, ..Example::default() };
        builder.statistics.rows += 1;
        builder.push_example(line, &Encoded { example, ..Encoded::default() });
        files.push(file);
    }
    let statistics = &mut builder.statistics;
    statistics.tokens = (image.num_tokens * files.len()) as u64;
    statistics.longest = image.num_tokens;
    let mut dataset = builder.finish(path)?;
    dataset.images = Some(Images { files, digests, options: image.clone() });
    Ok(dataset)
}

fn in_folders(path: &Path, encoder: &Encoder<'_>) -> Result<Vec<Found>, DataError> {
    let mut found = Vec::new();
    for Class { name, dir, files } in image_folder::classes(path)? {
        let labels = labels(encoder, Some(Label::Name(name)));
        let labels = labels.map_err(|source| DataError::Class { dir, source: Box::new(source) })?;
        for file in files {
            found.push(Found { line: found.len() + 1, file, labels: labels.clone() });
        }
    }
    Ok(found)
}

fn in_rows(path: &Path, encoder: &Encoder<'_>) -> Result<Vec<Found>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut lines = Lines::new(BufReader::new(file), path, encoder.options.max_line_bytes);
    let mut found = Vec::new();
    loop {
        let block = lines.block()?;
        if block.is_empty() {
            return Ok(found);
        }
        for line in block {
            let row = line.object().and_then(|object| Row::from_object(object, Task::ImageClassification));
            let in_row = |row: Row| match row {
                Row::Image { path: file, label } => {
                    let file = path.parent().unwrap_or(Path::new("")).join(file);
                    Ok(Found { line: line.number, file, labels: labels(encoder, label)? })
                }
                other => {
                    Err(DataError::UnknownRow { keys: vec![other.key().to_owned()], task: Task::ImageClassification })
                }
            };
            found.push(row.and_then(in_row).map_err(|error| at(path, line.number, error))?);
        }
    }
}

/// The class of an image, unless it is to be embedded.
fn labels(encoder: &Encoder<'_>, label: Option<Label>) -> Result<Vec<i64>, DataError> {
    match encoder.options.task {
        Task::FeatureExtraction => Ok(Vec::new()),
        _ => Ok(vec![encoder.class(label, "image")?]),
    }
}
