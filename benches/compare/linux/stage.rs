//! The setting of a measurement: a sandbox with a card in its first reader.

use std::ffi::CString;

use scard::{Card, ConnectOptions, Context, ContextOptions, ReaderName};
use scard_testkit::{CardHandle, Driver, Sandbox, SandboxBuilder, VirtualCard};

use super::{Answer, raw};

/// READ BINARY of 8 bytes.
pub(super) const COMMAND: &[u8] = &[0x00, 0xB0, 0x00, 0x00, 0x08];
pub(super) const ANSWER: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 0x90, 0x00];

pub(super) struct Stage {
    pub(super) virtual_card: CardHandle,
    /// The first reader.
    pub(super) name: CString,
    pub(super) reader: ReaderName,
    pub(super) context: Context,
    /// Over the daemon's socket.
    pub(super) socket_context: Context,
    pub(super) raw_context: raw::Context,
    pub(super) pcsc_context: pcsc::Context,
    pub(super) sandbox: Sandbox,
}

/// A card with the same answer to every command.
pub(super) fn plain_card() -> VirtualCard {
    VirtualCard::new(|_: &[u8]| ANSWER)
}

/// Starts a daemon, which this process uses from then on.
pub(super) fn start(sandbox: SandboxBuilder, driver: Driver) -> Answer<Sandbox> {
    let sandbox = sandbox.driver(driver).start()?;
    // SAFETY: no other thread reads the environment: the sandbox's do not.
    unsafe { std::env::set_var("PCSCLITE_CSOCK_NAME", sandbox.socket_path()) };
    Ok(sandbox)
}

/// A context that needs no C library.
pub(super) fn socket_context() -> Answer<Context> {
    Ok(ContextOptions::new().socket().establish()?)
}

impl Stage {
    pub(super) fn new(driver: Driver, card: VirtualCard) -> Answer<Stage> {
        let sandbox = start(Sandbox::builder().card(0, card), driver)?;
        Ok(Stage {
            virtual_card: sandbox.reader(0).card().ok_or("the reader has no card")?,
            name: CString::new(sandbox.reader(0).name())?,
            reader: ReaderName::new(sandbox.reader(0).name())?,
            context: Context::establish()?,
            socket_context: socket_context()?,
            raw_context: raw::Context::establish()?,
            pcsc_context: pcsc::Context::establish(pcsc::Scope::User)?,
            sandbox,
        })
    }

    pub(super) fn connect(&self) -> Answer<Card> {
        Ok(self.context.connect(&self.reader, ConnectOptions::new())?)
    }

    pub(super) fn connect_by_socket(&self) -> Answer<Card> {
        let options = ConnectOptions::new();
        Ok(self.socket_context.connect(&self.reader, options)?)
    }

    /// One through the library, one over the daemon's socket.
    pub(super) fn both_ways(&self) -> Answer<[Card; 2]> {
        Ok([self.connect()?, self.connect_by_socket()?])
    }

    pub(super) fn connect_raw(&self) -> Answer<raw::Card> {
        self.raw_context.connect(&self.name)
    }

    pub(super) fn connect_pcsc(&self) -> Answer<pcsc::Card> {
        let (mode, any) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
        Ok(self.pcsc_context.connect(&self.name, mode, any)?)
    }

    /// Clears the virtual card's log of commands between rounds.
    pub(super) fn tidy(&self) -> impl FnMut() + use<> {
        let card = self.virtual_card.clone();
        move || card.clear_log()
    }
}
