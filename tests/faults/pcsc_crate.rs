//! Passes the same answers of the service through the safe layer of the `pcsc` crate, to show the
//! differences:
//!
//! ```sh
//! cargo test --test faults pcsc_crate -- --nocapture
//! cargo test --release --test faults pcsc_crate -- --nocapture
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use pcsc::ffi::LONG;
use scard::{Context, Operation, ReturnCode};

use crate::standin::{Fault, disarm, inject};

/// How an answer arrives at the caller.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Exact,
    Replaced,
    Panicked,
}

fn outcome<T>(answer: ReturnCode, call: impl FnOnce() -> Result<T, ReturnCode>) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(call));
    disarm();
    match outcome {
        Err(_) => Outcome::Panicked,
        Ok(Err(code)) if code == answer => Outcome::Exact,
        Ok(_) => Outcome::Replaced,
    }
}

/// The stand-in answers without asking the service.
fn answer(operation: Operation, returned: LONG) -> Fault {
    Fault {
        function: operation.function_name(),
        returned,
        lasts: false,
        after_the_call: false,
        length: None,
        protocol: None,
        state: None,
    }
}

/// One test, because the stand-in is shared by the process.
#[test]
fn unknown_answers_in_the_pcsc_crate_are_as_documented() {
    // The panics are expected results, and not printed.
    std::panic::set_hook(Box::new(|_| {}));
    unknown_codes();
    unknown_protocols();
    let _ = std::panic::take_hook();
}

fn unknown_codes() {
    println!("{:<12} {:<10} pcsc crate", "code", "scard");
    for raw in [
        ReturnCode::W_RESET_CARD.raw(),
        ReturnCode::E_PIN_CACHE_EXPIRED.raw(),
        ReturnCode::E_READ_ONLY_CARD.raw(),
        ReturnCode::INVALID_HANDLE.raw(),
        ReturnCode::BROKEN_PIPE.raw(),
        0x8010_00FF,
        0xFFFF_FFFF,
    ] {
        // Without 0x80100022, which is undefined behaviour there on platforms other than Windows.
        let code = ReturnCode::from_raw(raw);
        let failing = answer(Operation::EstablishContext, crate::long(raw));
        inject(failing);
        let ours = outcome(code, || Context::establish().map_err(|error| error.code()));
        inject(failing);
        let theirs = outcome(code, || {
            pcsc::Context::establish(pcsc::Scope::User).map_err(ReturnCode::from)
        });
        println!(
            "{:<12} {:<10} {theirs:?}",
            format!("{raw:#010X}"),
            format!("{ours:?}")
        );

        assert_eq!(ours, Outcome::Exact);
        let expected = if pcsc::Error::from(code) != pcsc::Error::UnknownError {
            Outcome::Exact
        } else if cfg!(debug_assertions) {
            Outcome::Panicked
        } else {
            Outcome::Replaced
        };
        assert_eq!(theirs, expected, "the guide must be updated");
    }
}

/// For this library, see `unknown_protocols_and_states_are_values_like_any_other`.
fn unknown_protocols() {
    let establish = answer(Operation::EstablishContext, 0);
    for protocol in [8, 7] {
        let connect = Fault {
            protocol: Some(protocol),
            ..answer(Operation::Connect, 0)
        };
        inject(establish);
        let context = pcsc::Context::establish(pcsc::Scope::User).unwrap();
        inject(connect);
        let theirs = catch_unwind(AssertUnwindSafe(|| {
            let (mode, protocols) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
            context.connect(c"R", mode, protocols).map(drop)
        }));
        println!(
            "protocol {protocol}: pcsc crate panics: {}",
            theirs.is_err()
        );
        assert!(theirs.is_err(), "the guide must be updated");
    }
}
