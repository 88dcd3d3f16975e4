//! Demonstration cards.

mod iso;
mod openpgp;
mod piv;

pub use iso::IsoCard;
pub use openpgp::OpenPgpCard;
pub use piv::PivCard;

use crate::card::Reply;

/// Answers a command of class 00 from its instruction, its P1 and P2, its data and the maximum
/// length of the expected answer, if any. Refuses other classes and inconsistent lengths.
fn answer(
    command: &[u8],
    answer: impl FnOnce(u8, [u8; 2], &[u8], Option<usize>) -> Reply,
) -> Reply {
    let [class, instruction, p1, p2, body @ ..] = command else {
        return status(0x6700);
    };
    match split(body) {
        None => status(0x6700),
        Some(_) if *class != 0x00 => status(0x6E00),
        Some((data, le)) => answer(*instruction, [*p1, *p2], data, le),
    }
}

/// The data, and the expected length. `None` if the lengths are inconsistent.
fn split(body: &[u8]) -> Option<(&[u8], Option<usize>)> {
    let short = |le: u8| if le == 0 { 256 } else { usize::from(le) };
    let long = |le: [u8; 2]| match u16::from_be_bytes(le) {
        0 => 65_536,
        le => le.into(),
    };
    // Nothing | Le | Lc data | Lc data Le, and the same with lengths of two bytes.
    Some(match body {
        [] => (&[][..], None),
        [le] => (&[][..], Some(short(*le))),
        [0, high, low] => (&[][..], Some(long([*high, *low]))),
        [0, high, low, rest @ ..] => {
            let lc = usize::from(u16::from_be_bytes([*high, *low]));
            match rest.split_at_checked(lc)? {
                (data, []) => (data, None),
                (data, [high, low]) => (data, Some(long([*high, *low]))),
                _ => return None,
            }
        }
        [lc, rest @ ..] => match rest.split_at_checked(usize::from(*lc))? {
            (data, []) => (data, None),
            (data, [le]) => (data, Some(short(*le))),
            _ => return None,
        },
    })
}

/// GET CHALLENGE, with numbers that a test can predict.
fn challenge(le: Option<usize>) -> Reply {
    match le {
        Some(le) => ok((1..=le).map(|n| n as u8).collect()),
        None => status(0x6700),
    }
}

/// A PIN with three tries.
#[derive(Debug)]
struct Pin {
    value: Vec<u8>,
    tries: u8,
    verified: bool,
}

const TRIES: u8 = 3;

impl Pin {
    fn new(value: &[u8]) -> Self {
        Self {
            value: value.to_vec(),
            tries: TRIES,
            verified: false,
        }
    }

    /// VERIFY; without data it queries the state.
    fn verify(&mut self, pin: &[u8]) -> Reply {
        if pin.is_empty() && self.verified {
            return status(0x9000);
        }
        if self.tries == 0 {
            return status(0x6983);
        }
        if pin.is_empty() {
            return status(0x63C0 | u16::from(self.tries));
        }
        self.verified = pin == self.value;
        if self.verified {
            self.tries = TRIES;
            return status(0x9000);
        }
        self.tries -= 1;
        status(0x63C0 | u16::from(self.tries))
    }
}

/// The rest of a long answer, for GET RESPONSE.
#[derive(Debug, Default)]
struct Rest(Vec<u8>);

impl Rest {
    /// As much as expected, with 61xx if there is more.
    fn answer(&mut self, mut data: Vec<u8>, le: Option<usize>) -> Reply {
        self.0 = data.split_off(le.unwrap_or(256).min(data.len()));
        match self.0.len() {
            0 => ok(data),
            left => {
                data.extend([0x61, u8::try_from(left).unwrap_or(0)]);
                Reply::Answer(data)
            }
        }
    }

    fn more(&mut self, le: Option<usize>) -> Reply {
        match std::mem::take(&mut self.0) {
            rest if rest.is_empty() => status(0x6985),
            rest => self.answer(rest, le),
        }
    }
}

/// A BER-TLV data object.
fn tlv(tag: u32, value: &[u8]) -> Vec<u8> {
    let minimal = |number: u32| {
        let bytes = number.to_be_bytes();
        let zeros = bytes.iter().take(3).take_while(|b| **b == 0).count();
        bytes[zeros..].to_vec()
    };
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let mut object = minimal(tag);
    if length >= 0x80 {
        let bytes = minimal(length);
        object.push(0x80 | bytes.len() as u8);
        object.extend(bytes);
    } else {
        object.push(length as u8);
    }
    object.extend_from_slice(value);
    object
}

fn status(word: u16) -> Reply {
    Reply::from(word.to_be_bytes())
}

fn ok(mut data: Vec<u8>) -> Reply {
    data.extend_from_slice(&[0x90, 0x00]);
    Reply::Answer(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_lengths_of_both_kinds() {
        for (body, expected) in [
            (&[][..], (&[][..], None)),
            (&[0], (&[], Some(256))),
            (&[1, 7], (&[7], None)),
            (&[1, 7, 9], (&[7], Some(9))),
            (&[0, 0, 0], (&[], Some(65_536))),
            (&[0, 0, 1, 7], (&[7], None)),
            (&[0, 0, 1, 7, 1, 0], (&[7], Some(256))),
        ] {
            assert_eq!(split(body), Some(expected), "{body:?}");
        }
        for wrong in [&[2, 7][..], &[1, 7, 9, 9]] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
        let refused = answer(&[0, 0xCA, 0], |_, _, _, _| panic!("it has no P2"));
        assert_eq!(refused, status(0x6700));
    }

    #[test]
    fn data_objects_have_lengths_of_one_to_three_bytes() {
        assert_eq!(tlv(0x5F50, &[1]), [0x5F, 0x50, 1, 1]);
        assert_eq!(tlv(0x6E, &[0; 0x80])[..3], [0x6E, 0x81, 0x80]);
        assert_eq!(
            tlv(0x5FC105, &[0; 256])[..6],
            [0x5F, 0xC1, 0x05, 0x82, 1, 0]
        );
    }

    #[test]
    fn long_answers_come_in_parts() {
        let mut rest = Rest::default();
        let mut first = vec![7; 256];
        first.extend([0x61, 44]);
        assert_eq!(rest.answer(vec![7; 300], None), Reply::Answer(first));
        let mut second = vec![7; 44];
        second.extend([0x90, 0x00]);
        assert_eq!(rest.more(Some(256)), Reply::Answer(second));
        assert_eq!(rest.more(Some(256)), status(0x6985));
    }
}
