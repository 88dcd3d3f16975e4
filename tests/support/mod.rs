//! Shared by the tests: a sandbox with one card, and the library connected to it.
#![allow(dead_code, unreachable_pub)]

pub mod applet;
pub mod conventions;
pub mod events;
#[cfg(feature = "async")]
pub mod executor;
#[cfg(target_os = "linux")]
pub mod fake;
pub mod iso7816;
pub mod mifare;
pub mod pin_pad;
pub mod random;
pub mod session;
#[cfg(target_os = "linux")]
pub mod terminal;
pub mod usage;

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use scard::{
    Card, ConnectOptions, Context, Error, Initialization, Operation, Protocols, ReaderName, Result,
    ReturnCode, ShareMode,
};
use scard_testkit::{CardHandle, Sandbox, VirtualCard};

/// How long an expected event may take on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// How long to wait for something that must not happen.
pub const NEVER: Duration = Duration::from_millis(300);

/// A command that every card here answers with [`OK`].
pub const COMMAND: &[u8] = &[0x00, 0x84, 0x00, 0x00, 0x08];
pub const OK: &[u8] = &[0x90, 0x00];

/// A sandbox with a card in its first reader and none in its second.
pub struct Fixture {
    pub sandbox: Sandbox,
    pub card: CardHandle,
    pub context: Context,
    pub reader: ReaderName,
    pub empty_reader: ReaderName,
}

/// A card with T=1 that answers everything with [`OK`].
pub fn plain_card() -> VirtualCard {
    VirtualCard::new(|_: &[u8]| OK).atr(scard_testkit::atr::T1)
}

pub fn fixture() -> Fixture {
    fixture_with(plain_card())
}

pub fn fixture_with(card: VirtualCard) -> Fixture {
    let sandbox = Sandbox::builder().readers(2).card(0, card);
    Fixture::of(sandbox.start().expect("the sandbox"))
}

impl Fixture {
    /// A sandbox that has a card in its first reader and none in its second.
    pub fn of(sandbox: Sandbox) -> Fixture {
        let name = |i: usize| ReaderName::new(sandbox.reader(i).name()).expect("a name");
        Fixture {
            card: sandbox.reader(0).card().expect("the card"),
            context: Context::establish().expect("a context"),
            reader: name(0),
            empty_reader: name(1),
            sandbox,
        }
    }

    pub fn connect(&self) -> Card {
        self.try_connect(ConnectOptions::new()).expect("connect")
    }

    pub fn connect_exclusive(&self) -> Card {
        self.try_connect(ConnectOptions::new().share_mode(ShareMode::Exclusive))
            .expect("connect exclusively")
    }

    pub fn try_connect(&self, options: ConnectOptions) -> Result<Card> {
        self.context.connect(&self.reader, options)
    }

    /// In the background, connects and uses the card in a transaction: everything that others may
    /// have to wait for.
    pub fn use_by_another(&self) -> Receiver<Result<Vec<u8>>> {
        let (context, reader) = (self.context.clone(), self.reader.clone());
        in_background(move || {
            let mut other = context.connect(&reader, ConnectOptions::new())?;
            other.transaction()?.transmit(COMMAND)
        })
    }

    /// Resets the card from a separate connection.
    pub fn reset_by_another(&self) {
        let mut other = self.connect();
        reconnect(&mut other, Initialization::Reset).expect("reset");
    }
}

/// Reconnects shared, with any protocol.
pub fn reconnect(card: &mut Card, initialization: Initialization) -> Result<scard::Protocol> {
    card.reconnect(ShareMode::Shared, Protocols::ANY, initialization)
}

/// Checks that the card works.
#[track_caller]
pub fn assert_works(card: &mut Card) {
    assert_eq!(card.transmit(COMMAND).expect("transmit"), OK);
}

/// Checks that the error is this code of this call.
#[track_caller]
pub fn assert_fails<T, E: Into<Error>>(
    result: Result<T, E>,
    operation: Operation,
    code: ReturnCode,
) -> Error {
    match result {
        Ok(_) => panic!("{operation} succeeded, {code} expected"),
        Err(error) => {
            let error = error.into();
            assert_eq!((error.operation(), error.code()), (operation, code));
            error
        }
    }
}

/// Runs a call that may block on a separate thread; its result arrives on the channel.
pub fn in_background<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(call()));
    receiver
}

/// Waits for a change that nothing reports, by polling.
#[track_caller]
pub fn wait_until(change: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(begun.elapsed() < SOON, "{change}: not within {SOON:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Checks that the call has not returned.
#[track_caller]
pub fn assert_blocked<T>(call: &Receiver<T>) {
    assert!(
        call.recv_timeout(NEVER).is_err(),
        "the call returned, it should wait"
    );
}

/// Waits until the call returns.
#[track_caller]
pub fn finish<T>(call: &Receiver<T>) -> T {
    call.recv_timeout(SOON).expect("the call does not return")
}
