//! Tests every operation of the library with every return code and absurd outputs, through the real
//! FFI boundary.
//!
//! A separate program because it replaces the PC/SC functions.
#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "pcsc-2")]
mod pcsc_crate;
mod sessions;
mod standin;

use pcsc::ffi::{DWORD, LONG};
use scard::{
    Attribute, Card, CardFilter, ConnectOptions, Context, Control, ControlCode, Disposition, Error,
    ErrorKind, Initialization, Operation, Origin, Protocol, Protocols, Reader, ReaderFlags,
    ReaderName, ReaderState, Recovery, Result, ReturnCode, Session, ShareMode,
};
use scard_testkit::isolated;
use standin::{Fault, inject};
use support::{Fixture, assert_works, fixture, reconnect};

/// The objects used in all cases.
struct Objects {
    context: Context,
    reader: ReaderName,
    card: Card,
    direct: Reader,
}

impl Objects {
    fn new(fixture: &Fixture) -> Objects {
        let mut card = fixture.connect();
        let mut direct = fixture.context.open_reader(&fixture.empty_reader).unwrap();
        // Every fault must be returned; none is retried as a transaction of another program.
        card.set_wait_for_transactions(false);
        direct.set_wait_for_transactions(false);
        Objects {
            context: fixture.context.clone(),
            reader: fixture.reader.clone(),
            card,
            direct,
        }
    }
}

/// One operation of the library: the C function whose fault it must report, whether the error names
/// the reader, and the call.
struct Case {
    operation: Operation,
    names_reader: bool,
    call: fn(&mut Objects) -> Result<()>,
}

const fn case(
    operation: Operation,
    names_reader: bool,
    call: fn(&mut Objects) -> Result<()>,
) -> Case {
    Case {
        operation,
        names_reader,
        call,
    }
}

const COMMAND: &[u8] = support::COMMAND;
const OPTIONS: fn() -> ConnectOptions = ConnectOptions::new;

/// Every public call that can fail, for each C function that can fail in it.
const CASES: &[Case] = &[
    case(Operation::EstablishContext, false, |_| {
        Context::establish().map(drop)
    }),
    case(Operation::EstablishContext, true, |it| {
        it.context.connect(&it.reader, OPTIONS()).map(drop)
    }),
    case(Operation::EstablishContext, false, |it| {
        it.context.reader_states().map(drop)
    }),
    case(Operation::ReleaseContext, false, |_| {
        Context::establish()?.release()
    }),
    case(Operation::IsValidContext, false, |it| {
        it.context.is_valid().map(drop)
    }),
    case(Operation::ListReaders, false, |it| {
        it.context.readers().map(drop)
    }),
    case(Operation::ListReaders, false, |it| {
        it.context.reader_states().map(drop)
    }),
    case(Operation::ListReaderGroups, false, |it| {
        it.context.reader_groups().map(drop)
    }),
    case(Operation::GetStatusChange, false, |it| {
        it.context.reader_states().map(drop)
    }),
    case(Operation::Connect, true, |it| {
        it.context.connect(&it.reader, OPTIONS()).map(drop)
    }),
    case(Operation::Connect, true, |it| {
        it.context.open_reader(&it.reader).map(drop)
    }),
    case(Operation::Reconnect, true, |it| {
        reconnect(&mut it.card, Initialization::Leave).map(drop)
    }),
    case(Operation::Reconnect, true, |it| {
        reconnect(&mut it.card, Initialization::Reset).map(drop)
    }),
    case(Operation::Reconnect, true, |it| {
        it.direct.reconnect(Initialization::Leave)
    }),
    case(Operation::Reconnect, true, |it| {
        let direct = it.context.open_reader(&it.reader)?;
        let card = direct.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave);
        Ok(card.map(drop)?)
    }),
    case(Operation::Reconnect, true, |it| {
        let card = it.context.connect(&it.reader, OPTIONS())?;
        Ok(card.into_reader(Initialization::Leave).map(drop)?)
    }),
    case(Operation::Reconnect, true, |it| {
        let mut transaction = it.card.transaction()?;
        transaction
            .reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .map(drop)
    }),
    case(Operation::Disconnect, true, |it| {
        let card = it.context.connect(&it.reader, OPTIONS())?;
        Ok(card.disconnect(Disposition::Leave)?)
    }),
    case(Operation::Disconnect, true, |it| {
        let direct = it.context.open_reader(&it.reader)?;
        Ok(direct.disconnect(Disposition::Leave)?)
    }),
    case(Operation::BeginTransaction, true, |it| {
        it.card.transaction().map(drop)
    }),
    case(Operation::EndTransaction, true, |it| {
        it.card.transaction()?.end(Disposition::Leave)
    }),
    case(Operation::Status, true, |it| it.card.status().map(drop)),
    case(Operation::Status, true, |it| it.direct.status().map(drop)),
    case(Operation::Transmit, true, |it| {
        it.card.transmit(COMMAND).map(drop)
    }),
    case(Operation::Transmit, true, |it| {
        it.card.transmit_ref(COMMAND).map(drop)
    }),
    case(Operation::Transmit, true, |it| {
        it.card.transaction()?.transmit(COMMAND).map(drop)
    }),
    case(Operation::Transmit, true, |it| {
        it.card.transaction()?.transmit_ref(COMMAND).map(drop)
    }),
    case(Operation::Status, true, |it| {
        it.card.transaction()?.status().map(drop)
    }),
    case(Operation::Control, true, |it| {
        let code = ControlCode::GET_FEATURE_REQUEST;
        it.card.transaction()?.control(code, &[]).map(drop)
    }),
    case(Operation::GetAttribute, true, |it| {
        let id = Attribute::ATR_STRING;
        it.card.transaction()?.attribute(id).map(drop)
    }),
    case(Operation::SetAttribute, true, |it| {
        let id = Attribute::SUPRESS_T1_IFS_REQUEST;
        it.card.transaction()?.set_attribute(id, &[1])
    }),
    case(Operation::Control, true, |it| {
        let code = ControlCode::GET_FEATURE_REQUEST;
        it.card.control(code, &[]).map(drop)
    }),
    case(Operation::Control, true, |it| {
        let code = ControlCode::GET_FEATURE_REQUEST;
        it.direct.control(code, &[1]).map(drop)
    }),
    case(Operation::GetAttribute, true, |it| {
        it.card.attribute(Attribute::ATR_STRING).map(drop)
    }),
    case(Operation::GetAttribute, true, |it| {
        it.direct.attribute(Attribute::ATR_STRING).map(drop)
    }),
    case(Operation::SetAttribute, true, |it| {
        it.card
            .set_attribute(Attribute::SUPRESS_T1_IFS_REQUEST, &[1])
    }),
    case(Operation::SetAttribute, true, |it| {
        it.direct
            .set_attribute(Attribute::SUPRESS_T1_IFS_REQUEST, &[1])
    }),
];

/// All known codes, and values that are not PC/SC codes here, in both forms that a 64-bit `LONG`
/// can have.
fn returned_values() -> Vec<LONG> {
    let known = ReturnCode::known().map(ReturnCode::raw);
    let unknown = [
        1,
        6,
        0x109,
        0x7FFF_FFFF,
        0x8000_0000,
        0x8010_0022,
        0x8010_00FF,
        0xFFFF_FFFF,
    ];
    known
        .chain(unknown)
        .filter(|raw| *raw != 0)
        .flat_map(|raw| [long(raw), LONG::from(raw as i32)])
        .collect()
}

/// A code as in the C headers: positive if `LONG` is wide enough.
#[allow(clippy::unnecessary_cast)]
pub(crate) fn long(raw: u32) -> LONG {
    raw as LONG
}

/// The code expected for a returned value.
fn code_of(returned: LONG) -> ReturnCode {
    ReturnCode::from_raw(returned as u32)
}

/// Makes the call with the fault armed, and disarms the fault afterwards in any case.
fn run(case: &Case, objects: &mut Objects, fault: Fault) -> Result<()> {
    inject(fault);
    let outcome = (case.call)(objects);
    let unused = standin::disarm();
    assert!(!unused, "{fault:?} was not used by any call");
    outcome
}

fn fault(operation: Operation, returned: LONG) -> Fault {
    // Calls that end something take effect, or the service would keep it forever.
    let ends = matches!(
        operation,
        Operation::ReleaseContext | Operation::Disconnect | Operation::EndTransaction
    );
    Fault {
        function: match operation {
            // With pcsc-lite, a connection ends with its context.
            Operation::Disconnect => Operation::ReleaseContext.function_name(),
            operation => operation.function_name(),
        },
        returned,
        lasts: false,
        after_the_call: ends,
        length: None,
        protocol: None,
        state: None,
    }
}

/// The faults are simulated, so the service is intact and the objects must be usable again.
fn assert_usable(objects: &mut Objects) {
    reconnect(&mut objects.card, Initialization::Leave).unwrap();
    assert_works(&mut objects.card);
    objects.direct.status().unwrap();
    assert_eq!(objects.context.readers().unwrap().len(), 2);
}

#[test]
fn every_operation_reports_every_code() {
    isolated(|| {
        let fixture = fixture();
        let mut objects = Objects::new(&fixture);
        let mut reported = 0;
        for case in CASES {
            for returned in returned_values() {
                let code = code_of(returned);
                let outcome = run(case, &mut objects, fault(case.operation, returned));
                // Repeated with a larger buffer, which pcsc-lite refuses for attributes.
                let code = match case.operation {
                    Operation::GetAttribute if is_too_small(code) => {
                        ReturnCode::E_INSUFFICIENT_BUFFER
                    }
                    _ => code,
                };
                match outcome {
                    Err(error) => {
                        check(case, code, &error, &objects.reader);
                        reported += 1;
                    }
                    Ok(()) => assert!(
                        is_no_error(case.operation, code),
                        "{} {code:?}",
                        case.operation
                    ),
                }
                // The card works at once, or reports that it was reset and has no protocol.
                if let Err(error) = objects.card.transmit(COMMAND) {
                    assert_eq!(error.kind(), ErrorKind::CardReset, "after {code:?}");
                    assert_eq!(objects.card.protocol(), None);
                }
                assert_usable(&mut objects);
            }
        }
        println!("{reported} errors");
        assert!(reported > CASES.len() * 100);
    });
}

/// The codes for an answer that does not fit.
fn is_too_small(code: ReturnCode) -> bool {
    matches!(
        code,
        ReturnCode::E_INSUFFICIENT_BUFFER | ReturnCode::INSUFFICIENT_BUFFER | ReturnCode::MORE_DATA
    )
}

/// Codes after which the library can return something better than an error.
fn is_no_error(operation: Operation, code: ReturnCode) -> bool {
    match operation {
        // There is no reader: an empty list. The service is gone: retried in a new context. The
        // answer does not fit: retried with a larger buffer.
        Operation::ListReaders | Operation::ListReaderGroups => {
            let gone = documented(operation, code).1 == "ConnectAgain";
            let empty = code == ReturnCode::E_NO_READERS_AVAILABLE;
            gone || empty || is_too_small(code)
        }
        // A reader was unplugged since the readers were listed: listed again. Too many readers in
        // one call: retried with fewer. Misread, as is every value that is not a PC/SC code:
        // retried in another context.
        Operation::GetStatusChange if code.raw() >> 16 != 0x8010 => true,
        Operation::GetStatusChange if code.kind() == ErrorKind::BufferTooSmall => true,
        Operation::GetStatusChange => matches!(
            code,
            ReturnCode::E_UNKNOWN_READER
                | ReturnCode::E_NO_READERS_AVAILABLE
                | ReturnCode::E_INVALID_PARAMETER
                | ReturnCode::E_INVALID_VALUE
                | ReturnCode::E_UNEXPECTED
        ),
        Operation::Status | Operation::GetAttribute => is_too_small(code),
        // The answer "no".
        Operation::IsValidContext => {
            matches!(
                code,
                ReturnCode::E_INVALID_HANDLE | ReturnCode::INVALID_HANDLE
            )
        }
        _ => false,
    }
}

fn check(case: &Case, code: ReturnCode, error: &Error, reader: &ReaderName) {
    assert_eq!(error.code(), code);
    assert_eq!(error.operation(), case.operation);
    assert_eq!(error.origin(), Origin::Service);
    match error.reader_name() {
        Some(named) if case.names_reader => {
            // Direct access uses the other reader.
            assert!(named == reader || named.to_string().ends_with("00 01"));
        }
        None if !case.names_reader => {}
        other => panic!("{other:?} for {error}"),
    }
    let message = error.to_string();
    assert!(
        message.starts_with(case.operation.function_name()),
        "{message}"
    );
    assert!(
        message.contains(&format!("{:#010X}", code.raw())),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
    let meaning = (
        format!("{:?}", error.kind()),
        format!("{:?}", error.recovery()),
    );
    // The library finds that the card does answer, so the code has its meaning for a connect.
    let refused = (case.operation, code) == (Operation::Reconnect, ReturnCode::W_UNRESPONSIVE_CARD);
    let meant_as = match refused && error.kind() == ErrorKind::CardUnsupported {
        true => Operation::Connect,
        false => case.operation,
    };
    assert_eq!(meaning, documented(meant_as, code), "{error:?}");
    let sends = matches!(case.operation, Operation::Transmit | Operation::Control);
    let may_have_run = sends && !NOT_SENT.contains(&code);
    assert_eq!(error.command_may_have_run(), may_have_run, "{error:?}");
    let expects_condition = case.operation == Operation::Reconnect;
    assert_eq!(error.card_condition().is_some(), expects_condition);
}

/// The codes that pcsc-lite returns before it sends a command to the card.
const NOT_SENT: [ReturnCode; 11] = [
    ReturnCode::W_RESET_CARD,
    ReturnCode::W_REMOVED_CARD,
    ReturnCode::W_UNPOWERED_CARD,
    ReturnCode::E_PROTO_MISMATCH,
    ReturnCode::E_SHARING_VIOLATION,
    ReturnCode::E_INVALID_PARAMETER,
    ReturnCode::E_INVALID_HANDLE,
    ReturnCode::INVALID_HANDLE,
    ReturnCode::E_UNKNOWN_READER,
    ReturnCode::E_INVALID_VALUE,
    ReturnCode::E_NO_SERVICE,
];

/// The kind and recovery according to the tables in the documentation of [`ErrorKind`].
fn documented(operation: Operation, code: ReturnCode) -> (String, String) {
    let name = format!(" {:#X} ", code.raw());
    let mut meaning = ("Unknown".to_owned(), "None".to_owned());
    for row in include_str!("../../src/error/kinds.md").lines() {
        let cells: Vec<&str> = row.split('|').collect();
        match cells.as_slice() {
            [_, of, kind, recovery, _] if of.ends_with(&name) => {
                meaning = (kind.trim().to_owned(), recovery.trim().to_owned());
            }
            [_, of, calls, platforms, kind, recovery, _text, _] if of.ends_with(&name) => {
                let called = operation.function_name();
                let mut calls = calls.split(',').map(str::trim);
                let in_this_call = calls.any(|call| call == "all" || call == called);
                let here = platforms.contains("pcsc-lite") || platforms.contains("all");
                if in_this_call && here {
                    meaning = (kind.trim().to_owned(), recovery.trim().to_owned());
                }
            }
            _ => {}
        }
    }
    meaning
}

/// A value of which only the low half is zero is not success.
#[cfg(target_pointer_width = "64")]
#[test]
fn only_zero_is_success() {
    isolated(|| {
        let fixture = fixture();
        let mut objects = Objects::new(&fixture);
        for case in CASES {
            let outcome = run(case, &mut objects, fault(case.operation, 0x1_0000_0000));
            let error = outcome.expect_err(case.operation.function_name());
            assert_eq!(error.code(), ReturnCode::F_UNKNOWN_ERROR);
            // After a reset.
            let _ = reconnect(&mut objects.card, Initialization::Leave);
        }
        assert_usable(&mut objects);
    });
}

#[test]
fn absurd_lengths_are_survived() {
    isolated(|| {
        let fixture = fixture();
        let mut objects = Objects::new(&fixture);
        for case in CASES {
            for returned in [0, long(ReturnCode::E_INSUFFICIENT_BUFFER.raw())] {
                for length in [0, 1, 65_549, 0x7FFF_FFFF, 0xFFFF_FFFF, DWORD::MAX] {
                    let absurd = Fault {
                        after_the_call: true,
                        length: Some(length),
                        ..fault(case.operation, returned)
                    };
                    // Must not panic; results are checked below.
                    let _ = run(case, &mut objects, absurd);
                    // The rest of an answer that is too long would be mistaken for the next one.
                    if objects.card.is_abandoned() || objects.direct.is_abandoned() {
                        assert!(returned != 0 && length > 65_548, "{}", case.operation);
                        objects = Objects::new(&fixture);
                    }
                    if matches!(case.operation, Operation::EstablishContext) {
                        break;
                    }
                }
            }
            let Objects { card, .. } = &mut objects;
            let _ = reconnect(card, Initialization::Leave);
        }
        drop(objects);
        let mut card = fixture.connect();
        let absurd = Fault {
            after_the_call: true,
            length: Some(DWORD::MAX),
            ..fault(Operation::Transmit, 0)
        };
        inject(absurd);
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.code(), ReturnCode::F_INTERNAL_ERROR);
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_works(&mut card);

        let too_small = long(ReturnCode::E_INSUFFICIENT_BUFFER.raw());
        inject(Fault {
            length: Some(70_000),
            ..fault(Operation::Transmit, too_small)
        });
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BufferTooSmall);
        assert_eq!(error.needed_len(), Some(70_000));
        assert!(error.command_may_have_run());
        assert!(card.is_abandoned());
        let after = card.transmit(COMMAND).unwrap_err();
        assert_eq!(after.kind(), ErrorKind::Abandoned);
        assert_eq!(after.recovery(), Recovery::ConnectAgain);
    });
}

#[test]
fn a_protocol_that_was_not_requested_is_a_mismatch() {
    isolated(|| {
        let fixture = fixture();
        let options = || ConnectOptions::new().protocols(Protocols::T1);
        for value in [1, 4, 8, 0x1_0000, 3, 7, 0, 0xFFFF_FFFF] {
            let odd = |operation| Fault {
                after_the_call: true,
                protocol: Some(value),
                // Without a protocol, it is repeated.
                lasts: value == 0 && operation == Operation::Reconnect,
                ..fault(operation, 0)
            };
            inject(odd(Operation::Connect));
            let refused = fixture.context.connect(&fixture.reader, options());
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), ReturnCode::E_PROTO_MISMATCH, "{value}");

            let mut card = fixture.context.connect(&fixture.reader, options()).unwrap();
            inject(odd(Operation::Reconnect));
            let refused = card.reconnect(ShareMode::Shared, Protocols::T1, Initialization::Leave);
            standin::disarm();
            assert_eq!(refused.unwrap_err().code(), ReturnCode::E_PROTO_MISMATCH);
            assert_eq!(card.protocol(), None);
            let next = card.transmit(COMMAND).unwrap_err();
            assert_eq!(next.code(), ReturnCode::W_RESET_CARD);
            card.reconnect(ShareMode::Shared, Protocols::T1, Initialization::Leave)
                .unwrap();
            assert_works(&mut card);

            // A failed `into_card` returns the reader.
            let direct = fixture.context.open_reader(&fixture.reader).unwrap();
            inject(odd(Operation::Reconnect));
            let into = direct.into_card(ShareMode::Shared, Protocols::T1, Initialization::Leave);
            standin::disarm();
            let (mut direct, error) = into.unwrap_err().into_parts();
            assert_eq!(error.code(), ReturnCode::E_PROTO_MISMATCH);
            assert_eq!(direct.status().unwrap().protocol(), Some(Protocol::T1));
        }
        assert_eq!(fixture.card.resets(), 0);
    });
}

/// pcsc-lite forgets the protocol if it takes the power from the card during the call.
#[test]
fn a_move_to_the_card_that_returns_no_protocol_is_repeated() {
    isolated(|| {
        let fixture = fixture();
        for share_mode in [ShareMode::Shared, ShareMode::Exclusive] {
            inject(Fault {
                after_the_call: true,
                protocol: Some(0),
                ..fault(Operation::Reconnect, 0)
            });
            let direct = fixture.context.open_reader(&fixture.reader).unwrap();
            let moved = direct.into_card(share_mode, Protocols::ANY, Initialization::Leave);
            let mut card = moved.unwrap();
            assert!(!standin::disarm());
            assert_eq!(card.protocol(), Some(Protocol::T1));
            assert_works(&mut card);
        }
    });
}

#[test]
fn unknown_protocols_and_states_are_values_like_any_other() {
    isolated(|| {
        let fixture = fixture();
        for (value, protocol) in [
            (8, Protocol::T15),
            (0x1_0000, Protocol::Other(0x1_0000)),
            (0x8000_0000, Protocol::Other(0x8000_0000)),
        ] {
            let accepted = Protocols::ANY | Protocols::from_bits_retain(value as u32);
            let odd = |operation| Fault {
                after_the_call: true,
                protocol: Some(value),
                ..fault(operation, 0)
            };
            inject(odd(Operation::Connect));
            let options = OPTIONS().protocols(accepted);
            let mut card = fixture.context.connect(&fixture.reader, options).unwrap();
            assert_eq!(card.protocol(), Some(protocol));
            // The real service does not support it, and refuses.
            let refused = card.transmit(COMMAND).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ProtocolMismatch);
            assert_eq!(refused.recovery(), Recovery::Reconnect);
            assert!(!refused.command_may_have_run());

            inject(odd(Operation::Status));
            let status = card.status().unwrap();
            assert_eq!(status.protocol(), Some(protocol));

            inject(odd(Operation::Reconnect));
            let again = card.reconnect(ShareMode::Shared, accepted, Initialization::Leave);
            assert_eq!(again.unwrap(), protocol);
            assert_eq!(
                reconnect(&mut card, Initialization::Leave).unwrap(),
                Protocol::T1
            );
            assert_works(&mut card);
        }

        let mut card = fixture.connect();
        // Without the bit for an unknown reader, which is checked in another context.
        for state in [0, 0xFFFF_FFFB, DWORD::MAX - 4, 0x7000_0000] {
            let odd = |operation| Fault {
                after_the_call: true,
                state: Some(state),
                ..fault(operation, 0)
            };
            inject(odd(Operation::Status));
            assert_eq!(card.status().unwrap().raw_state(), state as u32);
            inject(Fault {
                // The call is repeated until two answers agree.
                lasts: true,
                ..odd(Operation::GetStatusChange)
            });
            let states = fixture.context.reader_states().unwrap();
            assert!(standin::disarm());
            assert_eq!(states[0].raw_state(), state as u32);
        }
    });
}

/// After a failed reconnect, the card has a protocol only if nothing changed.
#[test]
fn a_failed_reconnect_leaves_no_stale_protocol() {
    isolated(|| {
        let fixture = fixture();
        for returned in returned_values() {
            for initialization in [Initialization::Leave, Initialization::Reset] {
                let mut card = fixture.connect();
                inject(fault(Operation::Reconnect, returned));
                let error = reconnect(&mut card, initialization).unwrap_err();
                let unchanged = error.card_condition() == Some(scard::CardCondition::Unchanged);
                assert_eq!(card.protocol().is_some(), unchanged, "{error:?}");
                let is_refused = error.kind() == ErrorKind::InvalidArgument;
                assert!(unchanged || !is_refused || initialization != Initialization::Leave);
            }
        }
    });
}

/// Failures in a drop are ignored, and have no further effect.
#[test]
fn faults_in_drops_are_ignored() {
    isolated(|| {
        let fixture = fixture();
        for operation in [
            Operation::Disconnect,
            Operation::ReleaseContext,
            Operation::EndTransaction,
        ] {
            for returned in returned_values() {
                let mut card = fixture.connect();
                let transaction = card.transaction().unwrap();
                inject(fault(operation, returned));
                drop(transaction);
                drop(card);
                assert!(!standin::disarm());
            }
        }
        assert_works(&mut fixture.connect());
    });
}

/// Windows lists readers of other sessions, but does not know them in a query.
#[test]
fn a_reader_that_is_listed_but_unknown_does_not_hide_others() {
    isolated(|| {
        let fixture = fixture();
        standin::forget(Some(fixture.empty_reader.as_c_str()));
        let states = fixture.context.reader_states().unwrap();
        let state = |name: &ReaderName| states.iter().find(|it| it.reader_name() == name);
        assert!(state(&fixture.reader).unwrap().has_card());
        let unknown = state(&fixture.empty_reader).unwrap();
        assert!(unknown.flags().contains(ReaderFlags::UNKNOWN));
        assert!(!unknown.has_card());
        assert_eq!(fixture.context.find_reader("").unwrap(), fixture.reader);

        let any = CardFilter::new();
        let found = fixture.context.wait_for_card(&any, Some(support::SOON));
        assert_eq!(found.unwrap().reader_name(), &fixture.reader);
        let mut session = Session::builder(&fixture.context).open().unwrap();
        assert_eq!(
            session.run(|card| card.transmit(COMMAND)).unwrap(),
            support::OK
        );
        standin::forget(None);
        let states = fixture.context.reader_states().unwrap();
        let is_known = |it: &ReaderState| !it.flags().contains(ReaderFlags::UNKNOWN);
        assert!(states.iter().all(is_known));
    });
}
