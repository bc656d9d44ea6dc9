//! Where the rows of a file are, before they are encoded.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::{at, encode_line, reader, row_of};
use crate::encode::Encoder;
use crate::lines::{Line, Lines};
use crate::{DataError, Example};

/// The rows of a file that make one example each, to be encoded one by one.
#[derive(Debug)]
pub(super) struct Scanned {
    path: PathBuf,
    file: Mutex<File>,
    /// Of each row, where its line begins.
    starts: Vec<u64>,
    /// Of each row, the number of its line.
    lines: Vec<u64>,
    /// Bytes of the file.
    end: u64,
}

impl Scanned {
    /// Looks at every row of `path` without encoding it, in parallel. `None` if a row does not make one example, or if that is not
    /// known before it is encoded.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Row`] for the first row in which something is found wrong; [`DataError::NoRows`].
    pub(super) fn new(path: &Path, encoder: &Encoder<'_>) -> Result<Option<Self>, DataError> {
        let failed = |source| DataError::Io { path: path.to_owned(), source };
        let file = Mutex::new(File::open(path).map_err(failed)?);
        let (mut starts, mut numbers) = (Vec::new(), Vec::new());
        let mut lines = Lines::new(reader(path)?, path, encoder.options.max_line_bytes);
        let makes_one = |line: &Line| encoder.makes_one(row_of(line, encoder)?.0);
        loop {
            let block = lines.block()?;
            if block.is_empty() {
                break;
            }
            let rows: Vec<_> = block.par_iter().map(makes_one).collect();
            for (line, makes_one) in block.iter().zip(rows) {
                if !makes_one.map_err(|error| at(path, line.number, error))? {
                    return Ok(None);
                }
                starts.push(line.start);
                numbers.push(line.number as u64);
            }
        }
        match starts.is_empty() {
            true => Err(DataError::NoRows { path: path.to_owned() }),
            false => Ok(Some(Self { path: path.to_owned(), file, starts, lines: numbers, end: lines.position() })),
        }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The numbers of the rows' lines.
    pub(super) fn lines(&self) -> &[u64] {
        &self.lines
    }

    /// About how many bytes the line of each row has.
    pub(super) fn bytes(&self) -> impl Iterator<Item = usize> {
        let ends = self.starts.iter().skip(1).chain([&self.end]);
        self.starts.iter().zip(ends).map(|(start, end)| (end - start) as usize)
    }

    /// Bytes of memory of what is known of the rows.
    pub(super) fn bytes_in_memory(&self) -> u64 {
        (size_of_val(self.starts.as_slice()) + size_of_val(self.lines.as_slice())) as u64
    }

    /// The examples of `rows`, encoded now, in parallel.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Row`], [`DataError::Changed`].
    pub(super) fn encode(&self, rows: &[usize], encoder: &Encoder<'_>) -> Result<Vec<Example>, DataError> {
        let lines = rows.iter().map(|&row| self.line(row, encoder)).collect::<Result<Vec<_>, _>>()?;
        let encode = |line: &Line| {
            let encoded = encode_line(line, encoder).map_err(|error| at(&self.path, line.number, error))?;
            let mut examples = encoded.into_iter().map(|encoded| encoded.example);
            match (examples.next(), examples.next()) {
                (Some(example), None) => Ok(example),
                _ => Err(self.changed()),
            }
        };
        lines.par_iter().map(encode).collect()
    }

    fn line(&self, row: usize, encoder: &Encoder<'_>) -> Result<Line, DataError> {
        let failed = |source| DataError::Io { path: self.path.clone(), source };
        // What was locked is only moved about in.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.starts[row])).map_err(failed)?;
        let before = self.lines[row] as usize - 1;
        let mut lines = Lines::after(before, BufReader::new(&*file), &self.path, encoder.options.max_line_bytes);
        lines.line()?.ok_or_else(|| self.changed())
    }

    fn changed(&self) -> DataError {
        DataError::Changed { path: self.path.clone() }
    }
}
