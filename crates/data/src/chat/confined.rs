//! Rendering where a hostile template can do no harm.

use crate::DataError;
use crate::guard::guarded;

/// Units of work that one rendering may take: an instruction, or 64 bytes of text. Templates of real models need a few
/// thousand for a conversation. An endless loop stops after about a quarter of a second, and a text of some ten MB before it
/// is built.
pub(super) const FUEL: u64 = 1_000_000;

/// A value nested by a loop is dropped, compared and printed by recursion. All the fuel buys some 450 000 levels, each of
/// which takes less than 300 bytes of stack. Memory that is not touched is not used.
const STACK: usize = 256 << 20;

/// Runs `render` on a thread of its own, whose stack no template can exhaust.
pub(super) fn confined<T: Send>(render: impl FnOnce() -> Result<T, DataError> + Send) -> Result<T, DataError> {
    let refused = |reason: String| DataError::Template { line: None, reason };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat template".to_owned()).stack_size(STACK);
        let running = thread.spawn_scoped(scope, || guarded(render)).map_err(|error| refused(error.to_string()))?;
        match running.join() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(refused(panic)),
            Err(_) => Err(refused("the rendering thread was lost".to_owned())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_panics_come_back() {
        assert_eq!(confined(|| Ok(3)).unwrap(), 3);
        let error = confined::<()>(|| panic!("lost")).unwrap_err().to_string();
        assert!(error.contains("`lost`"), "{error}");
    }
}
