//! What can be wrong with the place a run writes to.

use std::path::PathBuf;

use checkpoint::CheckpointError;

/// Errors of the output directory and of what is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Something else has its name.
    #[error("output_dir {} is not a directory; choose another", .path.display())]
    NotADirectory {
        /// As given.
        path: PathBuf,
    },
    /// It must not exist, and does.
    #[error("{} exists already; choose a name that is free", .path.display())]
    Exists {
        /// As given.
        path: PathBuf,
    },
    /// The probe failed.
    #[error("output_dir {} cannot be written to: {source}; choose another, or change its permissions", .path.display())]
    NotWritable {
        /// As given.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another trainer is at work there.
    #[error("output_dir {} is in use by process {pid}; wait for it to end, or choose another", .path.display())]
    InUse {
        /// As given.
        path: PathBuf,
        /// Of the process that holds the lock.
        pid: String,
    },
    /// A file of somebody else has a name that is needed.
    #[error("{} is there and holds something else; move it, or choose another directory", .path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// A run would overwrite what is not its own.
    #[error("output_dir {} already holds {file}, which no run of tunesmith has written; choose another", .path.display())]
    Foreign {
        /// As given.
        path: PathBuf,
        /// What would be overwritten.
        file: &'static str,
    },
    /// A checkpoint of another run.
    #[error(
        "{} was made by a run with other settings:{}\nset them back, or start over with training.resume = \"never\" or \
         another output_dir",
        .checkpoint.display(), .differences.iter().map(|d| format!("\n  {d}")).collect::<String>()
    )]
    OtherRun {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// One line each: what differs, then and now.
        differences: Vec<String>,
    },
    /// A checkpoint's state that cannot be what this program wrote.
    #[error("{}: {reason}; use an older checkpoint, or training.resume = \"never\"", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Expected and got.
        reason: String,
    },
    /// What a run has written about itself, and something else has changed.
    #[error(
        "{} is broken: {reason}; start over with training.resume = \"never\", or choose another output_dir", .path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading or tidying failed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
