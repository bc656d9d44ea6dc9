//! Mistakes of this program. They end it with one line and exit code 70; no panic text reaches a user.

use std::panic::{self, UnwindSafe};
use std::sync::{Mutex, PoisonError};

/// Exit code of an internal error, `EX_SOFTWARE` of sysexits.
pub const EXIT_INTERNAL: u8 = 70;

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `body`; if it panics, says so in one line and gives [`EXIT_INTERNAL`].
///
/// Panics that are caught further in, such as those of a tokenizer that was given a broken file, are not told: whoever
/// catches them reports an error.
pub fn guard(body: impl FnOnce() -> u8 + UnwindSafe) -> u8 {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
        let payload = info.payload();
        let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("no message").lines().next().unwrap_or_default();
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{message}{place}"));
    }));
    panic::catch_unwind(body).unwrap_or_else(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        crate::console::error(format_args!("internal error: {last}; please report it with the command that led to it"));
        EXIT_INTERNAL
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_exit_code() {
        let hook = panic::take_hook();
        assert_eq!(guard(|| 3), 3);
        assert_eq!(guard(|| panic!("on purpose\nwith two lines")), EXIT_INTERNAL);
        panic::set_hook(hook);
    }
}
