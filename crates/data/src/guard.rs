//! Calls into code that may panic on hostile files.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` and returns the message of its panic, if it panics.
///
/// No panic text is printed for it: the process's panic hook is wrapped once, and the wrapper is silent on a thread that
/// is inside a guarded call. Panics elsewhere reach the hook that was there before.
pub(crate) fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    static WRAP: Once = Once::new();
    WRAP.call_once(|| {
        let outer = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                outer(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    // What `body` borrowed may be half changed after a panic. The callers lend shared references only.
    let result = catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(before);
    result.map_err(|payload| match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => {
            payload.downcast_ref::<&str>().map_or_else(|| "no reason given".to_owned(), |m| (*m).to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 3), Ok(3));
        assert_eq!(guarded(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        assert_eq!(guarded(|| panic!("with {}", 7)), Err::<(), _>("with 7".to_owned()));
        assert!(!GUARDED.get());
    }
}
