//! Texts that are written at once, shown one after the other.

use data::{TextStream, Tokenizer};

use crate::Error;
use crate::console::Console;

/// What people see of some texts. The first that has not ended is shown as it grows; what is written of those behind it waits for
/// their turn.
pub(super) struct Shown<'a> {
    console: Console,
    texts: Vec<Growing<'a>>,
    /// The text whose turn it is.
    turn: usize,
}

struct Growing<'a> {
    /// Nothing once the text has ended.
    stream: Option<TextStream<'a>>,
    /// What has not been shown.
    waiting: String,
}

impl<'a> Shown<'a> {
    /// Texts that begin with `beginnings`.
    ///
    /// # Errors
    /// [`Error::Stdout`].
    pub(super) fn new(
        console: Console,
        tokenizer: &'a Tokenizer,
        beginnings: impl Iterator<Item = String>,
    ) -> Result<Self, Error> {
        let begin = |waiting| Growing { stream: Some(tokenizer.stream(true)), waiting };
        let mut shown = Self { console, texts: beginnings.map(begin).collect(), turn: 0 };
        shown.show()?;
        Ok(shown)
    }

    /// Text number `index` has one token more.
    ///
    /// # Errors
    /// The tokenizer cannot decode it; [`Error::Stdout`].
    pub(super) fn add(&mut self, index: usize, token: u32) -> Result<(), Error> {
        let text = &mut self.texts[index];
        if let Some(stream) = &mut text.stream {
            text.waiting += &stream.push(token)?;
        }
        self.show()
    }

    /// Text number `index` has ended.
    ///
    /// # Errors
    /// The tokenizer cannot decode what was held back; [`Error::Stdout`].
    pub(super) fn end(&mut self, index: usize) -> Result<(), Error> {
        let text = &mut self.texts[index];
        if let Some(stream) = text.stream.take() {
            text.waiting += &stream.finish()?;
            text.waiting.push('\n');
        }
        self.show()
    }

    fn show(&mut self) -> Result<(), Error> {
        while let Some(text) = self.texts.get_mut(self.turn) {
            self.console.fragment(&std::mem::take(&mut text.waiting))?;
            if text.stream.is_some() {
                break;
            }
            self.turn += 1;
        }
        Ok(())
    }
}
