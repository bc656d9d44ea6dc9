//! What the user reads. A closed pipe or a full disk behind stdout never stops a run.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::Error;

/// Where a command writes. With `--json`, stdout carries one JSON object and nothing else: what is meant for people goes
/// to stderr.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console {
    json: bool,
}

impl Console {
    /// For a command that was given `--json` or not.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether `--json` was given.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people.
    pub fn line(&self, text: impl Display) {
        if self.json { write(&mut io::stderr(), &text) } else { write(&mut io::stdout(), &text) }
    }

    /// A part of a line for people, shown at once: streamed text, which the command was called for.
    ///
    /// # Errors
    /// As [`Console::result`].
    pub fn fragment(&self, text: &str) -> Result<(), Error> {
        let mut stdout = io::stdout();
        match self.json {
            true => Ok(()),
            false => unless_reader_left(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())),
        }
    }

    /// A line for people that the command was called for.
    ///
    /// # Errors
    /// As [`Console::result`].
    pub fn answer(&self, text: impl Display) -> Result<(), Error> {
        self.fragment(&format!("{text}\n"))
    }

    /// Something to be aware of, on stderr.
    pub fn warning(&self, text: impl Display) {
        write(&mut io::stderr(), &format_args!("warning: {text}"));
    }

    /// The result of a `--json` command, on one line. It is what the command was called for, so that losing it is an error,
    /// unless it was the reader who went away.
    ///
    /// # Errors
    /// [`Error::Stdout`].
    pub fn result(&self, value: &impl Serialize) -> Result<(), Error> {
        let json = serde_json::to_string(value).map_err(io::Error::from);
        let mut stdout = io::stdout();
        unless_reader_left(json.and_then(|json| {
            stdout.write_all(format!("{json}\n").as_bytes())?;
            stdout.flush()
        }))
    }

    /// Whether a bar that redraws itself makes sense.
    pub fn is_interactive(&self) -> bool {
        !self.json && io::stderr().is_terminal() && io::stdout().is_terminal()
    }
}

/// What came of writing to stdout. A reader that left did not want the rest.
///
/// # Errors
/// [`Error::Stdout`].
pub(crate) fn unless_reader_left(written: io::Result<()>) -> Result<(), Error> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// An error and what caused it, on stderr.
pub fn error(text: impl Display) {
    write(&mut io::stderr(), &format_args!("error: {text}"));
}

fn write(out: &mut impl Write, text: &dyn Display) {
    // One write per line, so that lines of several processes do not mix; its failure has no one to be told to.
    let _ = out.write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_a_reader_that_left_is_not() {
        let failed = |kind: io::ErrorKind| unless_reader_left(Err(kind.into()));
        assert!(matches!(failed(io::ErrorKind::StorageFull), Err(Error::Stdout(_))));
        assert!(failed(io::ErrorKind::BrokenPipe).is_ok() && unless_reader_left(Ok(())).is_ok());
    }
}
