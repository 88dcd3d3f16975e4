//! The kit's driver as ordinary code, for its lints; what it does is seen by
//! the tests that use it in the daemon.
#![cfg(target_os = "linux")]

#[path = "../driver/ifd.rs"]
mod ifd;

#[test]
fn a_unit_that_was_never_opened_fails() {
    assert_eq!(ifd::IFDHICCPresence(7), 612);
    assert_eq!(ifd::IFDHCloseChannel(7), 612);
    assert_eq!(ifd::IFDHCreateChannel(7, 0), 617);
}
