//! One training run and everything it writes.

pub mod checkpoints;
mod error;
pub mod identity;
pub mod log;
pub mod model_card;
pub mod output_dir;
pub mod progress;
pub mod report;
pub mod trainer_state;

pub use error::OutputError;
