//! What an exchange may do.

use super::command::{Command, Expected, Form};
use super::encoding::{SHORT_DATA, SHORT_EXPECTED};
use crate::values::Atr;

/// What an [exchange](crate::Card::exchange) may do, and where it ends.
///
/// A command whose body or expected answer does not fit short lengths goes, in this order:
///
/// 1. with extended length, if that is [known to be possible](Self::extended_length);
/// 2. if only the expected answer is too long for a short command: asking for as much as one
///    can, 256 bytes. More is fetched if the card tells by 61XX that there is more; one that
///    takes the 256 for all that was wanted, as with READ BINARY, gives no more;
/// 3. as a [chain](Self::chaining) of short commands, if the card is known to understand one;
/// 4. not at all: [`ExchangeError::TooLong`](super::ExchangeError::TooLong).
///
/// A command that is [`Form::Extended`] is sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ExchangeOptions {
    extended_length: Option<bool>,
    chaining: Option<bool>,
    reader_max_data: Option<u32>,
    pub(super) max_rounds: u32,
    pub(super) max_size: usize,
    card: Capabilities,
}

/// What the card says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Capabilities {
    chaining: bool,
    extended_length: bool,
}

impl ExchangeOptions {
    /// Nothing that the ATR does not promise, up to 512 rounds and 131,072 bytes of answer.
    pub const fn new() -> ExchangeOptions {
        ExchangeOptions {
            extended_length: None,
            chaining: None,
            reader_max_data: None,
            max_rounds: 512,
            max_size: 131_072,
            card: Capabilities {
                chaining: false,
                extended_length: false,
            },
        }
    }

    /// Whether card and reader take extended lengths.
    ///
    /// Unless set, they do if the ATR says so of the card,
    /// [`reader_max_data`](Self::reader_max_data) or [`of_reader`](Self::of_reader) of the
    /// reader, and the protocol is not T=0,
    /// which has no extended lengths of its own.
    pub const fn extended_length(mut self, possible: bool) -> ExchangeOptions {
        self.extended_length = Some(possible);
        self
    }

    /// The most data that the reader takes in one command: `dwMaxAPDUDataSize` of PC/SC Part
    /// 10. Up to 256 is a reader without extended length.
    pub const fn reader_max_data(mut self, max: u32) -> ExchangeOptions {
        self.reader_max_data = Some(max);
        self
    }

    /// Whether the card takes a long body as a chain of commands, which have a bit in their
    /// class for that.
    ///
    /// Unless set, it does if the ATR says so and the class is an interindustry one. A card
    /// that ignores the bit would take a part for the whole, so there is no trying.
    pub const fn chaining(mut self, possible: bool) -> ExchangeOptions {
        self.chaining = Some(possible);
        self
    }

    /// How many commands the card may ask for beside the one that is exchanged: GET RESPONSE,
    /// and those that are repeated with another Le. 512 unless set.
    pub const fn max_rounds(mut self, max: u32) -> ExchangeOptions {
        self.max_rounds = max;
        self
    }

    /// How many bytes the answer may have in all. 131,072 unless set.
    pub const fn max_size(mut self, max: usize) -> ExchangeOptions {
        self.max_size = max;
        self
    }

    /// Whether what to do with the command depends on the card's ATR.
    pub(crate) fn depend_on_card(&self, command: &Command) -> bool {
        if command.form() != Form::Auto || !command.needs_extended() {
            return false;
        }
        let extends = self.extended_length.is_none() && self.reader_max_data.is_some();
        let chains = command.data().len() > SHORT_DATA
            && self.chaining.is_none()
            && self.extended_length != Some(true);
        extends || chains
    }

    /// With what the card says of itself.
    pub(crate) fn for_card(mut self, atr: &Atr) -> ExchangeOptions {
        self.card = capabilities(atr);
        self
    }

    /// Whether a command that needs them gets extended lengths.
    pub(super) fn extend(&self, command: &Command, is_t0: bool) -> bool {
        self.extended_length.unwrap_or_else(|| {
            let expected = match command.expected() {
                Expected::Exactly(expected) => expected,
                Expected::None | Expected::All => 0,
            };
            let fits = |max: u32| {
                let data_fits = usize::try_from(max).is_ok_and(|max| command.data().len() <= max);
                max > SHORT_EXPECTED && data_fits && expected <= max
            };
            !is_t0 && self.card.extended_length && self.reader_max_data.is_some_and(fits)
        })
    }

    /// Whether chaining is possible, and for proprietary classes, too.
    pub(super) fn chain(&self) -> (bool, bool) {
        match self.chaining {
            Some(possible) => (possible, possible),
            None => (self.card.chaining, false),
        }
    }
}

impl Default for ExchangeOptions {
    fn default() -> ExchangeOptions {
        ExchangeOptions::new()
    }
}

/// What the card says of itself in its historical bytes. What it does not say is not possible.
fn capabilities(atr: &Atr) -> Capabilities {
    let told = atr.parse().capabilities();
    told.map_or(Capabilities::default(), |card| Capabilities {
        chaining: card.command_chaining(),
        extended_length: card.extended_length(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_historical_bytes() {
        let of = |atr: &[u8]| {
            let found = capabilities(&Atr::new(atr).unwrap());
            (found.chaining, found.extended_length)
        };
        // A YubiKey, an OpenPGP card, the virtual cards of the tests.
        let yubikey = b"\x3B\xFD\x13\x00\x00\x81\x31\xFE\x15\x80\x73\xC0\x21\xC0\x57\x59\x75\x62\x69\x4B\x65\x79\x40";
        let openpgp =
            b"\x3B\xDA\x18\xFF\x81\xB1\xFE\x75\x1F\x03\x00\x31\xC5\x73\xC0\x01\x40\x00\x90\x00\x0C";
        assert_eq!(of(yubikey), (true, true));
        assert_eq!(of(openpgp), (false, true));
        assert_eq!(of(b"\x3B\x80\x01\x81"), (false, false));
        assert_eq!(of(b"\x3B\x85\x01\x80\x73\x00\x00\x80\xF6"), (true, false));
        for atr in [&yubikey[..], openpgp] {
            for len in 0..atr.len() {
                of(&atr[..len]);
            }
        }
    }
}
