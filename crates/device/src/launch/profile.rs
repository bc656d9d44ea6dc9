//! The time that each launch takes on its device.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::kind::Point;
use super::{Executor, Inner};
use crate::DeviceError;

/// A kernel, and the points before and behind it.
pub(super) type Timed = (&'static str, Point, Point);

impl Executor {
    /// Runs `work` and tells how long each of its launches took by the device's own clock, in their order. The points between
    /// them cost some time themselves. Waits for the device.
    ///
    /// # Errors
    /// What `work` returns, and [`DeviceError::Driver`] if something that was started failed.
    pub fn profile<E: From<DeviceError>>(
        &self,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<Vec<(&'static str, Duration)>, E> {
        let Inner { kind, is_profiled, .. } = &*self.0;
        self.timed().clear();
        is_profiled.store(true, Ordering::Release);
        let worked = work();
        is_profiled.store(false, Ordering::Release);
        worked?;
        let timed = std::mem::take(&mut *self.timed());
        let times = timed.iter().map(|(kernel, before, behind)| Ok((*kernel, kind.elapsed(before, behind)?)));
        Ok(times.collect::<Result<_, DeviceError>>()?)
    }

    /// Whether launches are timed.
    pub(super) fn is_profiled(&self) -> bool {
        self.0.is_profiled.load(Ordering::Acquire)
    }

    /// Runs `launch` of `kernel`, between two points if launches are timed.
    pub(super) fn timing(
        &self,
        kernel: &'static str,
        launch: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        if !self.is_profiled() {
            return launch();
        }
        let kind = &self.0.kind;
        let before = kind.event()?;
        launch()?;
        let behind = kind.event()?;
        self.timed().push((kernel, before, behind));
        Ok(())
    }

    fn timed(&self) -> MutexGuard<'_, Vec<Timed>> {
        // A list is whole whatever has panicked.
        self.0.timed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn launches_are_timed_while_that_is_asked_for() {
        let executor = Executor::emulated(0);
        let launch = |kernel| {
            executor.timing(kernel, || {
                std::thread::sleep(Duration::from_millis(2));
                Ok(())
            })
        };
        launch("before").unwrap();
        let times = executor.profile(|| launch("one").and_then(|()| launch("two"))).unwrap();
        launch("behind").unwrap();
        assert_eq!(times.iter().map(|(kernel, _)| *kernel).collect::<Vec<_>>(), ["one", "two"]);
        assert!(times.iter().all(|(_, time)| *time >= Duration::from_millis(2)));
        let refused = executor.profile(|| Err(DeviceError::NoKernels)).unwrap_err();
        assert!(matches!(refused, DeviceError::NoKernels));
        assert!(executor.profile(|| Ok::<_, DeviceError>(())).unwrap().is_empty());
    }
}
