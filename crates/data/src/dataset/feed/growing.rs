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
    cache: TokenCache,
    whole: OnceLock<Dataset>,
    /// What makes the dataset; nothing once it has been waited for.
    worker: Mutex<Option<Worker>>,
    /// Set when nobody needs the rows any more.
    is_given_up: Arc<AtomicBool>,
}

type Worker = JoinHandle<Result<Option<Dataset>, DataError>>;

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
            cache: cache.clone(),
            whole: OnceLock::new(),
            worker: Mutex::new(Some(worker)),
            is_given_up,
        })
    }

    /// Whether [`finish`](Self::finish) would not wait.
    pub(super) fn has_ended(&self) -> bool {
        self.whole.get().is_some() || self.worker().as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// All rows, waited for.
    ///
    /// # Errors
    /// Those of [`Dataset::load_cached`] and [`DataError::Miscounted`].
    pub(super) fn finish(&self) -> Result<&Dataset, DataError> {
        let mut worker = self.worker();
        if let Some(dataset) = self.whole.get() {
            return Ok(dataset);
        }
        let made = worker.take().map(JoinHandle::join);
        let (path, FeedOptions { tokenizer, template, options }) = (self.scanned.path(), &self.how);
        let (tokenizer, template) = (tokenizer.as_deref(), template.as_deref());
        let dataset = match made {
            Some(Ok(Ok(Some(dataset)))) => dataset,
            // A disk that is full ends no run that goes on without a cache.
            Some(Ok(Err(DataError::Cache { .. }))) => Dataset::load(path, tokenizer, template, options)?,
            Some(Ok(Err(error))) => return Err(error),
            // A thread that panicked, or told of an error before, has left nothing: its work is done again here.
            Some(Ok(Ok(None)) | Err(_)) | None => {
                Dataset::load_cached(path, tokenizer, template, options, &self.cache)?
            }
        };
        match self.scanned.lines() == &dataset.columns.lines[..] {
            true => Ok(self.whole.get_or_init(|| dataset)),
            false => Err(DataError::Miscounted { path: path.to_owned() }),
        }
    }

    fn worker(&self) -> MutexGuard<'_, Option<Worker>> {
        // A handle is whole whatever happened to who held it.
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Growing {
    /// Ends the work, so that what is unfinished is removed.
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker().take() {
            // Nobody is left to be told what came of it.
            let _ = worker.join();
        }
    }
}
