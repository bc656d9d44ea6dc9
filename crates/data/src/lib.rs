//! Rows in, token ids and labels out. No tensor, no device.
//!
//! | concept | here |
//! |---|---|
//! | text to token ids and back, special tokens | [`Tokenizer`], [`SpecialTokens`], [`TextStream`] |
//! | messages to text, and which of it the assistant wrote | [`ChatTemplate`], [`Conversation`], [`Rendered`] |
//! | one line of a file, before it is encoded | [`Row`] |
//! | one row, encoded | [`Example`] |
//! | an image file as pixel values | [`ImageProcessor`] |
//! | all rows of a file, encoded, or all images of a folder | [`Dataset`], [`DataOptions`], [`ImageOptions`], [`Statistics`] |
//! | encoded rows in mapped files, made once | [`TokenCache`] |
//! | rows that are used while others are still being encoded | [`Feed`], [`FeedOptions`] |
//! | the order of rows in an epoch | [`Permutation`] |
//! | which rows make up which optimizer step | [`BatchPlan`], [`Step`] |
//! | several rows in one place of a batch | [`Bins`] |
//! | what the model is given | [`Batch`], padded by [`Padding`] if asked for |
//!
//! Everything here is a function of its arguments: the same file, seed and step give the same batch, whatever ran before
//! and on however many threads.

#![forbid(unsafe_code)]

mod batch;
mod chat;
mod conversation;
mod dataset;
mod encode;
mod error;
mod example;
mod guard;
mod image;
mod image_folder;
mod json;
mod label_names;
mod lines;
mod options;
mod order;
mod packing;
mod plan;
mod prompts;
mod row;
mod special_tokens;
mod split;
mod statistics;
mod text_stream;
mod tokenizer;

#[cfg(test)]
mod testing;

pub use batch::{Batch, Padding};
pub use chat::{ChatTemplate, Rendered};
pub use conversation::Conversation;
pub use dataset::{Dataset, Feed, FeedOptions, TokenCache};
pub use error::DataError;
pub use example::{Example, IGNORE_INDEX};
pub use image::ImageProcessor;
pub use image_folder::is_image_folder;
pub use label_names::label_names;
pub use lines::BLOCK_BYTES;
pub use options::{DataOptions, ImageOptions, Task};
pub use order::Permutation;
pub use packing::{Bins, first_fit};
pub use plan::{BatchPlan, PlanOptions, Step};
pub use prompts::{Prompt, read_prompts};
pub use row::{Label, Row, TokenizedRow, alpaca_prompt};
pub use special_tokens::SpecialTokens;
pub use split::Split;
pub use statistics::Statistics;
pub use text_stream::TextStream;
pub use tokenizer::{Tokenizer, token_ids};
