//! The class byte: chaining, logical channels, and GET RESPONSE.
//!
//! | Class | |
//! |---|---|
//! | `000c ssnn` | first interindustry: chaining, secure messaging, channel 0 to 3 |
//! | `001x xxxx` | reserved |
//! | `01sc nnnn` | further interindustry: secure messaging, chaining, channel 4 to 19 |
//! | `1xxx xxxx` | proprietary; `8x` and `Cx` to `Ex` as GlobalPlatform and ETSI use them |
//! | `1111 1111` | no class: PC/SC's commands for the reader |

/// PC/SC's commands for the reader.
pub(super) const PSEUDO: u8 = 0xFF;

const CHAINING: u8 = 0x10;

/// Returns the class of a command of a chain other than the last; `None` if the class does not
/// support chaining.
pub(super) fn chained(class: u8, any_class: bool) -> Option<u8> {
    let interindustry = matches!(class, 0x00..=0x1F | 0x40..=0x7F);
    let possible = interindustry || any_class && matches!(class, 0x80..=0xFE);
    let chained = class | CHAINING;
    // EF would become FF, which is not a class.
    (possible && chained != class && chained != PSEUDO).then_some(chained)
}

/// Returns the class of the GET RESPONSE that fetches the rest of an answer: the same channel,
/// without chaining and without secure messaging, because the answer as a whole is protected, not
/// the pieces that GET RESPONSE fetches. In proprietary classes, bits that may have another meaning
/// are kept.
pub(super) fn of_get_response(class: u8) -> u8 {
    match class {
        0x00..=0x1F => class & 0x03,
        0x20..=0x3F => 0x00,
        0x40..=0x7F => class & 0x4F,
        // GlobalPlatform, ETSI TS 102 221.
        0x80..=0x8F => class & 0x83,
        0xE0..=0xEF => class & 0xCF,
        _ => class,
    }
}

/// Returns the interindustry class of the same logical channel, without chaining and secure
/// messaging.
pub(super) fn interindustry(class: u8) -> u8 {
    match class {
        0x00..=0x1F | 0x80..=0x8F => class & 0x03,
        0x40..=0x7F | 0xC0..=0xCF | 0xE0..=0xEF => 0x40 | class & 0x0F,
        _ => 0x00,
    }
}

/// Returns the logical channel in a class, if there is one.
pub(super) fn channel(class: u8) -> Option<u8> {
    match class {
        0x00..=0x1F | 0x80..=0x8F => Some(class & 0x03),
        0x40..=0x7F | 0xC0..=0xCF | 0xE0..=0xEF => Some((class & 0x0F) + 4),
        _ => None,
    }
}

/// Returns the class on another logical channel, if it can be expressed: further interindustry
/// classes have only one bit for secure messaging, which means that of ISO 7816-4 without
/// authenticated header.
pub(super) fn on_channel(class: u8, channel: u8) -> Option<u8> {
    let (proprietary, chaining, secure) = match class {
        0x00..=0x1F => (false, class & CHAINING, class & 0x0C),
        0x40..=0x7F => (false, class & CHAINING, (class & 0x20) >> 2),
        0x80..=0x8F => (true, 0, class & 0x0C),
        0xC0..=0xCF | 0xE0..=0xEF => (true, 0, (class & 0x20) >> 3),
        _ => return None,
    };
    match (channel, proprietary, secure) {
        (0..=3, false, _) => Some(chaining | secure | channel),
        (4..=19, false, 0x00 | 0x08) => Some(0x40 | secure << 2 | chaining | (channel - 4)),
        (0..=3, true, _) => Some(0x80 | secure | channel),
        (4..=19, true, 0x00 | 0x04) => Some(0xC0 | secure << 3 | (channel - 4)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_response_keeps_the_channel_and_nothing_else() {
        for (class, fetching) in [
            (0x00, 0x00),
            (0x03, 0x03),
            (0x0C, 0x00),
            (0x0E, 0x02),
            (0x12, 0x02),
            (0x1F, 0x03),
            (0x20, 0x00),
            (0x3F, 0x00),
            (0x40, 0x40),
            (0x4F, 0x4F),
            (0x65, 0x45),
            (0x7F, 0x4F),
            (0x80, 0x80),
            (0x84, 0x80),
            (0x8D, 0x81),
            (0x90, 0x90),
            (0xA0, 0xA0),
            (0xC3, 0xC3),
            (0xE3, 0xC3),
            (0xFF, 0xFF),
        ] {
            assert_eq!(of_get_response(class), fetching, "{class:02X}");
        }
    }

    #[test]
    fn the_interindustry_class_has_the_same_channel() {
        for class in 0..=0xFF {
            let found = interindustry(class);
            assert!(matches!(found, 0x00..=0x03 | 0x40..=0x4F), "{class:02X}");
            if let Some(number) = channel(class) {
                assert_eq!(channel(found), Some(number), "{class:02X}");
            }
        }
    }

    #[test]
    fn every_channel_has_a_class_that_states_it() {
        for class in [0x00, 0x10, 0x08, 0x18, 0x45, 0x60, 0x80, 0x84, 0xC2, 0xE2] {
            for number in 0..=19 {
                let moved = on_channel(class, number).unwrap();
                assert_eq!(channel(moved), Some(number), "{class:02X} {moved:02X}");
                let back = on_channel(moved, channel(class).unwrap());
                assert_eq!(back, Some(class), "{class:02X} {moved:02X}");
            }
            assert_eq!(on_channel(class, 20), None);
        }
        assert_eq!(on_channel(0x00, 4), Some(0x40));
        assert_eq!(on_channel(0x00, 19), Some(0x4F));
        assert_eq!(on_channel(0x08, 5), Some(0x61));
        assert_eq!(on_channel(0x84, 4), Some(0xE0));
        // Secure messaging that the further classes cannot express.
        assert_eq!(on_channel(0x0C, 4), None);
        assert_eq!(on_channel(0x04, 4), None);
        assert_eq!(on_channel(0x0C, 3), Some(0x0F));
        for class in [0x20, 0x90, 0xA0, 0xF0, 0xFF] {
            assert_eq!(on_channel(class, 1), None, "{class:02X}");
        }
    }

    #[test]
    fn chaining_is_a_bit_of_the_interindustry_classes() {
        assert_eq!(chained(0x00, false), Some(0x10));
        assert_eq!(chained(0x4F, false), Some(0x5F));
        assert_eq!(chained(0x80, false), None);
        assert_eq!(chained(0x80, true), Some(0x90));
        for class in [0x10, 0x20, 0x30, 0x50, 0x90, 0xEF, 0xFF] {
            assert_eq!(chained(class, true), None, "{class:02X}");
        }
    }
}
