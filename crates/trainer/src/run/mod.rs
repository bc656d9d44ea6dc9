//! One training run and everything it writes.
//!
//! | concept | here |
//! |---|---|
//! | the loop, and the gradient of a step | [`trainer`], [`learner`] |
//! | what a model is trained to do | [`task`] |
//! | what a model is opened for | [`purpose`] |
//! | the base model, the rows of each step, AdamW | [`base_model`], [`rows`], [`optimizer`] |
//! | how much memory it takes | [`plan`] |
//! | evaluation, with an adapter that each row chooses | [`evaluate`], [`adapters`] |
//! | a base without its weights | [`headers`] |
//! | the output directory, held by one trainer | [`output_dir`] |
//! | checkpoints: written, found, gone on from | [`save`], [`checkpoints`], [`resume`], [`training_state`] |
//! | what makes two runs the same | [`identity`], [`record`] |
//! | what is told on the way and at the end | [`journal`], [`log`], [`progress`], [`report`], [`model_card`] |

pub mod adapters;
pub mod base_model;
pub mod checkpoints;
pub mod companions;
mod error;
pub mod evaluate;
pub mod facts;
pub mod headers;
pub mod identity;
pub mod journal;
pub mod learner;
pub mod log;
pub mod method;
pub mod model_card;
pub mod optimizer;
pub mod output_dir;
pub mod plan;
pub mod progress;
pub mod purpose;
pub mod record;
pub mod report;
pub mod resume;
pub mod rows;
pub mod save;
pub mod setup;
pub mod steps;
pub mod task;
pub mod token_cache;
pub mod trainer;
pub mod trainer_state;
pub mod training_state;

pub use error::OutputError;
