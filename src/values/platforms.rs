//! Numeric differences between the platforms, as pure functions, so that every platform's variant
//! is tested on every platform.

use super::{CardState, Protocol, Protocols, ReaderFlags};
use crate::codes::Platform;

impl Platform {
    /// `SCARD_PROTOCOL_RAW`.
    const fn raw_protocol(self) -> u32 {
        match self {
            Platform::Windows => 0x1_0000,
            Platform::MacOs | Platform::PcscLite => 4,
        }
    }

    /// The bit mask of `dwPreferredProtocols`. Unnamed bits are passed through.
    pub(crate) const fn preferred_protocols(self, protocols: Protocols) -> u32 {
        let raw = Protocols::RAW.bits();
        let others = protocols.bits() & !raw;
        if protocols.bits() & raw == 0 {
            others
        } else {
            others | self.raw_protocol()
        }
    }

    /// The protocol for a value reported by the service.
    pub(crate) const fn protocol(self, value: u32) -> Protocol {
        match value {
            1 => Protocol::T0,
            2 => Protocol::T1,
            8 => Protocol::T15,
            other if other == self.raw_protocol() => Protocol::Raw,
            other => Protocol::Other(other),
        }
    }

    /// The state reported by `SCardStatus` and, where there is one, the event counter with it.
    pub(crate) fn card_state(self, value: u32) -> (CardState, Option<u16>) {
        let mask = CardState::from_bits_truncate(value & 0xFFFF);
        match self {
            Platform::Windows => (CardState::from_ordinal(value), None),
            Platform::MacOs => (mask, None),
            Platform::PcscLite => (mask, Some((value >> 16) as u16)),
        }
    }

    /// The event counter in the high half of `dwEventState`, where there is one.
    pub(crate) const fn event_count(self, event_state: u32) -> Option<u16> {
        match self {
            Platform::MacOs => None,
            Platform::Windows | Platform::PcscLite => Some((event_state >> 16) as u16),
        }
    }

    /// The state to pass back to `SCardGetStatusChange` for a reader, so that only a different
    /// state is a change. pcsc-lite compares with what is passed; unless changes of use are wanted,
    /// the use of the reader is left out there, so that programs that connect do not end the wait.
    pub(crate) const fn handed_back(self, event_state: u32, with_use: bool) -> u32 {
        let changed = ReaderFlags::CHANGED.bits();
        let usage = ReaderFlags::INUSE.bits() | ReaderFlags::EXCLUSIVE.bits();
        match self {
            Platform::PcscLite if !with_use => event_state & !changed & !usage,
            _ => event_state & !changed,
        }
    }

    /// Whether `SCardGetStatusChange` returns when a program begins to use a reader.
    pub(crate) const fn reports_when_use_begins(self) -> bool {
        matches!(self, Platform::Windows)
    }

    /// Whether there is an entry that reports readers being attached and detached.
    pub(crate) const fn has_plug_and_play(self) -> bool {
        !matches!(self, Platform::MacOs)
    }

    /// `SCARD_CTL_CODE(function)`.
    pub(crate) const fn control_code(self, function: u32) -> u32 {
        match self {
            Platform::Windows => 0x31_0000 | function.wrapping_shl(2),
            Platform::MacOs | Platform::PcscLite => 0x4200_0000u32.wrapping_add(function),
        }
    }

    /// Whether a transaction is still held after `SCardReconnect`. If not, the service ends it.
    pub(crate) const fn reconnect_keeps_transaction(self) -> bool {
        matches!(self, Platform::PcscLite)
    }
}

#[cfg(test)]
mod tests {
    use super::Platform::{MacOs, PcscLite, Windows};
    use super::*;

    #[test]
    fn raw_has_its_own_number_on_windows() {
        let both = Protocols::T0 | Protocols::RAW;
        assert_eq!(Windows.preferred_protocols(both), 0x1_0001);
        assert_eq!(PcscLite.preferred_protocols(both), 5);
        assert_eq!(MacOs.preferred_protocols(Protocols::ANY), 3);
        assert_eq!(Windows.protocol(0x1_0000), Protocol::Raw);
        assert_eq!(Windows.protocol(4), Protocol::Other(4));
        assert_eq!(PcscLite.protocol(4), Protocol::Raw);
        assert_eq!(PcscLite.protocol(0x1_0000), Protocol::Other(0x1_0000));
    }

    #[test]
    fn macos_has_no_entry_for_readers() {
        let has = [Windows, MacOs, PcscLite].map(Platform::has_plug_and_play);
        assert_eq!(has, [true, false, true]);
    }

    /// pcsc-lite compares the use that is passed back, so a wait would end at once while a card is
    /// in use. It is passed back only where changes of use are wanted.
    #[test]
    fn the_use_of_a_reader_is_passed_back_if_requested_or_harmless() {
        let used = 0x0003_01A2;
        assert_eq!(PcscLite.handed_back(used, false), 0x0003_0020);
        assert_eq!(PcscLite.handed_back(used, true), 0x0003_01A0);
        for platform in [Windows, MacOs] {
            for with_use in [true, false] {
                assert_eq!(platform.handed_back(used, with_use), 0x0003_01A0);
            }
        }
    }

    #[test]
    fn unnamed_protocol_bits_pass_through() {
        let default = Protocols::from_bits_retain(0x8000_0000);
        assert_eq!(Windows.preferred_protocols(default), 0x8000_0000);
    }

    #[test]
    fn status_is_an_ordinal_on_windows_and_a_mask_elsewhere() {
        let ready = CardState::PRESENT | CardState::POWERED | CardState::NEGOTIABLE;
        assert_eq!(Windows.card_state(5), (ready, None));
        assert_eq!(PcscLite.card_state(0x0007_0034), (ready, Some(7)));
        assert_eq!(MacOs.card_state(0x34), (ready, None));
        assert_eq!(Windows.card_state(1), (CardState::ABSENT, None));
        assert_eq!(PcscLite.card_state(0x2), (CardState::ABSENT, Some(0)));
        assert_eq!(Windows.card_state(99), (CardState::UNKNOWN, None));
    }

    #[test]
    fn windows_counts_the_states_from_0_to_6() {
        let powered = CardState::PRESENT | CardState::POWERED;
        let named = [
            CardState::UNKNOWN,
            CardState::ABSENT,
            CardState::PRESENT,
            CardState::PRESENT | CardState::SWALLOWED,
            powered,
            powered | CardState::NEGOTIABLE,
            powered | CardState::SPECIFIC,
        ];
        for (ordinal, state) in (0..).zip(named) {
            assert_eq!(Windows.card_state(ordinal), (state, None));
        }
        // Values out of this range, such as the bits of pcsc-lite, are not interpreted.
        for value in [7, 0x34, 0x1_0002, u32::MAX] {
            assert_eq!(Windows.card_state(value), (CardState::UNKNOWN, None));
        }
    }

    #[test]
    fn a_transaction_survives_a_reconnect_only_with_pcsc_lite() {
        assert!(PcscLite.reconnect_keeps_transaction());
        assert!(!Windows.reconnect_keeps_transaction());
        assert!(!MacOs.reconnect_keeps_transaction());
    }

    #[test]
    fn events_are_counted_except_on_macos() {
        assert_eq!(PcscLite.event_count(0xFFFF_0022), Some(0xFFFF));
        assert_eq!(Windows.event_count(0x22), Some(0));
        assert_eq!(MacOs.event_count(0x22), None);
    }

    #[test]
    fn control_codes() {
        assert_eq!(Windows.control_code(3400), 0x0031_3520);
        assert_eq!(PcscLite.control_code(3400), 0x4200_0D48);
        assert_eq!(MacOs.control_code(1), 0x4200_0001);
        // Absurd functions give absurd codes, not a panic.
        let _ = (
            Windows.control_code(u32::MAX),
            PcscLite.control_code(u32::MAX),
        );
    }

    #[test]
    fn this_platform_agrees_with_the_bindings() {
        use pcsc::ffi;
        let here = Platform::CURRENT;
        #[allow(clippy::unnecessary_cast)]
        let (raw, code) = (
            ffi::SCARD_PROTOCOL_RAW as u32,
            ffi::SCARD_CTL_CODE(3400) as u32,
        );
        assert_eq!(here.raw_protocol(), raw);
        assert_eq!(here.control_code(3400), code);
    }
}
