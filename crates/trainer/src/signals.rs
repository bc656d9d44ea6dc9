//! Signals that end a run in good order.
//!
//! SIGINT, SIGTERM and SIGUSR1 let the step that is running finish; the run is then saved and ended. A second SIGINT or
//! SIGTERM ends the process at once, and so does the first while there is no step to finish. SIGXFSZ, which would end it without a word, is left to the write that was refused.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;

/// A signal that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// Asked to end, by a scheduler as a rule.
    Terminate,
    /// Asked to save and end with success, by a scheduler that will start the run again.
    SaveAndStop,
}

impl Signal {
    /// The exit code of a run that this signal stopped: 128 and the signal's number, or success.
    pub fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 128 + SIGINT as u8,
            Signal::Terminate => 128 + SIGTERM as u8,
            Signal::SaveAndStop => 0,
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::SaveAndStop => "SIGUSR1",
        })
    }
}

/// The last signal received.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Its number, or 0.
    received: Arc<AtomicUsize>,
    /// Whether the next SIGINT or SIGTERM ends the process.
    ends: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on. Until [`defer`](Self::defer) SIGINT and SIGTERM end the process at once.
    ///
    /// # Errors
    /// The system's.
    pub fn listen() -> io::Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        let ends = Arc::new(AtomicBool::new(true));
        for (number, signal) in [(SIGINT, Signal::Interrupt), (SIGTERM, Signal::Terminate)] {
            // Handlers run in this order: a signal that finds `ends` unset sets it, and the next one ends the process.
            flag::register_conditional_shutdown(number, i32::from(signal.exit_code()), Arc::clone(&ends))?;
            flag::register(number, Arc::clone(&ends))?;
            flag::register_usize(number, Arc::clone(&received), number as usize)?;
        }
        flag::register_usize(SIGUSR1, Arc::clone(&received), SIGUSR1 as usize)?;
        // With a handler in place a write beyond the limit of a file's size fails with EFBIG, which names the file.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(Self { received, ends })
    }

    /// From now on someone looks at [`received`](Self::received) after each step.
    pub fn defer(&self) {
        self.ends.store(false, Ordering::Relaxed);
    }

    /// Nobody looks any more: SIGINT and SIGTERM end the process at once again. One that was [`received`](Self::received) before is
    /// for the caller to obey.
    pub fn end_at_once(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// The signal to obey, if one was received.
    pub fn received(&self) -> Option<Signal> {
        match self.received.load(Ordering::Relaxed) as i32 {
            SIGINT => Some(Signal::Interrupt),
            SIGTERM => Some(Signal::Terminate),
            SIGUSR1 => Some(Signal::SaveAndStop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_remembered() {
        let signals = Signals::listen().unwrap();
        signal_hook::low_level::raise(SIGXFSZ).unwrap();
        assert_eq!(signals.received(), None);
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert_eq!(signals.received(), Some(Signal::SaveAndStop));
        assert_eq!(Signals::default().received(), None);
        assert_eq!((Signal::Interrupt.exit_code(), Signal::Terminate.exit_code()), (130, 143));
    }
}
