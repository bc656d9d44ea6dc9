//! Shared by the integration tests: the program, a tiny model, rows, and a directory to work in.

mod program;
mod random_model;
mod workspace;

pub use program::{Output, tunesmith};
pub use random_model::{Llama, write_hollow_llama, write_llama};
pub use workspace::{Workspace, data, metrics};
