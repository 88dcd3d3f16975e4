//! What the error says when no context can be established.
#![cfg(target_os = "linux")]
// The limits of this process, and the capabilities of a thread.
#![allow(unsafe_code)]

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use scard::{
    CardFilter, Context, ContextOptions, Error, ErrorKind, Operation, Origin, Recovery, ReturnCode,
};
use scard_testkit::isolated;

use crate::support::usage::limit_descriptors;
use crate::support::*;

/// How each way to the daemon fails, with the socket that the environment names.
fn failures() -> Vec<Error> {
    let ways = [
        ContextOptions::new(),
        #[cfg(feature = "socket")]
        ContextOptions::new().socket(),
    ];
    let socket = env::var("PCSCLITE_CSOCK_NAME").unwrap();
    let failures = ways.map(|way| way.establish().unwrap_err());
    for error in &failures {
        assert_eq!(error.operation(), Operation::EstablishContext);
        assert_eq!(error.origin(), Origin::Service);
        let why = error.description();
        let text = format!("SCardEstablishContext at {socket:?} failed: {why} (SCARD_");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    failures.into()
}

#[track_caller]
fn assert_says(kind: ErrorKind, recovery: Recovery, why: &str, to_do: &str) {
    for error in failures() {
        assert_eq!(error.code(), ReturnCode::E_NO_SERVICE);
        assert_eq!(
            (error.kind(), error.recovery()),
            (kind, recovery),
            "{error}"
        );
        assert!(error.description().contains(why), "{error}");
        assert!(error.advice().contains(to_do), "{}", error.advice());
    }
    // A wait, too, which may end with the time-out.
    let limit = Some(Duration::from_millis(500));
    let waited = Context::lazy().wait_for_card(&CardFilter::new(), limit);
    let error = waited.unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    assert!(error.advice().contains(to_do), "{}", error.advice());
}

#[test]
fn a_service_that_was_never_started_is_to_be_installed_or_started() {
    isolated(|| {
        let (gone, later) = (ErrorKind::ServiceGone, Recovery::RetryLater);
        assert_says(gone, later, "has not been started", "Install");
    });
}

/// It would never work, however long a program waits.
#[test]
fn a_path_that_no_socket_can_have_is_to_be_corrected() {
    isolated(|| {
        for path in [String::new(), "x".repeat(108), "/run/".repeat(50)] {
            // SAFETY: this process has no other thread yet, or none that reads variables.
            unsafe { env::set_var("PCSCLITE_CSOCK_NAME", path) };
            let (wrong, fix) = (ErrorKind::InvalidArgument, Recovery::FixCall);
            assert_says(wrong, fix, "no socket can have", "Correct");
        }
        #[cfg(feature = "socket")]
        for path in ["", "a\0b", &"x".repeat(108)] {
            let establish = ContextOptions::new().socket_path(path).establish();
            assert_eq!(
                establish.unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{path:?}"
            );
        }
    });
}

#[test]
fn a_service_that_has_ended_is_to_be_started_again() {
    isolated(|| {
        let fixture = fixture();
        fixture.sandbox.kill().unwrap();
        let (gone, later) = (ErrorKind::ServiceGone, Recovery::RetryLater);
        assert_says(
            gone,
            later,
            "has ended",
            "Start the smart-card service again",
        );
        fixture.sandbox.restart().unwrap();
        assert!(Context::establish().is_ok());
    });
}

/// Lets this thread do no more than the permissions of files allow, even as root.
fn drop_capabilities() {
    const VERSION_3: u32 = 0x2008_0522;
    let (this_thread, none) = ([VERSION_3, 0], [0_u32; 6]);
    // SAFETY: both have the size and alignment that this version has for them.
    let dropped = unsafe { libc::syscall(libc::SYS_capset, this_thread.as_ptr(), none.as_ptr()) };
    assert_eq!(dropped, 0);
}

#[test]
fn without_permission_the_administrator_is_to_be_asked() {
    isolated(|| {
        let fixture = fixture();
        let socket = fixture.sandbox.socket_path();
        for path in [socket, socket.parent().unwrap()] {
            let before = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
            let denied = thread::spawn(|| {
                drop_capabilities();
                let (denied, ask) = (ErrorKind::AccessDenied, Recovery::AskAdministrator);
                assert_says(denied, ask, "no permission", "write access");
            });
            let denied = denied.join();
            fs::set_permissions(path, before).unwrap();
            denied.unwrap();
        }
        assert!(Context::establish().is_ok());
    });
}

#[test]
fn without_a_descriptor_files_are_to_be_closed() {
    isolated(|| {
        let _fixture = fixture();
        let before = limit_descriptors(0);
        let (busy, later) = (ErrorKind::ServiceBusy, Recovery::RetryLater);
        assert_says(busy, later, "no file descriptor", "Close files");
        limit_descriptors(before);
        assert!(Context::establish().is_ok());
    });
}

#[test]
fn when_the_service_has_no_context_left_connections_are_to_be_closed() {
    isolated(|| {
        let fixture = fixture();
        let contexts: Vec<Context> = (0..200).map_while(|_| Context::establish().ok()).collect();
        assert_eq!(contexts.len(), 199, "beside that of the fixture");
        for error in failures() {
            // Which one depends on timing.
            let kind = match error.code() {
                ReturnCode::W_SECURITY_VIOLATION => ErrorKind::AccessDenied,
                ReturnCode::E_NO_SERVICE | ReturnCode::F_COMM_ERROR => ErrorKind::ServiceGone,
                code => panic!("{code}"),
            };
            assert_eq!(error.kind(), kind);
            assert!(error.description().contains("no context left"), "{error}");
            assert!(error.advice().starts_with("Close connections"));
        }
        // A card needs one, too.
        let error = fixture
            .try_connect(scard::ConnectOptions::new())
            .unwrap_err();
        assert_eq!(error.operation(), Operation::EstablishContext);
        assert_eq!(error.reader_name(), Some(&fixture.reader));
        drop(contexts);
        assert_works(&mut fixture.connect());
    });
}
