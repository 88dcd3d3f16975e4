//! Models of readers: names and slots.

use crate::error::TestkitError;

/// The longest name that `pcscd` accepts, without its own suffix and the final NUL.
const MAX_NAME: usize = 128 - " 00 00\0".len();

/// A model of a reader, for [`SandboxBuilder::reader`](crate::SandboxBuilder::reader).
/// A plain name is a model, too.
///
/// ```
/// use scard_testkit::ReaderModel;
///
/// let model = ReaderModel::new("ACS ACR1281 Dual Reader").slots(2);
/// # drop(model);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderModel {
    pub(crate) name: String,
    pub(crate) interface: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) slots: Option<u8>,
    pub(crate) slots_take_turns: bool,
    pub(crate) port: Option<u16>,
}

impl ReaderModel {
    /// A reader of this name. The daemon adds the reader's number and that of
    /// the slot, as in ` 00 00`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            interface: None,
            serial: None,
            slots: None,
            slots_take_turns: false,
            port: None,
        }
    }

    /// The name of its USB interface, which follows the name in brackets, as in
    /// `ACS ACR1281 [Dual Reader] 00 00`. The daemon replaces each byte outside
    /// ASCII with a dot.
    #[must_use]
    pub fn interface(mut self, interface: impl Into<String>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// Its serial number, which follows in parentheses:
    /// `Yubico YubiKey (0001) 00 00`.
    #[must_use]
    pub fn serial(mut self, serial: impl Into<String>) -> Self {
        self.serial = Some(serial.into());
        self
    }

    /// How many cards it can hold, at least one. Clients see each slot as a
    /// reader. Default: one slot; with [`Driver::Vpcd`](crate::Driver::Vpcd)
    /// always two.
    #[must_use]
    pub fn slots(mut self, slots: u8) -> Self {
        self.slots = Some(slots.max(1));
        self
    }

    /// Makes its slots unusable at the same time: while one of them is busy, the
    /// daemon holds up calls to the others. Most real readers with several slots
    /// behave like this (their driver answers `TAG_IFD_SLOT_THREAD_SAFE` with 0).
    /// Needs [`Driver::Kit`](crate::Driver::Kit).
    ///
    /// With `SCARD_TESTKIT_SLOTS=take-turns` in the environment, the slots of all
    /// readers of the kit's driver take turns.
    #[must_use]
    pub fn slots_take_turns(mut self) -> Self {
        self.slots_take_turns = true;
        self
    }

    /// The TCP port at which `vpcd` waits for the card of the first slot; the second
    /// has the next one. Needs [`Driver::Vpcd`](crate::Driver::Vpcd).
    ///
    /// For cards that are external programs and connect to a fixed port: mostly
    /// 35963, `vpcd`'s default. Without this call the kit finds a free pair, which
    /// [`VirtualReader::address`](crate::VirtualReader::address) returns, so that
    /// any number of tests can run at the same time.
    #[must_use]
    pub fn port(mut self, first: u16) -> Self {
        self.port = Some(first);
        self
    }

    /// The name as the daemon composes it, without the numbers.
    pub(crate) fn full_name(&self) -> String {
        let mut name = self.name.clone();
        let interface = self.interface.as_deref();
        if let Some(interface) = interface {
            let ascii = interface.bytes().map(|byte| match byte {
                0..0x80 => char::from(byte),
                _ => '.',
            });
            name.extend(" [".chars().chain(ascii).chain("]".chars()));
        }
        match &self.serial {
            // The daemon leaves it out if the interface has it.
            Some(serial) if !interface.is_some_and(|i| i.contains(serial.as_str())) => {
                name += &format!(" ({serial})");
            }
            _ => {}
        }
        name
    }

    /// The names of the slots of reader `number`.
    pub(crate) fn slot_names(&self, number: u32, slots: u8) -> Vec<String> {
        let name = self.full_name();
        (0..slots)
            .map(|slot| format!("{name} {number:02X} {slot:02X}"))
            .collect()
    }

    pub(crate) fn check_name(&self) -> Result<(), TestkitError> {
        let name = self.full_name();
        let reason = if self.name.is_empty() {
            "it is empty"
        } else if name.len() > MAX_NAME {
            "it is longer than 121 bytes"
        } else if name.contains(|c: char| c == '"' || c.is_control()) {
            "pcscd's configuration cannot contain quotes or control characters in names"
        } else {
            return Ok(());
        };
        Err(TestkitError::InvalidReaderName { name, reason })
    }
}

impl<S: Into<String>> From<S> for ReaderModel {
    fn from(name: S) -> Self {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_composed_as_by_the_daemon() {
        let model = ReaderModel::new("A");
        assert_eq!(model.slot_names(0, 2), ["A 00 00", "A 00 01"]);
        assert_eq!(model.slot_names(11, 1), ["A 0B 00"]);
        let model = model.interface("Contact").serial("17");
        assert_eq!(model.full_name(), "A [Contact] (17)");
        let model = model.interface("Slot 17");
        assert_eq!(model.full_name(), "A [Slot 17]");
        assert_eq!(model.interface("für").full_name(), "A [f..r] (17)");
    }

    #[test]
    fn names_that_the_daemon_cannot_have_are_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", "a\"b", "a\nb", "a\0b", &long] {
            let error = ReaderModel::new(name).check_name().unwrap_err();
            assert!(
                matches!(error, TestkitError::InvalidReaderName { .. }),
                "{error}"
            );
        }
        assert!(ReaderModel::new(&long[1..]).check_name().is_ok());
        assert!(
            ReaderModel::new(&long[1..])
                .serial("1")
                .check_name()
                .is_err()
        );
    }
}
