//! How the rest of an answer is announced and fetched.

use super::class;
use super::encoding::SHORT_EXPECTED;
use super::header::Header;
use super::status_family::StatusFamily;
use super::status_word::StatusWord;

const GET_RESPONSE: u8 = 0xC0;

/// How a card announces the rest of an answer, and which command fetches it; real cards differ in
/// this.
///
/// Chosen by [`ExchangeOptions::continuation`](super::ExchangeOptions::continuation). GET RESPONSE
/// is `<class> C0 00 00 Le`, with the announced length as Le. After commands of class FF, which the
/// reader answers, it has class FF with each of these but [`Never`](Continuation::Never).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Continuation {
    /// Depends on the class of the command and the protocol. 61XX is followed by GET RESPONSE:
    ///
    /// | Class of the command | Class of GET RESPONSE | Second choice |
    /// |---|---|---|
    /// | interindustry (`00` to `7F`) | the same, without chaining and secure messaging | the unchanged class |
    /// | `8X`, `CX`, `EX` over T=0, as EMV and ETSI TS 102 221 require | the interindustry class of the same logical channel | the same, without secure messaging |
    /// | `8X`, `CX`, `EX` otherwise, as CTAP requires | the same, without secure messaging | the interindustry class |
    /// | `FF`, answered by the reader | `FF` | none |
    /// | other proprietary classes | the same | `00` |
    ///
    /// If the card refuses the class of the first GET RESPONSE (6DXX, 6EXX, 68XX), it is sent once
    /// more with the second choice. This repeats no command.
    ///
    /// After a command of class `A0`, 9FXX and 9EXX are handled as by [`Gsm`](Continuation::Gsm);
    /// after one of class `90`, 91AF is handled as by [`Desfire`](Continuation::Desfire). Long
    /// bodies are not sent in frames: other cards of that class would take the first frame for the
    /// whole command.
    #[default]
    Auto,
    /// 61XX, and GET RESPONSE with the class of the command, without chaining and secure
    /// messaging.
    SameClass,
    /// 61XX, and GET RESPONSE with the interindustry class of the same logical channel.
    Interindustry,
    /// 61XX, 9FXX or 9EXX, and GET RESPONSE with the class of the command: SIM cards (GSM 11.11,
    /// 3GPP TS 51.011). 9EXX, a failed download of data to the SIM, remains the status word.
    Gsm,
    /// 61XX, and SEND REMAINING, `00 A5 00 00 00`: the OATH application of YubiKeys.
    Oath,
    /// 91AF, and `90 AF 00 00 00`: DESFire and NTAG 424 in ISO wrapping, which has class `90`.
    /// 61XX, and commands of other classes, as with [`SameClass`](Continuation::SameClass).
    ///
    /// A body that does not fit [one command](super::ExchangeOptions::max_command_data) is
    /// continued the same way: after 91AF the next part follows in `90 AF`.
    ///
    /// 91AF without data after the last part asks for more data than the command has, and ends the
    /// exchange: some programs split data themselves.
    ///
    /// The authentication commands (`0A`, `1A`, `AA`, `71`, `77`) are excluded: their 91AF asks for
    /// an answer that only the program can compute.
    Desfire,
    /// 61XX, and this command with the parameters `00 00` and the announced length.
    Command {
        /// Its class. The logical channel is taken from the command, if both classes support
        /// channels.
        class: u8,
        /// Its instruction.
        instruction: u8,
    },
    /// Nothing is fetched: 61XX ends the exchange.
    Never,
}

/// What is fetched, and how, in one exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    iso: bool,
    gsm: bool,
    frames: bool,
    /// Whether a long body may be sent in frames.
    splits: bool,
    class: u8,
    instruction: u8,
    /// Whether to ask for everything, whatever is announced.
    all: bool,
    /// The class of the second attempt.
    other: Option<u8>,
}

impl Rule {
    pub(super) fn of(continuation: Continuation, command: Header, is_t0: bool) -> Rule {
        let same = class::of_get_response(command.class);
        let interindustry = class::interindustry(command.class);
        let rule = Rule {
            iso: true,
            gsm: false,
            frames: false,
            splits: false,
            class: same,
            instruction: GET_RESPONSE,
            all: false,
            other: None,
        };
        let is_wrapped = command.class == DESFIRE;
        // The card's own way is not the reader's.
        let continuation = match (continuation, command.class) {
            (Continuation::Never, _) => Continuation::Never,
            (_, class::PSEUDO) => Continuation::SameClass,
            (chosen, _) => chosen,
        };
        let frames = is_wrapped && !authenticates(command);
        match continuation {
            Continuation::Auto => Rule {
                gsm: command.class == 0xA0,
                frames,
                ..rule.by_class(command.class, interindustry, is_t0)
            },
            Continuation::SameClass => rule,
            Continuation::Interindustry => Rule {
                class: interindustry,
                ..rule
            },
            Continuation::Gsm => Rule { gsm: true, ..rule },
            Continuation::Oath => Rule {
                class: interindustry,
                instruction: 0xA5,
                all: true,
                ..rule
            },
            Continuation::Desfire => Rule {
                frames,
                splits: is_wrapped,
                ..rule
            },
            Continuation::Command { class, instruction } => Rule {
                class: class::channel(command.class)
                    .and_then(|channel| class::on_channel(class, channel))
                    .unwrap_or(class),
                instruction,
                ..rule
            },
            Continuation::Never => Rule { iso: false, ..rule },
        }
    }

    fn by_class(self, class: u8, interindustry: u8, is_t0: bool) -> Rule {
        let same = self.class;
        let (first, second) = match class {
            0x00..=0x7F => (same, class),
            0x80..=0x8F | 0xC0..=0xCF | 0xE0..=0xEF if is_t0 => (interindustry, same),
            _ => (same, interindustry),
        };
        Rule {
            class: first,
            other: Some(second).filter(|other| *other != first),
            ..self
        }
    }

    /// Returns the command that fetches what this answer announces, and its Le.
    pub(super) fn announced(&self, data: &[u8], status: StatusWord) -> Option<(Header, u32)> {
        match status.sw1() {
            // Without data, the card waits for data of the program.
            0x91 if self.frames && !data.is_empty() && status == StatusWord::DESFIRE_MORE => {
                Some((next_frame(), SHORT_EXPECTED))
            }
            0x61 if self.iso => Some((self.get_response(), self.len(status))),
            0x9E | 0x9F if self.gsm => Some((self.get_response(), self.len(status))),
            _ => None,
        }
    }

    fn len(&self, status: StatusWord) -> u32 {
        match status.sw2() {
            _ if self.all => SHORT_EXPECTED,
            0 => SHORT_EXPECTED,
            len => u32::from(len),
        }
    }

    /// Returns GET RESPONSE, or the card's equivalent.
    pub(super) fn get_response(&self) -> Header {
        Header {
            class: self.class,
            instruction: self.instruction,
            p1: 0x00,
            p2: 0x00,
        }
    }

    /// Returns whether anything is fetched.
    pub(super) fn fetches(&self) -> bool {
        self.iso
    }

    /// Returns whether an announcement is also the result of the command.
    pub(super) fn keeps(&self, status: StatusWord) -> bool {
        self.gsm && status.sw1() == 0x9E
    }

    /// Returns whether nothing follows in another DESFire frame.
    pub(super) fn is_last_frame(&self, status: StatusWord) -> bool {
        self.frames && status.is_success_in(StatusFamily::Desfire)
    }

    /// Returns whether a long body is sent in DESFire frames.
    pub(super) fn splits(&self) -> bool {
        self.splits
    }

    /// Returns GET RESPONSE with the second class, if the status word refuses the first.
    pub(super) fn second(&mut self, status: StatusWord) -> Option<Header> {
        if !matches!(status.sw1(), 0x68 | 0x6D | 0x6E) {
            return None;
        }
        self.class = self.other.take()?;
        Some(self.get_response())
    }

    /// Notes that the card accepted the class.
    pub(super) fn settled(&mut self) {
        self.other = None;
    }
}

/// The class of DESFire commands in ISO wrapping.
pub(super) const DESFIRE: u8 = 0x90;

/// Returns the command for the next frame of a command or an answer.
pub(super) fn next_frame() -> Header {
    Header {
        class: DESFIRE,
        instruction: 0xAF,
        p1: 0x00,
        p2: 0x00,
    }
}

/// Returns whether 91AF asks the program for data.
fn authenticates(command: Header) -> bool {
    matches!(command.instruction, 0x0A | 0x1A | 0xAA | 0x71 | 0x77)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(continuation: Continuation, class: u8, is_t0: bool) -> Rule {
        let header = Header {
            class,
            instruction: 0xCA,
            p1: 0,
            p2: 0,
        };
        Rule::of(continuation, header, is_t0)
    }

    #[test]
    fn class_and_protocol_choose_the_class_of_get_response() {
        for (class, is_t0, first, second) in [
            (0x00, true, 0x00, None),
            (0x01, false, 0x01, None),
            (0x0C, true, 0x00, Some(0x0C)),
            (0x45, false, 0x45, None),
            (0x80, true, 0x00, Some(0x80)),
            (0x84, true, 0x00, Some(0x80)),
            (0x82, true, 0x02, Some(0x82)),
            (0x80, false, 0x80, Some(0x00)),
            (0xE1, true, 0x41, Some(0xC1)),
            (0xE1, false, 0xC1, Some(0x41)),
            (0x90, false, 0x90, Some(0x00)),
            (0xA0, true, 0xA0, Some(0x00)),
            (0xFF, true, 0xFF, None),
        ] {
            let mut found = rule(Continuation::Auto, class, is_t0);
            assert_eq!(found.get_response().class, first, "{class:02X}");
            let other = found.second(StatusWord(0x6E00)).map(|it| it.class);
            assert_eq!(other, second, "{class:02X}");
            // Once is enough.
            assert_eq!(found.second(StatusWord(0x6E00)), None);
        }
    }

    #[test]
    fn only_a_refused_class_is_a_reason_to_try_the_other() {
        for raw in 0..=u16::MAX {
            let status = StatusWord(raw);
            let refused = matches!(status.sw1(), 0x68 | 0x6D | 0x6E);
            let second = rule(Continuation::Auto, 0x80, true).second(status);
            assert_eq!(second.is_some(), refused, "{raw:04X}");
        }
        let mut settled = rule(Continuation::Auto, 0x80, true);
        settled.settled();
        assert_eq!(settled.second(StatusWord(0x6E00)), None);
        // A class chosen by the caller has no second choice.
        for chosen in [Continuation::SameClass, Continuation::Interindustry] {
            assert_eq!(rule(chosen, 0x80, true).second(StatusWord(0x6E00)), None);
        }
    }

    #[test]
    fn each_convention_has_its_announcements() {
        let fetched = |continuation, class, status| {
            let found = rule(continuation, class, false).announced(&[1], StatusWord(status));
            found.map(|(header, le)| (header.bytes(), le))
        };
        let auto = Continuation::Auto;
        let get = |class| [class, 0xC0, 0, 0];
        assert_eq!(fetched(auto, 0x00, 0x6110), Some((get(0x00), 16)));
        assert_eq!(fetched(auto, 0x00, 0x6100), Some((get(0x00), 256)));
        assert_eq!(fetched(auto, 0xA0, 0x9F16), Some((get(0xA0), 22)));
        assert_eq!(fetched(auto, 0x80, 0x9F16), None);
        assert_eq!(
            fetched(Continuation::Gsm, 0xB0, 0x9F16),
            Some((get(0xB0), 22))
        );
        let frame = [0x90, 0xAF, 0, 0];
        assert_eq!(fetched(auto, 0x90, 0x91AF), Some((frame, 256)));
        assert_eq!(fetched(auto, 0x80, 0x91AF), None);
        assert_eq!(fetched(auto, 0x90, 0x9100), None);
        let oath = Continuation::Oath;
        assert_eq!(fetched(oath, 0x00, 0x6110), Some(([0, 0xA5, 0, 0], 256)));
        let own = Continuation::Command {
            class: 0xD0,
            instruction: 0x12,
        };
        assert_eq!(fetched(own, 0x00, 0x6110), Some(([0xD0, 0x12, 0, 0], 16)));
        // On the logical channel of the command, if the class supports one.
        assert_eq!(fetched(own, 0x02, 0x6110), Some(([0xD0, 0x12, 0, 0], 16)));
        for (own, class, fetching) in [
            (0x80, 0x00, 0x80),
            (0x80, 0x02, 0x82),
            (0x80, 0x45, 0xC5),
            (0x01, 0x80, 0x00),
            (0x00, 0x0E, 0x02),
            (0x80, 0xA0, 0x80),
        ] {
            let own = Continuation::Command {
                class: own,
                instruction: 0x12,
            };
            let found = fetched(own, class, 0x6110);
            assert_eq!(found, Some(([fetching, 0x12, 0, 0], 16)), "{class:02X}");
        }
        assert_eq!(fetched(Continuation::Never, 0x00, 0x6110), None);
    }

    #[test]
    fn authentication_to_desfire_is_left_to_the_program() {
        for instruction in [0x0A, 0x1A, 0xAA, 0x71, 0x77, 0x60] {
            let header = Header {
                class: 0x90,
                instruction,
                p1: 0,
                p2: 0,
            };
            for continuation in [Continuation::Auto, Continuation::Desfire] {
                let found = Rule::of(continuation, header, false);
                let goes_on = found.announced(&[1], StatusWord(0x91AF)).is_some();
                assert_eq!(goes_on, instruction == 0x60, "{instruction:02X}");
                // The card waits for data instead of having some.
                assert_eq!(found.announced(&[], StatusWord(0x91AF)), None);
            }
        }
    }
}
