//! The bundled tiny model and its task: what `tunesmith quickstart` shows, from files that are inside the binary.
//!
//! The base model was trained from nothing by `scripts/quickstart-base` on stories made by a grammar. It can continue a
//! story and answer questions about it; the task asks for something it has never seen, a record of a story's facts.

mod bundle;
mod exact_match;
mod table;

pub(crate) use bundle::Bundle;
pub(crate) use exact_match::{Answer, TaskRow, answers};
pub(crate) use table::{Outcome, table};
