//! The meaning of each code, by call and platform.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::*;
use crate::codes::Platform::{MacOs, PcscLite, Windows};
use crate::error::tables::{assert_written, name};
use crate::error::{Error, Refusal};

#[test]
fn every_known_code_is_classified() {
    for code in ReturnCode::known() {
        assert!(by_code(code).is_some(), "{code:?}");
    }
    let unknown = classify(PcscLite, Operation::Transmit, ReturnCode::from_raw(0x1234));
    assert_eq!(unknown, (ErrorKind::Unknown, Recovery::None));
}

fn kind(platform: Platform, operation: Operation, code: ReturnCode) -> ErrorKind {
    classify(platform, operation, code).0
}

#[test]
fn a_pulled_reader_is_one_situation() {
    for (operation, code) in [
        (Operation::Status, ReturnCode::E_READER_UNAVAILABLE),
        (Operation::Transmit, ReturnCode::E_INVALID_VALUE),
        (Operation::EndTransaction, ReturnCode::E_INVALID_VALUE),
        (Operation::Control, ReturnCode::E_INVALID_VALUE),
        (Operation::GetAttribute, ReturnCode::E_INVALID_VALUE),
        (Operation::SetAttribute, ReturnCode::E_INVALID_VALUE),
        (Operation::BeginTransaction, ReturnCode::E_INVALID_VALUE),
        (Operation::Reconnect, ReturnCode::E_INVALID_VALUE),
        (Operation::Connect, ReturnCode::E_UNKNOWN_READER),
        (Operation::GetStatusChange, ReturnCode::E_UNKNOWN_READER),
        (Operation::Transmit, ReturnCode::E_READER_UNAVAILABLE),
    ] {
        let meaning = classify(PcscLite, operation, code);
        assert_eq!(meaning, (ErrorKind::ReaderGone, Recovery::AttachReader));
    }
    // Names that are too long and invalid arguments on Windows are different.
    let value = ReturnCode::E_INVALID_VALUE;
    assert_eq!(
        kind(PcscLite, Operation::Connect, value),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        kind(Windows, Operation::Transmit, value),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn the_sentence_fits_the_kind() {
    let said = |operation, code| describe(PcscLite, operation, code);
    let value = ReturnCode::E_INVALID_VALUE;
    assert_eq!(said(Operation::Transmit, value), "the reader was unplugged");
    assert_eq!(said(Operation::Connect, value), value.description());
    let security = ReturnCode::W_SECURITY_VIOLATION;
    assert!(said(Operation::Transmit, security).contains("connection to the smart-card"));
    assert!(said(Operation::Connect, security).contains("no context left"));
    let not_transacted = ReturnCode::E_NOT_TRANSACTED;
    assert!(said(Operation::EndTransaction, not_transacted).contains("no transaction"));
    assert!(said(Operation::Transmit, not_transacted).contains("the exchange"));
    for code in ReturnCode::known() {
        for &operation in Operation::ALL {
            let text = said(operation, code);
            assert!(text.starts_with(|c: char| c.is_lowercase()), "{text}");
            assert!(!text.ends_with('.'), "{text}");
        }
    }
}

#[test]
fn a_dead_daemon_is_one_situation() {
    for code in [
        ReturnCode::F_COMM_ERROR,
        ReturnCode::E_NO_SERVICE,
        ReturnCode::E_SERVICE_STOPPED,
        ReturnCode::E_INVALID_HANDLE,
        ReturnCode::INVALID_HANDLE,
        ReturnCode::W_SECURITY_VIOLATION,
    ] {
        let meaning = classify(PcscLite, Operation::Transmit, code);
        assert_eq!(meaning, (ErrorKind::ServiceGone, Recovery::ConnectAgain));
    }
    for operation in [Operation::EstablishContext, Operation::Connect] {
        let denied = classify(PcscLite, operation, ReturnCode::W_SECURITY_VIOLATION);
        assert_eq!(
            denied,
            (ErrorKind::AccessDenied, Recovery::AskAdministrator)
        );
    }
}

#[test]
fn a_missing_card_is_one_situation_and_a_lost_one_another() {
    let (none, removed) = (ReturnCode::E_NO_SMARTCARD, ReturnCode::W_REMOVED_CARD);
    for platform in [Windows, MacOs, PcscLite] {
        for code in [none, removed, ReturnCode::NO_MEDIA_IN_DRIVE] {
            let connect = kind(platform, Operation::Connect, code);
            assert_eq!(connect, ErrorKind::NoCard);
            let transmit = kind(platform, Operation::Transmit, code);
            assert_eq!(transmit, ErrorKind::CardRemoved);
        }
    }
}

#[test]
fn an_unsupported_feature_has_two_numbers() {
    let (unexpected, unsupported) = (ReturnCode::E_UNEXPECTED, ReturnCode::E_UNSUPPORTED_FEATURE);
    let control = Operation::Control;
    assert_eq!(kind(PcscLite, control, unexpected), ErrorKind::Unsupported);
    assert_eq!(kind(MacOs, control, unexpected), ErrorKind::Unsupported);
    assert_eq!(kind(Windows, control, unsupported), ErrorKind::Unsupported);
    assert_eq!(kind(Windows, control, unexpected), ErrorKind::Communication);
}

#[test]
fn a_library_that_cannot_read_the_list_is_one_situation() {
    let code = ReturnCode::E_UNEXPECTED;
    for operation in [Operation::ListReaders, Operation::Status] {
        let meaning = classify(PcscLite, operation, code);
        let stale = (ErrorKind::StaleProcess, Recovery::RestartProcess);
        assert_eq!(meaning, stale);
        assert_eq!(kind(MacOs, operation, code), ErrorKind::Unsupported);
    }
    let misread = classify(PcscLite, Operation::GetStatusChange, code);
    assert_eq!(misread, (ErrorKind::Internal, Recovery::RetryLater));
}

#[test]
fn system_codes_of_windows_mean_what_their_twins_mean() {
    for (system, twin) in [
        (6, ReturnCode::E_INVALID_HANDLE),
        (0x109, ReturnCode::E_NO_SERVICE),
        (87, ReturnCode::E_INVALID_PARAMETER),
        (8, ReturnCode::E_NO_MEMORY),
        (122, ReturnCode::E_INSUFFICIENT_BUFFER),
        (1, ReturnCode::E_UNSUPPORTED_FEATURE),
        (31, ReturnCode::E_COMM_DATA_LOST),
        (1167, ReturnCode::E_READER_UNAVAILABLE),
        (1617, ReturnCode::E_READER_UNAVAILABLE),
    ] {
        let system = ReturnCode::from_raw(system);
        let own = classify(Windows, Operation::Transmit, system);
        let of_twin = classify(Windows, Operation::Transmit, twin);
        assert_eq!(own, of_twin, "{system} and {twin}");
    }
    // A closed handle is detected before anything is sent.
    let closed = ReturnCode::from_raw(6);
    assert!(!may_have_run(Windows, Operation::Transmit, closed));
}

#[test]
fn commands_that_were_not_sent_are_known() {
    for platform in [Windows, MacOs, PcscLite] {
        for code in [
            ReturnCode::W_RESET_CARD,
            ReturnCode::E_SHARING_VIOLATION,
            ReturnCode::E_PROTO_MISMATCH,
        ] {
            assert!(!may_have_run(platform, Operation::Transmit, code));
        }
        for code in [
            ReturnCode::E_NOT_TRANSACTED,
            ReturnCode::F_COMM_ERROR,
            ReturnCode::E_NO_SMARTCARD,
            ReturnCode::E_INSUFFICIENT_BUFFER,
            ReturnCode::from_raw(0x1234),
        ] {
            assert!(may_have_run(platform, Operation::Transmit, code));
            assert!(may_have_run(platform, Operation::Control, code));
            assert!(!may_have_run(platform, Operation::Status, code));
        }
    }
    let removed = ReturnCode::W_REMOVED_CARD;
    assert!(!may_have_run(PcscLite, Operation::Transmit, removed));
    assert!(may_have_run(Windows, Operation::Transmit, removed));
}

/// The tables in the documentation of [`ErrorKind`].
fn documentation() -> String {
    let mut text =
        String::from("\n# What each code means\n\n| Code | Kind | Recovery |\n|---|---|---|\n");
    for code in ReturnCode::known() {
        let Some((kind, recovery)) = by_code(code) else {
            continue;
        };
        writeln!(text, "| {} | {kind:?} | {recovery:?} |", name(code)).unwrap();
    }
    text += "\nIn some calls, a code has another meaning:\n\n\
             | Code | Calls | Platforms | Kind | Recovery | Description |\n\
             |---|---|---|---|---|---|\n";
    // An exception shared by several platforms is one row.
    let mut rows: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (platform, called) in [
        (PcscLite, "pcsc-lite"),
        (MacOs, "macOS"),
        (Windows, "Windows"),
    ] {
        for code in ReturnCode::known() {
            let mut calls: BTreeMap<String, Vec<&str>> = BTreeMap::new();
            for &operation in Operation::ALL {
                let meaning = classify(platform, operation, code);
                let text = describe(platform, operation, code);
                let own = code.description();
                if Some(meaning) != by_code(code) || text != own {
                    let (kind, recovery) = meaning;
                    let text = if text == own { "" } else { text };
                    let meaning = format!("{kind:?} | {recovery:?} | {text}");
                    calls
                        .entry(meaning)
                        .or_default()
                        .push(operation.function_name());
                }
            }
            for (meaning, calls) in calls {
                let calls = match calls.len() {
                    16 => "all".to_owned(),
                    _ => calls.join(", "),
                };
                rows.entry((name(code), calls, meaning))
                    .or_default()
                    .push(called);
            }
        }
    }
    for ((code, calls, meaning), platforms) in rows {
        let platforms = match platforms.len() {
            3 => "all".to_owned(),
            _ => platforms.join(", "),
        };
        writeln!(text, "| {code} | {calls} | {platforms} | {meaning} |").unwrap();
    }
    text += "\nIf pcsc-lite's daemon cannot be reached, the socket tells more than the code of \
             `SCardEstablishContext`, mostly `SCARD_E_NO_SERVICE`. `Display` names the socket:\n\n\
             | Kind | Recovery | Description | Advice |\n|---|---|---|---|\n";
    for obstacle in Obstacle::ALL {
        let error = Error::new(Operation::EstablishContext, obstacle);
        let meaning = match obstacle {
            Obstacle::HungUp => "that of the code | that of the code".to_owned(),
            _ => format!("{:?} | {:?}", error.kind(), error.recovery()),
        };
        let (why, advice) = (error.description(), error.advice());
        writeln!(text, "| {meaning} | {why} | {advice} |").unwrap();
    }
    text
}

/// The documentation is generated by [`documentation`]; if this fails, copy the printed text into
/// `kinds.md`.
#[test]
fn the_documentation_shows_the_classification() {
    let written = documentation();
    assert_written("kinds.md", include_str!("../kinds.md"), &written);
}

/// The table in the documentation of [`Recovery`].
fn documentation_of_recovery() -> String {
    let mut helps: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |kind: ErrorKind, recovery: Recovery| {
        let recoveries = helps.entry(format!("{kind:?}")).or_default();
        recoveries.insert(format!("[`{recovery:?}`](Recovery::{recovery:?})"));
    };
    let unknown = ReturnCode::from_raw(0x1234);
    let codes = ReturnCode::known().filter(|code| *code != ReturnCode::S_SUCCESS);
    for code in codes.chain([unknown]) {
        for platform in [PcscLite, MacOs, Windows] {
            for &operation in Operation::ALL {
                let (kind, recovery) = classify(platform, operation, code);
                note(kind, recovery);
            }
        }
    }
    for refusal in Refusal::all() {
        note(refusal.kind, refusal.recovery);
    }
    for obstacle in Obstacle::ALL {
        let (kind, recovery) = before_service(obstacle, ReturnCode::E_NO_SERVICE);
        note(kind, recovery);
    }
    let mut text = String::from(
        "\n# Recoveries by kind\n\n\
         Where several are listed, [`Error::recovery`](crate::Error::recovery) returns the \
         applicable one.\n\n\
         | | |\n|---|---|\n",
    );
    for (kind, recoveries) in helps {
        let recoveries: Vec<String> = recoveries.into_iter().collect();
        let recoveries = recoveries.join(", ");
        writeln!(text, "| [`{kind}`](ErrorKind::{kind}) | {recoveries} |").unwrap();
    }
    text
}

/// As above, in `recoveries.md`.
#[test]
fn the_documentation_shows_what_helps() {
    let written = documentation_of_recovery();
    assert_written("recoveries.md", include_str!("../recoveries.md"), &written);
}
