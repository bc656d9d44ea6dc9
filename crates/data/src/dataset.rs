//! All rows of a file, encoded.

mod images;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::encode::{Encoded, Encoder};
use crate::example::num_targets;
use crate::lines::Lines;
use crate::{
    ChatTemplate, DataError, DataOptions, Example, IGNORE_INDEX, ImageOptions, Row, Statistics, Task, Tokenizer,
};
use images::Images;

/// The examples of a file, in its order. All token ids lie in one vector and all labels in another, 8 bytes a token.
#[derive(Clone, Debug)]
pub struct Dataset {
    task: Task,
    input_ids: Vec<u32>,
    /// Of each example in `input_ids`, and the end.
    starts: Vec<usize>,
    /// A label is -100 or below 2^31, which [`DataOptions`] ensures.
    labels: Vec<i32>,
    label_starts: Vec<usize>,
    /// One for each example of a regression, or none.
    values: Vec<f32>,
    /// As many as token ids, or none where all are in the first part of their text.
    token_type_ids: Vec<u32>,
    /// One for each example, or none where rows name no adapter.
    adapters: Vec<u32>,
    /// The line that each example came from; of images in folders, how many came before and itself.
    lines: Vec<usize>,
    /// The files of examples that are images.
    images: Option<Images>,
    statistics: Statistics,
}

impl Dataset {
    /// Reads and encodes the JSON Lines file `path`. Rows are encoded in parallel; their order, the examples and the first
    /// error are those of the file.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Row`] for the first bad line, [`DataError::NoRows`] and
    /// [`DataError::NothingSupervised`].
    pub fn load(
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
        options: &DataOptions,
    ) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        Self::read(BufReader::with_capacity(1 << 20, file), path, tokenizer, template, options)
    }

    /// As [`load`](Self::load), from any reader; `path` names it in errors.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn read(
        reader: impl BufRead,
        path: &Path,
        tokenizer: Option<&Tokenizer>,
        template: Option<&ChatTemplate>,
        options: &DataOptions,
    ) -> Result<Self, DataError> {
        options.check()?;
        let encoder = Encoder { tokenizer, template, options };
        let mut builder = Builder::new(&encoder);
        let mut lines = Lines::new(reader, path, options.max_line_bytes);
        loop {
            let block = lines.block()?;
            if block.is_empty() {
                return builder.finish(path);
            }
            let encode = |line: &crate::lines::Line| {
                let mut object = line.object()?;
                let adapter = encoder.adapter(&mut object)?;
                let mut encoded = encoder.encode(Row::from_object(object, options.task)?)?;
                encoded.iter_mut().for_each(|encoded| encoded.example.adapter = adapter);
                Ok(encoded)
            };
            let rows: Vec<_> = block.par_iter().map(encode).collect();
            for (line, encoded) in block.iter().zip(rows) {
                builder.push(line.number, encoded.map_err(|error| at(path, line.number, error))?);
            }
        }
    }

    /// The images of `path`, one example each: a folder with a folder of PNG and JPEG files for each class, or a JSON Lines
    /// file of `{"image", "label"}`, paths in which are relative to its own. Headers are checked here; pixels are decoded
    /// whenever a batch is made, so that no more than a batch of them is in memory. For
    /// [`Task::FeatureExtraction`] labels are not looked at.
    ///
    /// # Errors
    /// Those of [`load`](Self::load); [`DataError::Image`] for a file that is none; [`DataError::Class`] for a folder that is
    /// no class of the model, [`DataError::EmptyClass`], [`DataError::NoClasses`].
    pub fn load_images(path: &Path, options: &DataOptions, image: &ImageOptions) -> Result<Self, DataError> {
        images::load(path, options, image)
    }

    /// The pixel values of the image that is example `index`, `[3, height, width]`; `None` if it is no image.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Image`] for a file that is broken.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn pixel_values(&self, index: usize) -> Result<Option<Vec<f32>>, DataError> {
        self.images.as_ref().map(|images| images.pixel_values(index)).transpose()
    }

    /// Tokens that the model makes of an image; 0 if examples are no images.
    pub fn image_tokens(&self) -> usize {
        self.images.as_ref().map_or(0, Images::num_tokens)
    }

    /// What the examples are for.
    pub fn task(&self) -> Task {
        self.task
    }

    /// How many examples there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a dataset has at least one example")]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// The token ids of example `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn input_ids(&self, index: usize) -> &[u32] {
        &self.input_ids[self.starts[index]..self.starts[index + 1]]
    }

    /// The labels of example `index`; see [`Example`].
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn labels(&self, index: usize) -> &[i32] {
        &self.labels[self.label_starts[index]..self.label_starts[index + 1]]
    }

    /// The number that example `index` of a regression is to predict.
    pub fn value(&self, index: usize) -> Option<f32> {
        self.values.get(index).copied()
    }

    /// The part of the text that each token of example `index` is in; empty where all are in the first.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn token_type_ids(&self, index: usize) -> &[u32] {
        if self.token_type_ids.is_empty() {
            return &[];
        }
        &self.token_type_ids[self.starts[index]..self.starts[index + 1]]
    }

    /// The adapter that the row of example `index` chose, by its place in [`DataOptions::adapters`].
    pub fn adapter(&self, index: usize) -> Option<u32> {
        self.adapters.get(index).copied()
    }

    /// A copy of example `index`.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn example(&self, index: usize) -> Example {
        let labels = self.labels(index).iter().map(|&label| i64::from(label)).collect();
        Example {
            input_ids: self.input_ids(index).to_vec(),
            labels,
            values: self.value(index).into_iter().collect(),
            token_type_ids: self.token_type_ids(index).to_vec(),
            adapter: self.adapter(index),
        }
    }

    /// The tokens of each example; of an encoder's and a decoder's the more.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.len()).map(|index| match self.task {
            Task::Seq2SeqLm => self.input_ids(index).len().max(self.labels(index).len()),
            _ if self.images.is_some() => self.image_tokens(),
            _ => self.input_ids(index).len(),
        })
    }

    /// The line that example `index` came from, from 1.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn line(&self, index: usize) -> usize {
        self.lines[index]
    }

    /// What became of the rows.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// A digest of all examples: whether a run that is resumed has the rows that it began with.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(self.task.as_str());
        // Lengths first, so that no two datasets have the same bytes.
        for starts in [&self.starts, &self.label_starts] {
            hasher.update((starts.len() as u64).to_le_bytes());
            starts.iter().for_each(|&start| hasher.update((start as u64).to_le_bytes()));
        }
        self.input_ids.iter().for_each(|id| hasher.update(id.to_le_bytes()));
        self.labels.iter().for_each(|label| hasher.update(label.to_le_bytes()));
        self.values.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        self.token_type_ids.iter().for_each(|part| hasher.update(part.to_le_bytes()));
        self.images.iter().for_each(|images| hasher.update(images.digests()));
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn at(path: &Path, line: usize, source: DataError) -> DataError {
    DataError::Row { path: path.to_owned(), line, source: Box::new(source) }
}

/// Puts examples one after the other.
struct Builder<'a> {
    options: &'a DataOptions,
    stop_token_ids: &'a [u32],
    dataset: Dataset,
}

impl<'a> Builder<'a> {
    fn new(encoder: &Encoder<'a>) -> Self {
        let dataset = Dataset {
            task: encoder.options.task,
            input_ids: Vec::new(),
            starts: vec![0],
            labels: Vec::new(),
            label_starts: vec![0],
            values: Vec::new(),
            token_type_ids: Vec::new(),
            adapters: Vec::new(),
            lines: Vec::new(),
            images: None,
            statistics: Statistics::default(),
        };
        let stop_token_ids = encoder.tokenizer.map_or(&[][..], |t| &t.special_tokens().stop_token_ids);
        Self { options: encoder.options, stop_token_ids, dataset }
    }

    fn push(&mut self, line: usize, examples: Vec<Encoded>) {
        self.dataset.statistics.rows += 1;
        self.dataset.statistics.split += usize::from(examples.len() > 1);
        for encoded in examples {
            if encoded.example.input_ids.is_empty() {
                self.dataset.statistics.empty += 1;
            } else {
                self.push_example(line, encoded);
            }
        }
    }

    fn push_example(&mut self, line: usize, Encoded { example, truncated, merged }: Encoded) {
        let data = &mut self.dataset;
        let targets = num_targets(data.task, &example.labels);
        let stops = |label: &i64| self.stop_token_ids.iter().any(|&stop| i64::from(stop) == *label);
        data.statistics.examples += 1;
        let decoded = if data.task == Task::Seq2SeqLm { example.labels.len() } else { 0 };
        data.statistics.tokens += (example.input_ids.len() + decoded) as u64;
        data.statistics.targets += targets as u64;
        data.statistics.longest = data.statistics.longest.max(example.input_ids.len().max(decoded));
        data.statistics.truncated += usize::from(truncated);
        data.statistics.without_targets += usize::from(targets == 0);
        data.statistics.merged += usize::from(merged);
        if matches!(data.task, Task::CausalLm | Task::Seq2SeqLm) {
            data.statistics.stopping += usize::from(example.labels.iter().any(stops));
        }
        data.input_ids.extend(&example.input_ids);
        data.starts.push(data.input_ids.len());
        // No label is lost: the encoder checked them against sizes below 2^31.
        data.labels.extend(example.labels.iter().map(|&l| i32::try_from(l).unwrap_or(IGNORE_INDEX as i32)));
        data.label_starts.push(data.labels.len());
        data.values.extend(&example.values);
        if !(example.token_type_ids.is_empty() && data.token_type_ids.is_empty()) {
            // Those before, and tokens of a text in one part, are in the first.
            data.token_type_ids.resize(data.input_ids.len() - example.input_ids.len(), 0);
            data.token_type_ids.extend(&example.token_type_ids);
            data.token_type_ids.resize(data.input_ids.len(), 0);
        }
        data.adapters.extend(example.adapter);
        data.lines.push(line);
    }

    fn finish(mut self, path: &Path) -> Result<Dataset, DataError> {
        let data = &mut self.dataset;
        if data.lines.is_empty() {
            return Err(DataError::NoRows { path: path.to_owned() });
        }
        if data.statistics.targets == 0 && data.task != Task::FeatureExtraction {
            return Err(DataError::NothingSupervised {
                path: path.to_owned(),
                rows: data.statistics.rows,
                truncated: data.statistics.truncated,
                max_length: self.options.max_length,
            });
        }
        data.input_ids.shrink_to_fit();
        data.labels.shrink_to_fit();
        Ok(self.dataset)
    }
}

#[cfg(test)]
mod tests;
