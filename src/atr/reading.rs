//! The interpretation of a whole ATR.

use std::fmt;

use super::capabilities::CardCapabilities;
use super::contactless::{ContactlessAtr, StorageCard};
use super::global::{BitRate, ClockStop, ContactC6, ExtraGuardTime, Mode, OperatingClasses};
use super::global::{Programming, SpecificMode};
use super::historical::HistoricalBytes;
use super::interface::{Chain, InterfaceByte, InterfaceMeaning};
use super::problem::AtrProblem;
use super::protocol::{T0Parameters, T1Parameters};
use crate::values::{Atr, Protocols};

/// An interpreted ATR, from [`Atr::parse`].
///
/// For bytes that are absent, the methods return the defaults of ISO 7816-3;
/// [`interface_bytes`](AtrReading::interface_bytes) contains only those present.
/// [`Display`](fmt::Display) prints a line for each byte, and the problems.
///
/// # Examples
///
/// ```
/// use scard::Atr;
///
/// // A MIFARE Classic 1K card, as presented by readers.
/// let atr = Atr::new(
///     b"\x3B\x8F\x80\x01\x80\x4F\x0C\xA0\0\0\x03\x06\x03\0\x01\0\0\0\0\x6A",
/// )?;
/// let card = atr.parse().storage_card().expect("a storage card");
/// assert_eq!(card.to_string(), "MIFARE Classic 1K, ISO 14443 A, part 3");
///
/// // Truncated: the last byte is missing.
/// let atr = Atr::new(b"\x3B\x80\x01")?;
/// let problem = atr.parse().problems()[0];
/// assert_eq!(problem.to_string(), "the check byte TCK is missing");
/// # Ok::<(), scard::InvalidAtr>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AtrReading {
    atr: Atr,
    interface: Vec<InterfaceByte>,
    offered: Vec<u8>,
    /// The number of historical bytes that T0 announces.
    announced: usize,
    tck: Tck,
    problems: Vec<AtrProblem>,
}

impl AtrReading {
    pub(super) fn new(atr: Atr) -> AtrReading {
        let mut reading = AtrReading {
            atr,
            interface: Vec::new(),
            offered: Vec::new(),
            announced: 0,
            tck: Tck::NotNeeded,
            problems: Vec::new(),
        };
        reading.read();
        reading
    }

    fn read(&mut self) {
        let atr = self.atr;
        let problems = &mut self.problems;
        let Some((&ts, after_ts)) = atr.as_bytes().split_first() else {
            problems.push(AtrProblem::Empty);
            return;
        };
        if atr.len() > Atr::MAX_LEN {
            problems.push(AtrProblem::TooLong(count(atr.as_bytes())));
        }
        if let Convention::Unknown(ts) = Convention::of(ts) {
            problems.push(AtrProblem::UnknownConvention(ts));
        }
        let Some((&t0, rest)) = after_ts.split_first() else {
            problems.push(AtrProblem::FormatByteMissing);
            return;
        };
        let chain = Chain::read(t0, rest, problems);
        self.interface = chain.bytes;
        self.offered = chain.offered;
        self.announced = usize::from(t0 & 0x0F);
        if !chain.is_complete {
            self.tck = if chain.needs_tck {
                Tck::Missing
            } else {
                Tck::NotNeeded
            };
            return;
        }

        let rest = rest.get(self.interface.len()..).unwrap_or_default();
        let end = match rest.split_at_checked(self.announced) {
            Some((_, end)) => end,
            None => {
                problems.push(AtrProblem::HistoricalBytesMissing {
                    announced: t0 & 0x0F,
                    present: count(rest),
                });
                self.tck = if chain.needs_tck {
                    Tck::Missing
                } else {
                    Tck::NotNeeded
                };
                return;
            }
        };
        // The exclusive or of everything before the end of the ATR, except TS.
        let covered = after_ts.len().saturating_sub(end.len());
        let expected = after_ts
            .iter()
            .take(covered)
            .fold(0, |sum, byte| sum ^ byte);
        self.tck = match (chain.needs_tck, end) {
            (false, _) => Tck::NotNeeded,
            (true, []) => Tck::Missing,
            (true, [tck, ..]) if *tck == expected => Tck::Correct,
            (true, [_, ..]) => Tck::Wrong { expected },
        };
        let left = match (self.tck, end) {
            (Tck::NotNeeded, [byte]) if *byte == expected => {
                problems.push(AtrProblem::TckNotAllowed);
                0
            }
            (Tck::NotNeeded, _) => count(end),
            (Tck::Missing, _) => {
                problems.push(AtrProblem::TckMissing);
                0
            }
            (Tck::Wrong { expected }, [sent, left @ ..]) => {
                problems.push(AtrProblem::TckWrong {
                    sent: *sent,
                    expected,
                });
                count(left)
            }
            _ => count(end).saturating_sub(1),
        };
        if left > 0 {
            problems.push(AtrProblem::ExtraBytes(left));
        }
        let mut wrong = Vec::new();
        self.historical().check(&mut wrong);
        self.problems.append(&mut wrong);
    }

    /// Returns the bytes.
    pub fn atr(&self) -> Atr {
        self.atr
    }

    /// Returns the problems of the ATR; empty if it is valid.
    ///
    /// Cards with invalid ATRs exist and work: do not reject a card because of this.
    pub fn problems(&self) -> &[AtrProblem] {
        &self.problems
    }

    /// Returns how bits are sent (TS, the first byte); `None` if there are no bytes.
    pub fn convention(&self) -> Option<Convention> {
        self.atr.as_bytes().first().copied().map(Convention::of)
    }

    /// Returns the interface bytes, in order.
    pub fn interface_bytes(&self) -> &[InterfaceByte] {
        &self.interface
    }

    /// Returns the numbers T of the offered protocols, in order; the card prefers the first.
    ///
    /// Empty only if the ATR ends too soon to tell.
    pub fn offered(&self) -> &[u8] {
        &self.offered
    }

    /// Returns the number T of the protocol that the card offers first.
    pub fn first_offered(&self) -> Option<u8> {
        self.offered.first().copied()
    }

    /// Returns the offered protocols that PC/SC knows: T=0, T=1, both or none.
    ///
    /// ATRs that readers compose for contactless cards always offer both.
    pub fn protocols(&self) -> Protocols {
        self.offered
            .iter()
            .fold(Protocols::empty(), |protocols, t| match t {
                0 => protocols | Protocols::T0,
                1 => protocols | Protocols::T1,
                _ => protocols,
            })
    }

    /// Returns whether the protocol and the bit rate can be negotiated.
    pub fn mode(&self) -> Mode {
        self.find(|meaning| match meaning {
            InterfaceMeaning::SpecificMode(mode) => Some(mode),
            _ => None,
        })
        .map_or(Mode::Negotiable, |mode: SpecificMode| Mode::Specific(mode))
    }

    /// Returns Fi and Di (TA1).
    #[doc(alias = "TA1")]
    pub fn bit_rate(&self) -> BitRate {
        self.find(|meaning| match meaning {
            InterfaceMeaning::BitRate(rate) => Some(rate),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Returns the programming voltage and current (TB1), if this deprecated byte is present.
    #[doc(alias = "TB1")]
    pub fn programming(&self) -> Option<Programming> {
        self.find(|meaning| match meaning {
            InterfaceMeaning::Programming(programming) => Some(programming),
            _ => None,
        })
    }

    /// Returns the extra guard time N (TC1).
    #[doc(alias = "TC1")]
    pub fn extra_guard_time(&self) -> ExtraGuardTime {
        self.find(|meaning| match meaning {
            InterfaceMeaning::ExtraGuardTime(time) => Some(time),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Returns whether the clock may be stopped (XI).
    pub fn clock_stop(&self) -> ClockStop {
        self.clock_and_classes().0
    }

    /// Returns the supply voltages (UI).
    pub fn operating_classes(&self) -> OperatingClasses {
        self.clock_and_classes().1
    }

    fn clock_and_classes(&self) -> (ClockStop, OperatingClasses) {
        self.find(|meaning| match meaning {
            InterfaceMeaning::ClockStopAndClasses(stop, classes) => Some((stop, classes)),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Returns the use of the contact C6 (SPU).
    #[doc(alias = "SPU")]
    pub fn contact_c6(&self) -> ContactC6 {
        self.find(|meaning| match meaning {
            InterfaceMeaning::ContactC6(usage) => Some(usage),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Returns the parameters of T=0, if the card offers it.
    pub fn t0(&self) -> Option<T0Parameters> {
        let offers = self.offered.contains(&0);
        offers.then(|| T0Parameters::of(&self.interface))
    }

    /// Returns the parameters of T=1, if the card offers it.
    pub fn t1(&self) -> Option<T1Parameters> {
        let offers = self.offered.contains(&1);
        offers.then(|| T1Parameters::of(&self.interface))
    }

    fn find<T>(&self, what: impl Fn(InterfaceMeaning) -> Option<T>) -> Option<T> {
        self.interface.iter().find_map(|byte| what(byte.meaning()))
    }

    /// Returns the historical bytes, as far as they are present.
    pub fn historical(&self) -> HistoricalBytes<'_> {
        let from_there = self.atr.as_bytes().get(2 + self.interface.len()..);
        let rest = from_there.unwrap_or_default();
        match rest.get(..self.announced) {
            Some(bytes) => HistoricalBytes::new(bytes, true),
            None => HistoricalBytes::new(rest, false),
        }
    }

    /// Returns the card capabilities, if present.
    pub fn capabilities(&self) -> Option<CardCapabilities> {
        self.historical().capabilities()
    }

    /// Returns the state of the check byte.
    pub fn tck(&self) -> Tck {
        self.tck
    }

    /// Interprets an ATR that a reader composed for a contactless card; `None` for others.
    pub fn contactless(&self) -> Option<ContactlessAtr> {
        ContactlessAtr::recognize(self.atr.as_bytes(), self.historical())
    }

    /// Returns the kind of a storage card, such as MIFARE Classic.
    pub fn storage_card(&self) -> Option<StorageCard> {
        match self.contactless() {
            Some(ContactlessAtr::Storage(card)) => Some(card),
            _ => None,
        }
    }
}

fn count(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}

/// The convention by which bits are sent (TS). Bytes from PC/SC are already decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Convention {
    /// 3B: high means one, least significant bit first.
    Direct,
    /// 3F: low means one, most significant bit first.
    Inverse,
    /// Any other byte, which is not a valid TS.
    Unknown(u8),
}

impl Convention {
    const fn of(ts: u8) -> Convention {
        match ts {
            0x3B => Convention::Direct,
            0x3F => Convention::Inverse,
            _ => Convention::Unknown(ts),
        }
    }
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Convention::Direct => "direct convention",
            Convention::Inverse => "inverse convention",
            Convention::Unknown(_) => "unknown convention",
        })
    }
}

/// The check byte TCK at the end: the exclusive or of all bytes except TS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tck {
    /// Not needed, because T=0 is the only number T.
    NotNeeded,
    /// Needed, present and correct.
    Correct,
    /// Needed, present and wrong.
    Wrong {
        /// The correct value.
        expected: u8,
    },
    /// Needed but missing.
    Missing,
}
