//! The PC/SC client of the tests.

use std::ffi::CString;

use pcsc::{Card, Context, Error, Protocols, ReaderState, Scope, ShareMode, State};
use scard_testkit::{Sandbox, VirtualReader};

pub(crate) const SELECT: &[u8] = &[0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x00, 0x01];

pub(crate) fn context() -> Context {
    Context::establish(Scope::User).expect("a context")
}

pub(crate) fn name(reader: &VirtualReader) -> CString {
    CString::new(reader.name()).expect("a name without NUL")
}

pub(crate) fn connect(context: &Context, reader: &VirtualReader) -> Result<Card, Error> {
    context.connect(&name(reader), ShareMode::Shared, Protocols::ANY)
}

pub(crate) fn transmit(card: &Card, command: &[u8]) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; 65_548];
    card.transmit(command, &mut buffer).map(<[u8]>::to_vec)
}

/// Whether a client sees a card in the reader, without waiting.
#[allow(dead_code)] // The tests of some files do not look.
pub(crate) fn sees_card(context: &Context, reader: &VirtualReader) -> bool {
    let mut states = [ReaderState::new(name(reader), State::UNAWARE)];
    context
        .get_status_change(std::time::Duration::ZERO, &mut states)
        .expect("a status");
    let state = states[0].event_state();
    assert_ne!(state.contains(State::PRESENT), state.contains(State::EMPTY));
    state.contains(State::PRESENT)
}

/// Returns once a client waits for a change, or the closure says that it will
/// not. The sandbox has a [debug log](scard_testkit::SandboxBuilder::debug_log).
///
/// What happens while a client begins to wait, the libraries of pcsc-lite 2.5
/// take for an answer.
#[allow(dead_code)] // The tests of some files do not wait.
pub(crate) fn until_a_client_waits(sandbox: &Sandbox, is_over: impl Fn() -> bool) {
    let waits = |log: String| {
        let then = log.rsplit_once("CMD_WAIT_READER_STATE_CHANGE");
        then.is_some_and(|(_, then)| {
            let ends = ["CMD_STOP_WAITING", "Signal client"];
            then.contains("Send reader states") && !ends.iter().any(|end| then.contains(end))
        })
    };
    while !waits(sandbox.daemon_log()) && !is_over() {
        std::thread::yield_now();
    }
}
