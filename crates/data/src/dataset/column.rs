//! The numbers of all examples, one after the other: in memory or in a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use checkpoint::MappedFile;
use sha2::{Digest, Sha256};

use crate::DataError;

/// Bytes of a mapped file that are held at once while it is read through.
const HELD: usize = 1 << 20;

/// Numbers that do not change any more.
#[derive(Clone, Debug)]
pub(super) enum Column<T> {
    Memory(Vec<T>),
    /// As the machine holds them, from the first byte of the file to its last.
    Mapped(Arc<MappedFile>),
}

impl<T: Pod> Column<T> {
    /// The `len` numbers of the file `path`; `None` if it holds another number of them.
    pub(super) fn open(path: &Path, len: usize) -> Result<Option<Self>, DataError> {
        let bytes = std::fs::metadata(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?.len();
        if Some(bytes) != len.checked_mul(size_of::<T>()).map(|bytes| bytes as u64) {
            return Ok(None);
        }
        if len == 0 {
            // There is no mapping of no bytes.
            return Ok(Some(Self::Memory(Vec::new())));
        }
        let file = MappedFile::open(path)?;
        let is_whole = bytemuck::try_cast_slice::<u8, T>(file.as_ref()).is_ok_and(|numbers| numbers.len() == len);
        Ok(is_whole.then(|| Self::Mapped(Arc::new(file))))
    }

    /// Adds all numbers to `hasher`. Of a mapped file no more than a little is in memory meanwhile, and nothing afterwards.
    pub(super) fn hash(&self, hasher: &mut Sha256) {
        let Self::Mapped(file) = self else {
            return hasher.update(bytemuck::cast_slice::<T, u8>(self));
        };
        let bytes: &[u8] = (**file).as_ref();
        for (index, part) in bytes.chunks(HELD).enumerate() {
            hasher.update(part);
            file.release(index * HELD, part.len());
        }
    }
}

impl<T> Column<T> {
    /// Gives the memory of what was read of a mapped file back to the system.
    pub(super) fn release(&self) {
        if let Self::Mapped(file) = self {
            file.release(0, (**file).as_ref().len());
        }
    }

    pub(super) fn bytes_in_memory(&self) -> usize {
        match self {
            Self::Memory(numbers) => size_of_val(numbers.as_slice()),
            Self::Mapped(_) => 0,
        }
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Memory(numbers) => numbers,
            // Pages are aligned for every number, and the length was looked at.
            Self::Mapped(file) => bytemuck::cast_slice((**file).as_ref()),
        }
    }
}

/// Numbers that more are added to, which go to a file from time to time if there is one.
#[derive(Debug)]
pub(super) struct Growing<T> {
    /// How many are in the file.
    written: usize,
    rest: Vec<T>,
    file: Option<BufWriter<File>>,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self { written: 0, rest: Vec::new(), file: None }
    }
}

impl<T: Pod> Growing<T> {
    /// None yet; they will go to the new file `path`.
    pub(super) fn into_file(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        Ok(Self { file: Some(file), ..Self::default() })
    }

    /// How many there are, wherever they are.
    pub(super) fn len(&self) -> usize {
        self.written + self.rest.len()
    }

    pub(super) fn push(&mut self, number: T) {
        self.rest.push(number);
    }

    pub(super) fn extend(&mut self, numbers: impl IntoIterator<Item = T>) {
        self.rest.extend(numbers);
    }

    /// Adds zeros until there are `len`.
    pub(super) fn zeros_up_to(&mut self, len: usize) {
        self.rest.resize(self.rest.len() + len.saturating_sub(self.len()), T::zeroed());
    }

    /// Moves what is in memory to the file, if there is one.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(bytemuck::cast_slice(&self.rest))?;
            self.written += self.rest.len();
            self.rest.clear();
        }
        Ok(())
    }

    /// Ends the file, safe against a power failure, and says how many numbers it holds.
    pub(super) fn close(mut self) -> io::Result<usize> {
        self.spill()?;
        if let Some(file) = self.file {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        }
        Ok(self.written)
    }

    /// All of them, where none went to a file.
    pub(super) fn into_column(mut self) -> Column<T> {
        self.rest.shrink_to_fit();
        Column::Memory(self.rest)
    }
}
