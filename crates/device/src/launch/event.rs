//! Points in the order of an executor's work, and the time between them.

use std::time::Duration;

use super::Executor;
use super::kind::Point;
use crate::DeviceError;

/// The point between what was started before and after it was [recorded](Executor::record).
#[derive(Debug)]
pub struct Event {
    executor: Executor,
    point: Point,
}

impl Executor {
    /// Marks the point that everything started so far has been done before.
    ///
    /// # Errors
    /// [`DeviceError::Driver`] if the driver refuses.
    pub fn record(&self) -> Result<Event, DeviceError> {
        self.start_collected()?;
        Ok(Event { executor: self.clone(), point: self.0.kind.event()? })
    }
}

impl Event {
    /// Waits until everything before it has been done.
    ///
    /// # Errors
    /// [`DeviceError::Sticky`] or [`DeviceError::Driver`] if something before it failed.
    pub fn wait(&self) -> Result<(), DeviceError> {
        self.executor.0.kind.wait(&self.point)
    }

    /// The time from `earlier` to this event by the device's own clock. Waits for both.
    ///
    /// # Errors
    /// [`DeviceError::MixedExecutors`] if they are not of one executor; otherwise as [`Event::wait`].
    pub fn since(&self, earlier: &Event) -> Result<Duration, DeviceError> {
        if self.executor.is(&earlier.executor) {
            self.executor.0.kind.elapsed(&earlier.point, &self.point)
        } else {
            Err(DeviceError::MixedExecutors)
        }
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn time_passes_from_event_to_event() {
        let executor = Executor::emulated(0);
        let before = executor.record().unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let after = executor.record().unwrap();
        after.wait().unwrap();
        assert!(after.since(&before).unwrap() >= Duration::from_millis(2));
        let elsewhere = Executor::emulated(0).record().unwrap();
        assert!(matches!(after.since(&elsewhere), Err(DeviceError::MixedExecutors)));
    }
}
