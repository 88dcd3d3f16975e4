//! Reader names that pcsc-lite's daemon has not finished writing.

use std::collections::BTreeSet;
use std::time::Duration;

/// The interval and the maximum number of retries for an unfinished name. pcsc-lite's service
/// writes the name of a new reader while sending it: first the name, then its numbers.
pub(super) const UNFINISHED: Duration = Duration::from_millis(1);
pub(super) const MAX_UNFINISHED: u32 = 10;

/// Whether all names end with pcsc-lite's numbers for reader and slot, as in `00 01`, and none is there
/// twice: that of a further slot begins as a copy of the first one's.
pub(super) fn are_finished(list: &[u8]) -> bool {
    let has_numbers = |name: &[u8]| {
        matches!(
            name,
            [.., b' ', a, b, b' ', c, d]
                if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit())
        )
    };
    let mut names = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty());
    let mut seen = BTreeSet::new();
    names.all(|name| has_numbers(name) && seen.insert(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_finished_once_it_ends_with_its_numbers() {
        for list in [
            &b""[..],
            b"\0\0",
            b"A 00 00\0\0",
            b"A 00 00\0B (1) 0F 01\0\0",
        ] {
            assert!(are_finished(list), "{list:?}");
        }
        for list in [
            &b"A\0\0"[..],
            b"A 00 00\0B \0\0",
            b"A 00\0\0",
            b"A 00 \0\0",
            b"A 00 0\0\0",
            b"A 00 0G\0\0",
            b"A 00 00\0B 01 00\0A 00 00\0\0",
        ] {
            assert!(!are_finished(list), "{list:?}");
        }
    }
}
