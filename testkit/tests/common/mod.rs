//! The PC/SC client of the tests.

use std::ffi::CString;

use pcsc::{Card, Context, Error, Protocols, ReaderState, Scope, ShareMode, State};
use scard_testkit::VirtualReader;

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
pub(crate) fn sees_card(context: &Context, reader: &VirtualReader) -> bool {
    let mut states = [ReaderState::new(name(reader), State::UNAWARE)];
    context
        .get_status_change(std::time::Duration::ZERO, &mut states)
        .expect("a status");
    let state = states[0].event_state();
    assert_ne!(state.contains(State::PRESENT), state.contains(State::EMPTY));
    state.contains(State::PRESENT)
}
