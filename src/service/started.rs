//! Waiting for the service to start. Windows starts it with the first reader, stops it some time
//! after the last one is unplugged, and has an event for that. Elsewhere there is nothing to wait
//! for.

use std::time::Duration;

/// Windows' event that is set while the service is running.
///
/// winscard counts its users.
#[cfg(any(windows, stand_in = "windows"))]
#[derive(Debug)]
pub(crate) struct StartedEvent(std::ptr::NonNull<std::ffi::c_void>);

#[cfg(any(windows, stand_in = "windows"))]
type Handle = *mut std::ffi::c_void;

// Not in the bindings.
#[cfg(any(windows, stand_in = "windows"))]
#[cfg_attr(windows, link(name = "winscard"))]
unsafe extern "system" {
    fn SCardAccessStartedEvent() -> Handle;
    fn SCardReleaseStartedEvent();
}

#[cfg(any(windows, stand_in = "windows"))]
#[cfg_attr(windows, link(name = "kernel32"))]
unsafe extern "system" {
    fn WaitForSingleObject(handle: Handle, milliseconds: u32) -> u32;
}

#[cfg(any(windows, stand_in = "windows"))]
impl StartedEvent {
    /// `None` if the event is not available.
    pub(crate) fn access() -> Option<StartedEvent> {
        // SAFETY: it has no arguments, and returns a handle or null.
        let handle = unsafe { SCardAccessStartedEvent() };
        std::ptr::NonNull::new(handle).map(StartedEvent)
    }

    /// Waits until the service is running, at most `limit`. Returns whether it is.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        /// `WAIT_OBJECT_0`: neither a timeout nor a failed wait.
        const IS_SET: u32 = 0;
        // Must not be `INFINITE`, which is `u32::MAX`.
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: the handle is that of an event, and valid until it is released in `drop`.
        let waited = unsafe { WaitForSingleObject(self.0.as_ptr(), limit.min(u32::MAX - 1)) };
        waited == IS_SET
    }
}

#[cfg(any(windows, stand_in = "windows"))]
impl Drop for StartedEvent {
    fn drop(&mut self) {
        // SAFETY: each `SCardAccessStartedEvent` that returned a handle is released once.
        unsafe { SCardReleaseStartedEvent() }
    }
}

/// There is no such event.
#[cfg(not(any(windows, stand_in = "windows")))]
#[derive(Debug)]
pub(crate) enum StartedEvent {}

#[cfg(not(any(windows, stand_in = "windows")))]
impl StartedEvent {
    pub(crate) fn access() -> Option<StartedEvent> {
        None
    }

    pub(crate) fn wait(&self, _: Duration) -> bool {
        match *self {}
    }
}

#[cfg(all(test, windows))]
mod tests {
    use super::*;

    /// Wine always reports that the service is running.
    #[test]
    fn the_event_exists_and_can_be_waited_for() {
        for _ in 0..3 {
            let event = StartedEvent::access().unwrap();
            let runs = event.wait(Duration::ZERO);
            assert_eq!(event.wait(Duration::from_millis(10)), runs);
        }
    }
}
