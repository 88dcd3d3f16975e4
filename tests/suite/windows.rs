//! The library over winscard, with two readers, the first with the test kit's ISO card.
//! `ci/windows` runs it in Wine, whose winscard passes every call to pcsc-lite:
//!
//! ```sh
//! with-virtual-readers --name 'Kärten 読取 🂡' --readers 2 --cards 1 -- wine suite.exe windows::
//! ```
//!
//! Everything in which Wine 10 behaves like Windows is tested here; the rest is not:
//!
//! | | Wine's winscard | so not tested here |
//! |---|---|---|
//! | `SCardGetStatusChange` | ignores the caller's known states, and so returns at once with everything | `Monitor`, `EventStream`, waiting for a card or for its removal; queries without a wait are tested |
//! | `SCardStatus` | returns the state as pcsc-lite's bits instead of Windows' number, and the length of the names in other units | `status()` |
//! | `SCardListReaders` | leaves the end of each non-ASCII name as another name, because it counts bytes of UTF-8 | that a list has nothing else |
//! | `SCARD_PROTOCOL_RAW` | passes Windows' number on, which pcsc-lite does not know | RAW |
//! | `SCardControl` | passes Windows' control codes on, which pcsc-lite's drivers do not know | PIN pads, TLV properties, `control()` |
//! | lengths of answers | are not returned with an error | `needed_len()` |
//! | transactions | continue after a reconnect, as with pcsc-lite, whereas Windows ends them | `Transaction::reconnect` |
//! | handles that never existed | crash it | these; only closed handles are tested |
//!
//! For these differences, unit tests run on every platform, in `src/values/platforms.rs`,
//! `src/card/transaction.rs`, `src/error/classify.rs` and `src/codes/scard.rs`.
#![cfg(windows)]

use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use scard::apdu::Command;
use scard::codes;
use scard::{
    AbortHandle, Attribute, Card, CardCondition, ConnectOptions, Context, ContextOptions, Control,
    Disposition, Error, ErrorKind, HandleError, Initialization, Operation, Origin, Platform,
    Protocol, Protocols, ReaderFlags, ReaderName, Recovery, Result, ReturnCode, Scope, Session,
    SessionError, SessionEvent, ShareMode,
};

/// The ATR of the kit's ISO card.
const ATR: &[u8] = &[0x3B, 0x80, 0x01, 0x81];
/// Its number in vpcd.
const DRIVERS_ATR: Attribute = Attribute::from_raw(0x0303);
/// GET CHALLENGE with four bytes, and the card's answer.
const COMMAND: &[u8] = &[0x00, 0x84, 0x00, 0x00, 0x04];
const ANSWER: &[u8] = &[1, 2, 3, 4, 0x90, 0x00];
/// SELECT of an application, and an AID that the card does not know.
const SELECT: &[u8] = b"\x00\xA4\x04\x00\x05\xA0\x00\x00\x03\x08";
const SELECT_UNKNOWN: &[u8] = b"\x00\xA4\x04\x00\x05\xF0\x00\x00\x00\x00";

/// A limit to be exceeded; one that is not exceeded even on a busy machine; and how long to wait
/// for something that must not happen.
const LIMIT: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_millis(300);

const BOTH_RESETS: [Initialization; 2] = [Initialization::Reset, Initialization::Unpower];

/// The readers, which one test uses at a time: the tests run in one process with one service.
struct World {
    context: Context,
    reader: ReaderName,
    empty_reader: ReaderName,
    _alone: MutexGuard<'static, ()>,
}

fn world() -> World {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let needed = "these tests need the readers of \
                  `with-virtual-readers --name NAME --readers 2 --cards 1` (see ci/windows)";
    let context = Context::establish().unwrap_or_else(|error| panic!("{needed}: {error}"));
    let mut readers = context
        .readers()
        .unwrap_or_else(|error| panic!("{needed}: {error}"));
    readers.retain(|name| !is_left_over(name));
    let [reader, empty_reader] = <[ReaderName; 2]>::try_from(readers)
        .unwrap_or_else(|readers| panic!("{needed}, there are {readers:?}"));
    World {
        context,
        reader,
        empty_reader,
        _alone: alone,
    }
}

/// Whether Wine has left this entry between two names of a list.
fn is_left_over(name: &ReaderName) -> bool {
    name.to_string().starts_with(' ')
}

impl World {
    fn connect(&self) -> Card {
        self.try_connect(ConnectOptions::new()).expect("connect")
    }

    fn try_connect(&self, options: ConnectOptions) -> Result<Card> {
        self.context.connect(&self.reader, options)
    }

    /// Another program, from the service's point of view.
    fn other(&self) -> Card {
        let context = Context::establish().expect("a context");
        let connected = context.connect(&self.reader, ConnectOptions::new());
        connected.expect("a second connection")
    }

    /// Given-up connections are closed eventually, on their own threads: no other connection is
    /// left.
    #[track_caller]
    fn assert_becomes_unused(&self) {
        let begun = Instant::now();
        while let Err(error) = self.try_connect(exclusive()) {
            assert_eq!(error.kind(), ErrorKind::SharingViolation, "{error}");
            assert!(begun.elapsed() < SOON, "{error}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn reset_by_another(&self, initialization: Initialization) {
        reconnect(&mut self.other(), initialization).expect("a reset by another");
    }
}

fn exclusive() -> ConnectOptions {
    ConnectOptions::new().share_mode(ShareMode::Exclusive)
}

fn reconnect(card: &mut Card, initialization: Initialization) -> Result<Protocol> {
    card.reconnect(ShareMode::Shared, Protocols::ANY, initialization)
}

#[track_caller]
fn assert_works(card: &mut Card) {
    assert_eq!(card.transmit(COMMAND).expect("transmit"), ANSWER);
}

/// Checks that the error is this code of this call, and comes from the service.
#[track_caller]
fn assert_fails<T, E: Into<Error>>(
    result: Result<T, E>,
    operation: Operation,
    code: ReturnCode,
) -> Error {
    match result {
        Ok(_) => panic!("{operation} succeeded, {code} expected"),
        Err(error) => {
            let error = error.into();
            assert_eq!((error.operation(), error.code()), (operation, code));
            assert_eq!(error.origin(), Origin::Service);
            error
        }
    }
}

fn in_background<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(call()));
    receiver
}

#[track_caller]
fn assert_blocked<T>(call: &Receiver<T>) {
    assert!(
        call.recv_timeout(NEVER).is_err(),
        "the call returned, it should wait"
    );
}

#[track_caller]
fn finish<T>(call: &Receiver<T>) -> T {
    call.recv_timeout(SOON).expect("the call does not return")
}

/// The call fails at its deadline: not before, and soon after.
#[track_caller]
fn assert_given_up<T>(call: impl FnOnce() -> Result<T>, operation: Operation) -> Error {
    let begun = Instant::now();
    let Err(error) = call() else {
        panic!("{operation} succeeded, it should wait");
    };
    let took = begun.elapsed();
    assert_eq!(error.operation(), operation);
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert_eq!(error.origin(), Origin::Library);
    assert!(took >= LIMIT, "{operation} gave up after {took:?}");
    assert!(
        took < LIMIT + SOON / 4,
        "{operation} gave up after {took:?}"
    );
    error
}

#[test]
fn this_is_windows() {
    assert_eq!(Platform::CURRENT, Platform::Windows);
}

#[test]
fn a_context_knows_readers_and_groups() {
    let world = world();
    assert!(world.context.is_valid().unwrap());
    assert_eq!(
        world.context.reader_groups().unwrap(),
        ["SCard$DefaultReaders"]
    );
    for scope in [Scope::User, Scope::System] {
        let context = ContextOptions::new().scope(scope).establish().unwrap();
        let readers = context.readers().unwrap();
        assert!(readers.contains(&world.reader) && readers.contains(&world.empty_reader));
        context.release().unwrap();
    }
    world.context.release().unwrap();
}

/// No code page has these names: the calls with 16-bit units are used.
#[test]
fn readers_are_called_as_people_call_them() {
    let world = world();
    for reader in [&world.reader, &world.empty_reader] {
        assert!(reader.to_string().starts_with("Kärten 読取 🂡"), "{reader}");
        // As text from a configuration file.
        let typed = ReaderName::new(reader.to_string()).unwrap();
        drop(world.context.open_reader(&typed).unwrap());
    }
    let groups = world.context.reader_groups().unwrap();
    let readers = world.context.readers_in(&groups[0]).unwrap();
    assert!(readers.contains(&world.reader));
    assert_works(&mut world.connect());
}

#[test]
fn a_look_at_the_readers_tells_what_is_in_them() {
    let world = world();
    let mut states = world.context.reader_states().unwrap();
    states.retain(|state| !is_left_over(state.reader_name()));
    let [full, empty] = &states[..] else {
        panic!("{states:?}")
    };
    assert_eq!(full.reader_name(), &world.reader);
    assert!(full.has_card() && !full.is_mute());
    assert_eq!(full.atr().as_bytes(), ATR);
    assert_eq!(empty.reader_name(), &world.empty_reader);
    assert!(empty.flags().contains(ReaderFlags::EMPTY));
    assert!(empty.atr().as_bytes().is_empty());
}

#[test]
fn a_card_is_connected_shared_and_exclusively() {
    let world = world();
    let mut card = world.connect();
    assert_eq!(card.reader_name(), &world.reader);
    assert_eq!(card.protocol(), Some(Protocol::T1));
    assert_eq!(card.share_mode(), ShareMode::Shared);
    assert_works(&mut card);
    let mut other = world.other();
    assert_works(&mut other);
    assert_works(&mut card);
    drop(other);
    card.disconnect(Disposition::Leave).unwrap();

    let mut card = world.try_connect(exclusive()).unwrap();
    assert_eq!(card.share_mode(), ShareMode::Exclusive);
    assert_works(&mut card);
}

#[test]
fn what_cannot_be_connected_says_why() {
    let world = world();
    let connect = |reader, options| world.context.connect(reader, options);
    let nowhere = ReaderName::new("No such reader").unwrap();
    let error = assert_fails(
        connect(&nowhere, ConnectOptions::new()),
        Operation::Connect,
        ReturnCode::E_UNKNOWN_READER,
    );
    assert_eq!(error.kind(), ErrorKind::ReaderGone);
    assert_eq!(error.recovery(), Recovery::AttachReader);
    assert_eq!(error.reader_name(), Some(&nowhere));
    assert_eq!(
        error.to_string(),
        "SCardConnect on \"No such reader\" failed: there is no reader of this name \
         (SCARD_E_UNKNOWN_READER, 0x80100009)"
    );

    let error = assert_fails(
        connect(&world.empty_reader, ConnectOptions::new()),
        Operation::Connect,
        ReturnCode::E_NO_SMARTCARD,
    );
    assert_eq!(error.kind(), ErrorKind::NoCard);
    assert_eq!(error.recovery(), Recovery::InsertCard);

    let only_t0 = ConnectOptions::new().protocols(Protocols::T0);
    let error = assert_fails(
        connect(&world.reader, only_t0),
        Operation::Connect,
        ReturnCode::E_PROTO_MISMATCH,
    );
    assert_eq!(error.kind(), ErrorKind::ProtocolMismatch);
}

#[test]
fn exclusive_access_is_exclusive() {
    let world = world();
    let refused = |result: Result<Card>| {
        let violation = ReturnCode::E_SHARING_VIOLATION;
        let error = assert_fails(result, Operation::Connect, violation);
        assert_eq!(error.kind(), ErrorKind::SharingViolation);
        assert_eq!(error.recovery(), Recovery::RetryLater);
    };
    let shared = world.connect();
    refused(world.try_connect(exclusive()));
    drop(shared);
    let mut card = world.try_connect(exclusive()).unwrap();
    refused(world.try_connect(ConnectOptions::new()));
    refused(world.try_connect(exclusive()));
    assert_works(&mut card);
    // To shared access, which admits others, and back when they have left.
    reconnect(&mut card, Initialization::Leave).unwrap();
    let changed = card.reconnect(ShareMode::Exclusive, Protocols::ANY, Initialization::Leave);
    assert_eq!(changed.unwrap(), Protocol::T1);
    refused(world.try_connect(ConnectOptions::new()));
    assert_works(&mut card);
}

#[test]
fn direct_access_becomes_general_access_and_back() {
    let world = world();
    // It needs no card.
    let reader = world.context.open_reader(&world.empty_reader).unwrap();
    let error = reader
        .into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
        .map(drop)
        .map_err(HandleError::into_error);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NoCard);

    let reader = world.context.open_reader(&world.reader).unwrap();
    let mut card = reader
        .into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
        .unwrap();
    assert_eq!(card.protocol(), Some(Protocol::T1));
    assert_works(&mut card);
    let mut reader = card.into_reader(Initialization::Leave).unwrap();
    reader.reconnect(Initialization::Reset).unwrap();
    let card = reader.into_card(ShareMode::Shared, Protocols::ANY, Initialization::Leave);
    assert_works(&mut card.unwrap());
}

#[test]
fn commands_and_answers_pass_as_they_are() {
    let world = world();
    let mut card = world.connect();
    let selected = card.transmit(SELECT).unwrap();
    assert_eq!(selected, b"\x6F\x07\x84\x05\xA0\x00\x00\x03\x08\x90\x00");
    assert_eq!(card.transmit(SELECT_UNKNOWN).unwrap(), [0x6A, 0x82]);
    // The card's longest answer, in the card's buffer and in a vector.
    let longest = [0x00, 0x84, 0x00, 0x00, 0x00];
    let answer = card.transmit_ref(&longest).unwrap().to_vec();
    assert_eq!(answer.len(), 258);
    assert_eq!(card.transmit(&longest).unwrap(), answer);

    let command = Command::new(0x00, 0x84, 0x00, 0x00)
        .unwrap()
        .expecting(8)
        .unwrap();
    let response = card.exchange(&command).unwrap();
    assert_eq!(response.data(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(response.status().is_success());
}

#[test]
fn leaving_acknowledges_a_reset_by_another() {
    let world = world();
    for initialization in BOTH_RESETS {
        let mut card = world.connect();
        assert_works(&mut card);
        world.reset_by_another(initialization);
        let reset = ReturnCode::W_RESET_CARD;
        for _ in 0..2 {
            let error = assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
            assert_eq!(error.kind(), ErrorKind::CardReset);
            assert_eq!(error.recovery(), Recovery::Reconnect);
            assert!(!error.command_may_have_run());
            assert_fails(card.transaction(), Operation::BeginTransaction, reset);
        }
        assert_eq!(card.protocol(), None, "it is open after a reset");
        let protocol = reconnect(&mut card, Initialization::Leave).unwrap();
        assert_eq!(protocol, Protocol::T1);
        assert_works(&mut card);
    }
}

#[test]
fn a_reset_of_ones_own_needs_no_acknowledgement() {
    let world = world();
    let mut card = world.connect();
    for initialization in BOTH_RESETS {
        // The card loses its selection.
        let read = [0x00, 0xB0, 0x00, 0x00, 0x04];
        card.transmit(SELECT).unwrap();
        assert_eq!(card.transmit(&read).unwrap(), [0x69, 0x82]);
        assert_eq!(reconnect(&mut card, initialization).unwrap(), Protocol::T1);
        assert_eq!(card.transmit(&read).unwrap(), [0x69, 0x85]);
    }
}

#[test]
fn a_refused_reconnect_says_what_became_of_the_card() {
    let world = world();
    let mut card = world.connect();
    let refuse = |card: &mut Card, initialization| {
        let refused = card.reconnect(ShareMode::Shared, Protocols::T0, initialization);
        let mismatch = ReturnCode::E_PROTO_MISMATCH;
        assert_fails(refused, Operation::Reconnect, mismatch)
    };
    let error = refuse(&mut card, Initialization::Leave);
    assert_eq!(error.card_condition(), Some(CardCondition::Unchanged));
    assert_works(&mut card);
    for initialization in BOTH_RESETS {
        let error = refuse(&mut card, initialization);
        assert_ne!(error.card_condition(), Some(CardCondition::Unchanged));
        assert_eq!(card.protocol(), None);
        let reset = ReturnCode::W_RESET_CARD;
        assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
        reconnect(&mut card, Initialization::Leave).unwrap();
        assert_works(&mut card);
    }
}

#[test]
fn a_transaction_excludes_others_until_it_ends() {
    let world = world();
    let (mut card, mut other) = (world.connect(), world.other());
    let mut transaction = card.transaction().unwrap();
    let waiting = in_background(move || (other.transmit(COMMAND), other));
    assert_blocked(&waiting);
    assert_eq!(transaction.transmit(COMMAND).unwrap(), ANSWER);
    assert_eq!(transaction.transmit_ref(COMMAND).unwrap(), ANSWER);
    transaction.end(Disposition::Leave).unwrap();
    let (answer, mut other) = finish(&waiting);
    assert_eq!(answer.unwrap(), ANSWER);

    // A dropped one ends, too.
    drop(card.transaction().unwrap());
    assert_works(&mut other);

    // One that ends with a reset, which all connections see.
    card.transaction().unwrap().end(Disposition::Reset).unwrap();
    for card in [&mut card, &mut other] {
        let reset = ReturnCode::W_RESET_CARD;
        assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
        reconnect(card, Initialization::Leave).unwrap();
        assert_works(card);
    }
}

#[test]
fn a_disconnect_can_reset_and_a_drop_does_not() {
    let world = world();
    let mut card = world.connect();
    drop(world.other());
    assert_works(&mut card);
    for disposition in [Disposition::Reset, Disposition::Unpower] {
        world.other().disconnect(disposition).unwrap();
        let reset = ReturnCode::W_RESET_CARD;
        assert_fails(card.transmit(COMMAND), Operation::Transmit, reset);
        // Not only acknowledge: an unpowered card would refuse the next connection.
        reconnect(&mut card, Initialization::Unpower).unwrap();
        assert_works(&mut card);
    }
}

#[test]
fn attributes_are_read_and_what_there_is_none_of_is_an_error() {
    let world = world();
    let mut card = world.connect();
    assert_eq!(card.attribute(DRIVERS_ATR).unwrap(), ATR);
    let unknown = Attribute::from_raw(0x7_FFFF);
    let unsupported = ReturnCode::from_raw(0x8010_001F);
    assert_fails(
        card.attribute(unknown),
        Operation::GetAttribute,
        unsupported,
    );
    assert!(card.set_attribute(unknown, &[]).is_err());
    assert_works(&mut card);
    let mut reader = world.context.open_reader(&world.reader).unwrap();
    assert_eq!(reader.attribute(DRIVERS_ATR).unwrap(), ATR);
}

#[test]
fn a_limit_that_is_kept_changes_nothing() {
    let world = world();
    let mut card = world
        .try_connect(ConnectOptions::new().timeout(Some(SOON)))
        .unwrap();
    assert_works(&mut card);
    let mut transaction = card.transaction().unwrap();
    assert_eq!(transaction.transmit(COMMAND).unwrap(), ANSWER);
    transaction.end(Disposition::Leave).unwrap();
    world.reset_by_another(Initialization::Reset);
    let error = card.transmit(COMMAND).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CardReset);
    reconnect(&mut card, Initialization::Reset).unwrap();
    card.within(SOON, assert_works);
    assert!(!card.is_abandoned());
}

#[test]
fn calls_on_a_card_that_another_holds_end_at_their_deadline() {
    let world = world();
    let mut holder = world.other();
    type Call = fn(&mut Card) -> Result<()>;
    let calls: [(Operation, Call); 3] = [
        (Operation::Transmit, |card| card.transmit(COMMAND).map(drop)),
        (Operation::BeginTransaction, |card| {
            card.transaction().map(drop)
        }),
        (Operation::Reconnect, |card| {
            reconnect(card, Initialization::Reset).map(drop)
        }),
    ];
    for (operation, call) in calls {
        let mut card = world.connect();
        card.set_timeout(Some(LIMIT));
        let transaction = holder.transaction().unwrap();
        let error = assert_given_up(|| call(&mut card), operation);
        assert!(!error.command_may_have_run(), "it never got to it");
        assert!(card.is_abandoned());
        let error = card.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Abandoned);
        drop(transaction);
        // No late effects: the holder sees no reset, and no connection is locked out.
        assert_works(&mut holder);
        assert_works(&mut world.connect());
        assert_works(&mut holder);
    }
    let transaction = holder.transaction().unwrap();
    let limited = ConnectOptions::new().timeout(Some(LIMIT));
    assert_given_up(|| world.try_connect(limited).map(drop), Operation::Connect);
    drop(transaction);
    drop(holder);
    world.assert_becomes_unused();
}

#[test]
fn a_card_is_stopped_from_another_thread() {
    let world = world();
    let mut holder = world.other();
    let abort = AbortHandle::new();
    let options = ConnectOptions::new().abort_handle(&abort);
    let mut card = world.try_connect(options.clone()).unwrap();
    let transaction = holder.transaction().unwrap();
    let waiting = in_background(move || (card.transmit(COMMAND), card));
    assert_blocked(&waiting);
    abort.abort();
    let (answer, card) = finish(&waiting);
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(!error.command_may_have_run());
    assert!(card.is_abandoned());
    let error = world.try_connect(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    drop(transaction);
    assert_works(&mut holder);
    drop((holder, card));
    world.assert_becomes_unused();
}

#[test]
fn a_session_goes_on_after_a_reset_and_sends_no_command_twice() {
    let world = world();
    let told = std::sync::Arc::new(Mutex::new(Vec::new()));
    let mut session = Session::builder(&world.context)
        .reader(&world.reader)
        .setup(|card| card.transmit(SELECT).map(drop))
        .identity(|card| card.transmit(COMMAND))
        .timeout(Some(SOON))
        .on_event({
            let told = told.clone();
            move |event| told.lock().unwrap().push(event.clone())
        })
        .open()
        .unwrap();
    // The card's answer shows whether the application is selected.
    let verify = b"\x00\x20\x00\x01\x041234";
    let read = [0x00, 0xB0, 0x00, 0x00, 0x04];
    let works = |session: &mut Session| {
        let answer = session.run(|card| -> scard::Result<_> {
            assert_eq!(card.transmit(verify)?, [0x90, 0x00]);
            card.transmit(&read)
        });
        assert_eq!(answer.unwrap(), b"scar\x90\x00");
    };
    works(&mut session);
    for initialization in BOTH_RESETS {
        told.lock().unwrap().clear();
        world.reset_by_another(initialization);
        works(&mut session);
        let told = told.lock().unwrap();
        assert!(told.contains(&SessionEvent::SetUp), "{told:?}");
    }

    assert_eq!(session.identity(), Some(ANSWER));
}

#[test]
fn a_session_ends_at_its_deadline_while_another_holds_the_card() {
    let world = world();
    let mut holder = world.other();
    let transaction = holder.transaction().unwrap();
    let begun = Instant::now();
    let opened = Session::builder(&world.context)
        .reader(&world.reader)
        .timeout(Some(LIMIT))
        .open();
    assert!(matches!(opened, Err(SessionError::Deadline { .. })));
    assert!(begun.elapsed() < LIMIT + SOON / 4);
    drop(transaction);
    drop(holder);
    world.assert_becomes_unused();
}

#[cfg(feature = "async")]
#[test]
fn futures_do_the_same() {
    let world = world();
    smol::block_on(async {
        let context = scard::AsyncContext::establish().await.unwrap();
        assert!(context.readers().await.unwrap().contains(&world.reader));
        let options = ConnectOptions::new();
        let mut card = context.connect(&world.reader, options).await.unwrap();
        assert_eq!(card.transmit(COMMAND).await.unwrap(), ANSWER);
        world.reset_by_another(Initialization::Reset);
        let error = card.transmit(COMMAND).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardReset);
        card.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .await
            .unwrap();
        assert_eq!(card.transmit(COMMAND).await.unwrap(), ANSWER);
    });
}

#[test]
fn cards_do_not_wait_for_each_others_threads() {
    let world = world();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut card = world.other();
                    assert_works(&mut card);
                    assert_works(&mut card);
                }
            });
        }
    });
}

/// The service's code for closed handles is a system code, not one of PC/SC.
#[test]
fn closed_handles_are_a_system_code() {
    let world = world();
    let codes = raw::calls_on_closed_handles(&world.reader.to_string());
    for (call, code) in codes {
        let code = ReturnCode::from_raw(code);
        assert_eq!(code, ReturnCode::INVALID_HANDLE, "{call}");
        assert_eq!(code.kind(), ErrorKind::ServiceGone, "{call}");
        assert_eq!(code.recovery(), Recovery::ConnectAgain, "{call}");
    }
    assert_eq!(
        ReturnCode::from_raw(6).to_string(),
        "the context or card handle is not valid (ERROR_INVALID_HANDLE, 0x00000006)"
    );
}

/// Two codes have other names than in pcsc-lite, which returns the first where the second is meant.
#[test]
fn codes_have_the_names_of_windows() {
    let name = |code: u32| ReturnCode::from_raw(code).name();
    assert_eq!(name(0x8010_001F), Some("SCARD_E_UNEXPECTED"));
    assert_eq!(name(0x8010_0022), Some("SCARD_E_UNSUPPORTED_FEATURE"));
    let meant: Vec<_> = codes::lookup(6).map(|meaning| meaning.name()).collect();
    assert_eq!(meant, ["ERROR_INVALID_HANDLE", "CKR_FUNCTION_FAILED"]);
    assert_eq!(ReturnCode::E_UNEXPECTED.kind(), ErrorKind::Communication);
}

/// Calls that the library does not make.
mod raw {
    #![allow(unsafe_code)]

    use std::ptr;

    use pcsc::ffi;

    // Not in the bindings.
    #[link(name = "winscard")]
    unsafe extern "system" {
        fn SCardConnectW(
            context: ffi::SCARDCONTEXT,
            reader: *const u16,
            mode: ffi::DWORD,
            protocols: ffi::DWORD,
            card: *mut ffi::SCARDHANDLE,
            protocol: *mut ffi::DWORD,
        ) -> ffi::LONG;
    }

    /// What each call returns if its handle has just been closed.
    pub(crate) fn calls_on_closed_handles(reader: &str) -> Vec<(&'static str, u32)> {
        let (mut context, mut card, mut protocol) = (0, 0, 0);
        let reader: Vec<u16> = reader.encode_utf16().chain([0]).collect();
        // SAFETY: the reserved pointers may be null, and `context` outlives the call.
        let established = unsafe {
            ffi::SCardEstablishContext(
                ffi::SCARD_SCOPE_USER,
                ptr::null(),
                ptr::null(),
                &mut context,
            )
        };
        assert_eq!(established, 0);
        // SAFETY: `reader` ends with NUL, and the outputs outlive the call.
        let connected = unsafe {
            SCardConnectW(
                context,
                reader.as_ptr(),
                ffi::SCARD_SHARE_SHARED,
                ffi::SCARD_PROTOCOL_ANY,
                &mut card,
                &mut protocol,
            )
        };
        assert_eq!(connected, 0);
        // SAFETY: takes a handle by value.
        let disconnected = unsafe { ffi::SCardDisconnect(card, ffi::SCARD_LEAVE_CARD) };
        assert_eq!(disconnected, 0);
        // SAFETY: as above; the service checks it.
        let again = unsafe { ffi::SCardDisconnect(card, ffi::SCARD_LEAVE_CARD) };
        // SAFETY: as above.
        let begun = unsafe { ffi::SCardBeginTransaction(card) };
        // SAFETY: as above.
        let released = unsafe { ffi::SCardReleaseContext(context) };
        assert_eq!(released, 0);
        // SAFETY: as above.
        let valid = unsafe { ffi::SCardIsValidContext(context) };
        // SAFETY: as above.
        let cancelled = unsafe { ffi::SCardCancel(context) };
        // SAFETY: as above.
        let released = unsafe { ffi::SCardReleaseContext(context) };
        vec![
            ("SCardDisconnect", again as u32),
            ("SCardBeginTransaction", begun as u32),
            ("SCardIsValidContext", valid as u32),
            ("SCardCancel", cancelled as u32),
            ("SCardReleaseContext", released as u32),
        ]
    }
}
