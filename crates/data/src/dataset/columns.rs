//! What the examples of a dataset hold.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::column::{Column, Growing};
use crate::{DataError, Example, IGNORE_INDEX};

/// Makes the columns of a dataset, as they are read and as they grow: each has one name, of its field, its file and its
/// length.
macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $number:ty,)*) => {
        /// All examples, one after the other; 8 bytes a token of a causal model, and some for each example.
        #[derive(Clone, Debug)]
        pub(super) struct Columns {
            $($(#[$doc])* pub(super) $name: Column<$number>,)*
        }

        /// [`Columns`] that more examples are added to.
        #[derive(Debug, Default)]
        pub(super) struct GrowingColumns {
            $($name: Growing<$number>,)*
        }

        /// How many numbers each column has.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub(super) struct Lengths {
            $($name: usize,)*
        }

        impl Columns {
            /// The files in `dir`; `None` if one has another length.
            fn open_files(dir: &Path, lengths: &Lengths) -> Result<Option<Self>, DataError> {
                $(let Some($name) = Column::open(&dir.join(stringify!($name)), lengths.$name)? else { return Ok(None) };)*
                Ok(Some(Self { $($name,)* }))
            }

            /// Adds all that is in files to `hasher`. Lengths are not told: see [`Lengths`].
            pub(super) fn hash_files(&self, hasher: &mut Sha256) {
                $(self.$name.hash(hasher);)*
            }

            /// Gives the memory of what was read of files back to the system.
            pub(super) fn release(&self) {
                $(self.$name.release();)*
            }

            /// What is not in files.
            pub(super) fn bytes_in_memory(&self) -> usize {
                0 $(+ self.$name.bytes_in_memory())*
            }
        }

        impl GrowingColumns {
            /// No example yet; they will go to new files in `dir`.
            fn new_files(dir: &Path) -> io::Result<Self> {
                Ok(Self { $($name: Growing::into_file(&dir.join(stringify!($name)))?,)* })
            }

            /// Moves what is in memory to the files, if there are any.
            pub(super) fn spill(&mut self) -> io::Result<()> {
                $(self.$name.spill()?;)*
                Ok(())
            }

            /// Ends the files.
            pub(super) fn close(self) -> io::Result<Lengths> {
                Ok(Lengths { $($name: self.$name.close()?,)* })
            }

            /// All examples, where none went to a file.
            pub(super) fn into_columns(self) -> Columns {
                Columns { $($name: self.$name.into_column(),)* }
            }
        }
    };
}

columns! {
    input_ids: u32,
    /// Where each example begins in `input_ids`, and the end.
    starts: u64,
    /// A label is -100 or below 2^31, which `DataOptions` ensures.
    labels: i32,
    label_starts: u64,
    /// One for each example of a regression, or none.
    values: f32,
    /// As many as token ids, or none where all are in the first part of their text.
    token_type_ids: u32,
    /// One for each example, or none where rows name no adapter.
    adapters: u32,
    /// The line that each example came from; of images in folders, how many came before and itself.
    lines: u64,
}

impl Columns {
    /// The files in `dir`, mapped; `None` if they are not those of `lengths`, or do not fit each other.
    pub(super) fn open(dir: &Path, lengths: &Lengths) -> Result<Option<Self>, DataError> {
        Ok(Self::open_files(dir, lengths)?.filter(Self::is_consistent))
    }

    /// The numbers of example `index` in a column that `starts` divides.
    pub(super) fn part<'a, T>(column: &'a [T], starts: &[u64], index: usize) -> &'a [T] {
        &column[starts[index] as usize..starts[index + 1] as usize]
    }

    /// Whether every example lies within its columns.
    fn is_consistent(&self) -> bool {
        let examples = self.lines.len();
        let divides = |starts: &[u64], len: usize| {
            starts.len() == examples + 1
                && starts.first() == Some(&0)
                && starts.is_sorted()
                && starts.last() == Some(&(len as u64))
        };
        let each_or_none = |len: usize| len == 0 || len == examples;
        examples > 0
            && divides(&self.starts, self.input_ids.len())
            && divides(&self.label_starts, self.labels.len())
            && each_or_none(self.values.len())
            && each_or_none(self.adapters.len())
            && (self.token_type_ids.is_empty() || self.token_type_ids.len() == self.input_ids.len())
    }

    /// Adds all numbers to `hasher`, lengths first, so that no two datasets have the same bytes.
    pub(super) fn hash(&self, hasher: &mut Sha256) {
        for starts in [&self.starts, &self.label_starts] {
            hasher.update((starts.len() as u64).to_ne_bytes());
            starts.hash(hasher);
        }
        self.input_ids.hash(hasher);
        self.labels.hash(hasher);
        self.values.hash(hasher);
        self.token_type_ids.hash(hasher);
    }
}

impl GrowingColumns {
    /// No example yet, in memory.
    pub(super) fn in_memory() -> Self {
        Self::default().begun()
    }

    /// No example yet; they will go to new files in `dir`.
    pub(super) fn in_files(dir: &Path) -> io::Result<Self> {
        Ok(Self::new_files(dir)?.begun())
    }

    fn begun(mut self) -> Self {
        self.starts.push(0);
        self.label_starts.push(0);
        self
    }

    /// How many examples there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn push(&mut self, line: usize, example: &Example) {
        let before = self.input_ids.len();
        self.input_ids.extend(example.input_ids.iter().copied());
        self.starts.push(self.input_ids.len() as u64);
        // No label is lost: the encoder checked them against sizes below 2^31.
        self.labels.extend(example.labels.iter().map(|&l| i32::try_from(l).unwrap_or(IGNORE_INDEX as i32)));
        self.label_starts.push(self.labels.len() as u64);
        self.values.extend(example.values.iter().copied());
        if !example.token_type_ids.is_empty() || self.token_type_ids.len() > 0 {
            // Those before, and tokens of a text in one part, are in the first.
            self.token_type_ids.zeros_up_to(before);
            self.token_type_ids.extend(example.token_type_ids.iter().copied());
            self.token_type_ids.zeros_up_to(self.input_ids.len());
        }
        self.adapters.extend(example.adapter);
        self.lines.push(line as u64);
    }
}
