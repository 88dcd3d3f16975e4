//! Meanings of status words outside ISO 7816-4.

use std::fmt;

use super::continuation::DESFIRE;
use super::header::Header;
use super::status_word::StatusWord;

/// The specification that defines the meaning of a status word: ISO 7816-4 leaves some words to
/// others, and other specifications redefine some of its words.
///
/// ```
/// use scard::StatusWord;
/// use scard::apdu::StatusFamily;
///
/// let status = StatusWord(0x6310);
/// assert_eq!(
///     status.description_in(StatusFamily::GlobalPlatform),
///     "more data is available: ask for the next occurrence"
/// );
/// assert!(StatusWord::DESFIRE_SUCCESS.is_success_in(StatusFamily::Desfire));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StatusFamily {
    /// ISO 7816-4.
    #[default]
    Iso7816,
    /// GlobalPlatform Card Specification, and the JavaCard platform below it.
    GlobalPlatform,
    /// EMV, Books 1 and 3.
    Emv,
    /// SIM and UICC: GSM 11.11 (3GPP TS 51.011), ETSI TS 102 221.
    Gsm,
    /// DESFire and NTAG 424 in ISO wrapping: 91XX.
    Desfire,
}

impl StatusFamily {
    /// Returns the family according to the class of a command: class 90 is DESFire, class A0 is
    /// SIM. Everything else is [`Iso7816`](StatusFamily::Iso7816), because GlobalPlatform and EMV
    /// share their classes with others.
    pub const fn of_command(command: Header) -> StatusFamily {
        match command.class {
            DESFIRE => StatusFamily::Desfire,
            0xA0 => StatusFamily::Gsm,
            _ => StatusFamily::Iso7816,
        }
    }

    pub(super) fn of(command: Option<Header>) -> StatusFamily {
        command.map_or(StatusFamily::Iso7816, StatusFamily::of_command)
    }

    fn meaning(self, status: StatusWord) -> Option<&'static str> {
        let table = match self {
            StatusFamily::Iso7816 => return None,
            StatusFamily::GlobalPlatform => GLOBAL_PLATFORM,
            StatusFamily::Emv => EMV,
            StatusFamily::Gsm => GSM,
            StatusFamily::Desfire => DESFIRE_WORDS,
        };
        let mut rows = table.iter();
        let row = rows.find(|(first, last, _)| (*first..=*last).contains(&status.raw()))?;
        Some(row.2)
    }
}

/// First and last word, and their meaning.
type Row = (u16, u16, &'static str);

const GLOBAL_PLATFORM: &[Row] = &[
    (0x6200, 0x6200, "the logical channel is closed already"),
    (0x6283, 0x6283, "the card is locked"),
    (
        0x6300,
        0x6300,
        "the authentication of the host cryptogram failed",
    ),
    (
        0x6310,
        0x6310,
        "more data is available: ask for the next occurrence",
    ),
    (
        0x6982,
        0x6982,
        "security status not satisfied: the secure channel level is too low",
    ),
    (0x6999, 0x6999, "the applet refused its selection"),
    (0x6A80, 0x6A80, "incorrect values in the data"),
    (
        0x6A81,
        0x6A81,
        "function not supported, or the card is locked",
    ),
    (0x6A82, 0x6A82, "application not found"),
    (0x6A84, 0x6A84, "not enough memory"),
    (0x6A88, 0x6A88, "referenced data not found"),
    (0x9484, 0x9484, "algorithm not supported"),
    (0x9485, 0x9485, "wrong key check value"),
];

const EMV: &[Row] = &[
    (0x6283, 0x6283, "the application is blocked"),
    (0x6300, 0x6300, "issuer authentication failed"),
    (
        0x63C0,
        0x63CF,
        "wrong PIN; SW2 contains the number of tries left",
    ),
    (0x6983, 0x6983, "the PIN is blocked"),
    (
        0x6984,
        0x6984,
        "the reference data is invalidated, or no PIN tries are left",
    ),
    (0x6985, 0x6985, "conditions of use not satisfied"),
    (0x6A81, 0x6A81, "the card is blocked, or has no SELECT"),
    (
        0x6A82,
        0x6A82,
        "no application with this name, or no further one",
    ),
    (0x6A83, 0x6A83, "record not found: there are no more"),
    (0x6A88, 0x6A88, "data object not found"),
];

const GSM: &[Row] = &[
    (0x62F1, 0x62F1, "more data available"),
    (
        0x62F2,
        0x62F2,
        "more data available, and a proactive command is pending",
    ),
    (0x62F3, 0x62F3, "response data available"),
    (0x63F1, 0x63F1, "more data expected"),
    (
        0x63F2,
        0x63F2,
        "more data expected, and a proactive command is pending",
    ),
    (0x6700, 0x67FF, "wrong length in P3"),
    (0x9100, 0x91FF, "success; a proactive command is pending"),
    (0x9200, 0x920F, "success after internal retries"),
    (0x9240, 0x9240, "memory problem"),
    (0x9300, 0x9300, "the toolkit is busy"),
    (0x9400, 0x9400, "no elementary file is selected"),
    (0x9402, 0x9402, "out of range"),
    (0x9404, 0x9404, "file or pattern not found"),
    (0x9408, 0x9408, "the file does not fit the command"),
    (0x9802, 0x9802, "no PIN (CHV) is initialized"),
    (
        0x9804,
        0x9804,
        "the PIN is wrong or was not presented, or authentication failed",
    ),
    (0x9808, 0x9808, "in contradiction with the state of the PIN"),
    (0x9810, 0x9810, "in contradiction with an invalidation"),
    (0x9840, 0x9840, "the PIN is blocked"),
    (0x9850, 0x9850, "the value cannot be increased further"),
    (0x9862, 0x9862, "authentication failed: wrong MAC"),
    (
        0x9E00,
        0x9EFF,
        "the download of data to the SIM failed; an answer is available",
    ),
    (0x9F00, 0x9FFF, "success; an answer is available"),
];

const DESFIRE_WORDS: &[Row] = &[
    (0x9100, 0x9100, "success"),
    (0x910C, 0x910C, "nothing was changed"),
    (0x910E, 0x910E, "not enough memory"),
    (0x911C, 0x911C, "command not supported"),
    (0x911E, 0x911E, "wrong checksum, MAC or padding"),
    (0x9140, 0x9140, "no such key"),
    (0x917E, 0x917E, "wrong length"),
    (0x9190, 0x9190, "success, with MIFARE Plus"),
    (0x919D, 0x919D, "not permitted by the configuration"),
    (0x919E, 0x919E, "wrong parameter"),
    (0x91A0, 0x91A0, "application not found"),
    (0x91A1, 0x91A1, "the application is damaged"),
    (
        0x91AD,
        0x91AD,
        "authentication delay: too many attempts failed",
    ),
    (0x91AE, 0x91AE, "the required authentication is missing"),
    (0x91AF, 0x91AF, "another frame follows"),
    (0x91BE, 0x91BE, "beyond the bounds of the file"),
    (0x91C1, 0x91C1, "the card is damaged"),
    (0x91CA, 0x91CA, "the previous command was not completed"),
    (0x91CD, 0x91CD, "the card is disabled"),
    (
        0x91CE,
        0x91CE,
        "the maximum number of applications is reached",
    ),
    (0x91DE, 0x91DE, "the file or application exists already"),
    (0x91EE, 0x91EE, "memory failure"),
    (0x91F0, 0x91F0, "file not found"),
    (0x91F1, 0x91F1, "the file is damaged"),
];

impl StatusWord {
    /// `9100`: with DESFire, success.
    pub const DESFIRE_SUCCESS: StatusWord = StatusWord(0x9100);

    /// `91AF`: with DESFire, another frame of the command or the answer follows.
    pub const DESFIRE_MORE: StatusWord = StatusWord(0x91AF);

    /// Returns the meaning in a family, or else in ISO 7816-4: a clause without capital and full
    /// stop.
    pub fn description_in(self, family: StatusFamily) -> &'static str {
        family.meaning(self).unwrap_or_else(|| self.description())
    }

    /// Returns whether the command was processed and no data is left to be fetched: 9000; with
    /// DESFire also 9100; with SIMs also 91XX (the SIM has a command for the phone) and 9200 to
    /// 920F (after retries). Not 61XX and 9FXX, which announce data.
    pub const fn is_success_in(self, family: StatusFamily) -> bool {
        match family {
            StatusFamily::Desfire => matches!(self.raw(), 0x9000 | 0x9100 | 0x9190),
            StatusFamily::Gsm => matches!(self.raw(), 0x9000 | 0x9100..=0x91FF | 0x9200..=0x920F),
            _ => self.raw() == 0x9000,
        }
    }

    /// Prints the meaning in a family, and the number.
    pub(super) fn display_in(self, family: StatusFamily) -> impl fmt::Display {
        struct InFamily(StatusWord, StatusFamily);

        impl fmt::Display for InFamily {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.1.meaning(self.0) {
                    Some(meaning) => write!(f, "{meaning} ({:04X})", self.0),
                    None => self.0.fmt(f),
                }
            }
        }

        InFamily(self, family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [StatusFamily; 5] = [
        StatusFamily::Iso7816,
        StatusFamily::GlobalPlatform,
        StatusFamily::Emv,
        StatusFamily::Gsm,
        StatusFamily::Desfire,
    ];

    #[test]
    fn tables_are_in_order_and_their_texts_are_clauses() {
        for table in [GLOBAL_PLATFORM, EMV, GSM, DESFIRE_WORDS] {
            for pair in table.windows(2) {
                assert!(pair[0].1 < pair[1].0, "{:04X}", pair[1].0);
            }
            for (first, last, text) in table {
                assert!(first <= last && !text.ends_with('.'), "{text}");
            }
        }
    }

    #[test]
    fn every_word_has_a_meaning_in_every_family() {
        for raw in 0..=u16::MAX {
            let status = StatusWord(raw);
            for family in FAMILIES {
                let meaning = status.description_in(family);
                assert!(!meaning.is_empty());
                let shown = status.display_in(family).to_string();
                assert!(shown.ends_with(&format!(" ({raw:04X})")), "{shown}");
                let also = match family {
                    StatusFamily::Desfire => matches!(raw, 0x9100 | 0x9190),
                    StatusFamily::Gsm => raw >> 8 == 0x91 || raw >> 4 == 0x920,
                    _ => false,
                };
                assert_eq!(status.is_success_in(family), raw == 0x9000 || also);
                // The tables call the same words a success, except those that announce an answer.
                let says = meaning.starts_with("success");
                let announces = matches!(status.sw1(), 0x61 | 0x9F);
                assert!(!status.is_success_in(family) || says, "{raw:04X}");
                assert!(
                    !says || status.is_success_in(family) || announces,
                    "{raw:04X}"
                );
            }
        }
    }

    #[test]
    fn the_class_determines_the_family_where_possible() {
        let of = |class| {
            StatusFamily::of_command(Header {
                class,
                instruction: 0xCA,
                p1: 0,
                p2: 0,
            })
        };
        assert_eq!(of(0x90), StatusFamily::Desfire);
        assert_eq!(of(0xA0), StatusFamily::Gsm);
        for class in [0x00, 0x10, 0x80, 0x84, 0x91, 0xFF] {
            assert_eq!(of(class), StatusFamily::Iso7816);
        }
    }
}
