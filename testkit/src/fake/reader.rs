//! Readers of the fake service.

/// The number of bytes of a reader's state on the wire.
const LEN: usize = 184;

const ABSENT: u32 = 0x02;
/// Present, powered, protocol chosen.
const PRESENT: u32 = 0x04 | 0x10 | 0x20;

/// The state of a reader, as the service reports it to its clients. Any value can
/// be set, sensible or not.
///
/// Client libraries trust these values, and some make them write out of bounds:
/// if a card is [`PRESENT`](Self::state), an [`atr_length`](Self::atr_length)
/// above 36 in the answer to [`WaitForChange`](super::Message::WaitForChange) or
/// [`StatesArray`](super::Message::StatesArray) corrupts the process of any client
/// of pcsc-lite.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reader {
    /// The name, which ends with a NUL; all zeros if there is no reader.
    pub name: [u8; 128],
    /// How many cards have come and gone.
    pub event_counter: u32,
    /// 1 unknown, 2 absent, 4 present, 8 mute, 10h powered, 20h protocol
    /// negotiable, 40h protocol chosen.
    pub state: u32,
    /// The number of handles; −1 for an exclusive one.
    pub sharing: i32,
    /// The card's answer to reset.
    pub atr: [u8; 33],
    /// Its length.
    pub atr_length: u32,
    /// The active protocol.
    pub protocol: u32,
}

impl Reader {
    /// A reader with a card for T=1.
    pub fn new(name: impl AsRef<[u8]>) -> Self {
        Self {
            event_counter: 1,
            state: PRESENT,
            protocol: 2,
            ..Self::empty(name)
        }
        .atr(crate::atr::T1)
    }

    /// A reader without a card. At most 128 bytes of the name are used.
    pub fn empty(name: impl AsRef<[u8]>) -> Self {
        let mut reader = Self::from_bytes([0; LEN]);
        for (byte, name) in reader.name.iter_mut().zip(name.as_ref()) {
            *byte = *name;
        }
        reader.state = ABSENT;
        reader
    }

    /// The card's answer to reset, of which at most 33 bytes are used.
    #[must_use]
    pub fn atr(mut self, atr: impl AsRef<[u8]>) -> Self {
        self.atr = [0; 33];
        self.atr_length = 0;
        for (byte, atr) in self.atr.iter_mut().zip(atr.as_ref()) {
            *byte = *atr;
            self.atr_length += 1;
        }
        self
    }

    /// Parses a state from its bytes on the wire.
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        let number = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut name = [0; 128];
        name.copy_from_slice(&bytes[..128]);
        let mut atr = [0; 33];
        atr.copy_from_slice(&bytes[140..173]);
        Self {
            name,
            event_counter: number(128),
            state: number(132),
            sharing: number(136) as i32,
            atr,
            atr_length: number(176),
            protocol: number(180),
        }
    }

    pub(super) fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..128].copy_from_slice(&self.name);
        bytes[128..132].copy_from_slice(&self.event_counter.to_ne_bytes());
        bytes[132..136].copy_from_slice(&self.state.to_ne_bytes());
        bytes[136..140].copy_from_slice(&self.sharing.to_ne_bytes());
        bytes[140..173].copy_from_slice(&self.atr);
        bytes[176..180].copy_from_slice(&self.atr_length.to_ne_bytes());
        bytes[180..].copy_from_slice(&self.protocol.to_ne_bytes());
        bytes
    }

    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.name.split(|byte| *byte == 0).next() == Some(name)
    }

    pub(super) fn has_card(&self) -> bool {
        self.state & 0x04 != 0
    }

    /// The bytes of `count` states on the wire; entries without a reader are zeros.
    pub(super) fn states(readers: &[Self], count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = readers.iter().flat_map(Self::to_bytes).collect();
        bytes.resize(count.saturating_mul(LEN), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_the_same_after_the_wire() {
        let mut reader = Reader::new([b'x'; 200]).atr([7; 40]);
        assert_eq!((reader.name, reader.atr_length), ([b'x'; 128], 33));
        reader.sharing = -1;
        reader.atr_length = u32::MAX;
        assert_eq!(Reader::from_bytes(reader.to_bytes()), reader);
        let reader = Reader::empty("R 00 00");
        assert!(reader.is_named(b"R 00 00") && !reader.is_named(b"R 00"));
        assert_eq!(Reader::states(&[reader.clone(), reader], 1).len(), LEN);
    }
}
