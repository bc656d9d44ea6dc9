//! A dataset that is made by a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use super::FeedOptions;
use crate::DataError;
use crate::dataset::Dataset;
use crate::dataset::cache::TokenCache;
use crate::dataset::scan::Scanned;

/// Rows on their way into a cache.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) scanned: Arc<Scanned>,
    pub(super) how: FeedOptions,
    whole: OnceLock<Dataset>,
    /// Why they cannot be kept, if they cannot.
    unkept: OnceLock<DataError>,
    work: Mutex<Work>,
    /// Set when nobody needs the rows any more.
    is_given_up: Arc<AtomicBool>,
}

/// What is known of the thread that makes the dataset.
#[derive(Debug)]
enum Work {
    /// It may be at work.
    Begun(JoinHandle<Result<Option<Dataset>, DataError>>),
    /// It is waited for no more. It has made the dataset, or could not keep it, or ended by a panic.
    Ended,
    /// It has found something wrong, which has been told.
    Failed,
}

impl Growing {
    /// Begins to encode the rows `scanned` of a file whose SHA-256 is `content` into `cache`.
    ///
    /// # Errors
    /// [`DataError::Io`] if the system gives no thread.
    pub(super) fn start(
        scanned: Scanned,
        how: FeedOptions,
        content: String,
        cache: &TokenCache,
    ) -> Result<Self, DataError> {
        let (scanned, is_given_up) = (Arc::new(scanned), Arc::new(AtomicBool::new(false)));
        let failed = |source| DataError::Io { path: scanned.path().to_owned(), source };
        // Whoever uses the rows computes meanwhile.
        let threads = (rayon::current_num_threads() / 2).max(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| failed(std::io::Error::other(error)))?;
        let work = {
            let (scanned, how, cache, is_given_up) =
                (Arc::clone(&scanned), how.clone(), cache.clone(), Arc::clone(&is_given_up));
            let go_on = move || !is_given_up.load(Ordering::Relaxed);
            move || pool.install(|| cache.make(scanned.path(), &content, &how.encoder(), go_on))
        };
        let worker = thread::Builder::new().name("tokens".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self {
            scanned,
            how,
            whole: OnceLock::new(),
            unkept: OnceLock::new(),
            work: Mutex::new(Work::Begun(worker)),
            is_given_up,
        })
    }

    /// All rows, if they are made by now. Where they cannot be kept, they are encoded by whoever asks, until
    /// [`finish`](Self::finish) is called.
    ///
    /// # Errors
    /// Those of [`finish`](Self::finish), where something is found by now.
    pub(super) fn dataset(&self) -> Result<Option<&Dataset>, DataError> {
        let mut work = self.work();
        match &*work {
            Work::Begun(worker) if !worker.is_finished() => Ok(None),
            _ => self.join(&mut work),
        }
    }

    /// All rows, waited for.
    ///
    /// # Errors
    /// Those of [`Dataset::load_cached`] and [`DataError::Miscounted`].
    pub(super) fn finish(&self) -> Result<&Dataset, DataError> {
        match self.join(&mut self.work())? {
            Some(dataset) => Ok(dataset),
            None => self.encode(),
        }
    }

    /// Why rows cannot be kept, if that is known by now.
    pub(super) fn unkept(&self) -> Option<&DataError> {
        self.unkept.get()
    }

    /// Whether something wrong was found and told.
    pub(super) fn has_failed(&self) -> bool {
        matches!(&*self.work(), Work::Failed)
    }

    /// Waits for the thread, and takes what it has made.
    fn join(&self, work: &mut Work) -> Result<Option<&Dataset>, DataError> {
        let worker = match std::mem::replace(work, Work::Ended) {
            Work::Begun(worker) => worker,
            Work::Ended => return Ok(self.whole.get()),
            Work::Failed => {
                *work = Work::Failed;
                return Err(self.fail_again());
            }
        };
        let made = match worker.join() {
            Ok(Ok(Some(dataset))) => self.check(dataset).map(Some),
            // A disk that is full ends no run that goes on without a cache.
            Ok(Err(error @ DataError::Cache { .. })) => {
                self.unkept.get_or_init(|| error);
                Ok(None)
            }
            Ok(Ok(None)) | Err(_) => Ok(None),
            Ok(Err(error)) => Err(error),
        };
        made.inspect_err(|_| *work = Work::Failed)
    }

    /// What was told before.
    fn fail_again(&self) -> DataError {
        self.encode().err().unwrap_or_else(|| DataError::Changed { path: self.scanned.path().to_owned() })
    }

    /// All rows, encoded here and now, into memory.
    fn encode(&self) -> Result<&Dataset, DataError> {
        let FeedOptions { tokenizer, template, options } = &self.how;
        self.check(Dataset::load(self.scanned.path(), tokenizer.as_deref(), template.as_deref(), options)?)
    }

    fn check(&self, dataset: Dataset) -> Result<&Dataset, DataError> {
        match self.scanned.lines() == &dataset.columns.lines[..] {
            true => Ok(self.whole.get_or_init(|| dataset)),
            false => Err(DataError::Miscounted { path: self.scanned.path().to_owned() }),
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // What it says is true whatever happened to who held it.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Growing {
    /// Ends the work, so that what is unfinished is removed.
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        if let Work::Begun(worker) = std::mem::replace(&mut *self.work(), Work::Ended) {
            // Nobody is left to be told what came of it.
            let _ = worker.join();
        }
    }
}
