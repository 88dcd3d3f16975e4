//! Finds codes in log lines as programs in many languages write them.

use std::ops::Range;

use super::lookup::{Meaning, meanings, rows};
use super::text::{Mention, parse_number};

/// A code or status word that [`scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Found {
    /// A code: its number, its name, or both where they belong together.
    #[non_exhaustive]
    Code {
        /// The name in the C headers.
        name: Option<&'static str>,
        /// The number, known or not.
        number: Option<u32>,
    },
    /// The status word of a card's response; see [`StatusWord`](crate::apdu::StatusWord).
    StatusWord(u16),
}

impl Found {
    /// Returns every meaning of the code, in the order of [`Family`](super::Family).
    ///
    /// Empty for unknown codes and status words.
    pub fn meanings(self) -> impl Iterator<Item = Meaning> {
        let (name, number) = match self {
            Found::Code { name, number } => (name, number),
            Found::StatusWord(_) => (None, None),
        };
        meanings(Mention { name, number })
    }
}

/// Finds the codes and status words in a log line, in order, each once.
///
/// It recognizes names from the C headers, hexadecimal numbers in upper or lower case with or
/// without `0x`, and decimal numbers, including negative ones; both may be sign-extended to 64
/// bits. A number and its name, in either order, are one code. Times, sizes, addresses and
/// identifiers are ignored: a number counts if its upper half is that of an error, or if it follows
/// a word such as `error`, `rv` or `returned`. A status word is recognized by its position (after
/// `SW`, in brackets, or at the end of a hexadecimal response) or by its form, such as `6A82`.
///
/// Text that is only a number or a name is read as by [`parse`](super::parse).
///
/// ```
/// use scard::apdu::StatusWord;
/// use scard::codes::{self, Found};
///
/// let line = "10:31:07 [4711] SCardTransmit failed: FFFFFFFF80100068, SW1=69 SW2=82";
/// let found = codes::scan(line);
/// assert_eq!(found[0].meanings().next().unwrap().name(), "SCARD_W_RESET_CARD");
/// assert_eq!(found[1], Found::StatusWord(StatusWord::SECURITY_STATUS_NOT_SATISFIED.0));
/// assert_eq!(found.len(), 2);
/// ```
pub fn scan(text: &str) -> Vec<Found> {
    let mut found = Findings::default();
    let text = text.trim();
    let words = words(text);
    if !whole(text, &words, &mut found) {
        let answer = answer(&words, &mut found);
        let mut index = 0;
        while index < words.len() {
            let taken = match answer.contains(&index) {
                true => answer.end - index,
                false => status_word(&words, index, &mut found),
            };
            if taken == 0 {
                code(text, &words, index, &mut found);
            }
            index += taken.max(1);
        }
    }
    found.0
}

/// The findings so far, with numbers and names merged.
#[derive(Default)]
struct Findings(Vec<Found>);

impl Findings {
    fn add(&mut self, new: Found) {
        for old in &mut self.0 {
            if let Some(both) = joined(*old, new) {
                *old = both;
                return;
            }
        }
        self.0.push(new);
    }

    fn add_code(&mut self, name: Option<&'static str>, number: Option<u32>) {
        self.add(Found::Code { name, number });
    }

    /// The name found last, if it has no number yet.
    fn name_without_number(&self) -> Option<&'static str> {
        match self.0.last() {
            Some(Found::Code { name, number: None }) => *name,
            _ => None,
        }
    }
}

/// Merges two findings that are equal, or are the name and the number of one code.
fn joined(old: Found, new: Found) -> Option<Found> {
    let (name, number, new_name, new_number) = match (old, new) {
        (
            Found::Code { name, number },
            Found::Code {
                name: new_name,
                number: new_number,
            },
        ) => (name, number, new_name, new_number),
        _ => return (old == new).then_some(old),
    };
    let both = Found::Code {
        name: name.or(new_name),
        number: number.or(new_number),
    };
    let agree = (name.is_none() || new_name.is_none() || name == new_name)
        && (number.is_none() || new_number.is_none() || number == new_number);
    let belong = both == old || both.meanings().next().is_some();
    (agree && belong).then_some(both)
}

/// Letters, digits and underscores, with the text around them.
struct Word<'a> {
    text: &'a str,
    /// The text between the previous word, or the beginning, and this one.
    before: &'a str,
    /// The text between this word and the next one, or the end.
    after: &'a str,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let inside = |character: char| character.is_alphanumeric() || character == '_';
    let mut words = Vec::new();
    let (mut before, mut rest) = split(text, |it| !inside(it));
    while !rest.is_empty() {
        let (word, more) = split(rest, inside);
        let (after, more) = split(more, |it| !inside(it));
        words.push(Word {
            text: word,
            before,
            after,
        });
        (before, rest) = (after, more);
    }
    words
}

/// Splits off the leading characters that match.
fn split(text: &str, is_so: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|it| !is_so(it)).unwrap_or(text.len()))
}

impl Word<'_> {
    /// Whether the word is the name or ends with it, as in `error_code`, `LastError` and `HResult`.
    fn ends_with(&self, name: &str) -> bool {
        let Some(from) = self.text.len().checked_sub(name.len()) else {
            return false;
        };
        let (Some(start), Some(end)) = (self.text.get(..from), self.text.get(from..)) else {
            return false;
        };
        let is_whole = start.is_empty() || start.ends_with('_') || name.len() > 3;
        is_whole && end.eq_ignore_ascii_case(name)
    }

    fn is(&self, words: &[&str]) -> bool {
        words.iter().any(|it| it.eq_ignore_ascii_case(self.text))
    }

    /// The hexadecimal digits, without `0x`.
    fn digits(&self) -> Option<&str> {
        let (_, digits) = prefixed(self.text);
        let is_hex = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_hexdigit());
        is_hex.then_some(digits)
    }

    /// The word as a number of exactly this many hexadecimal digits.
    fn hex(&self, digits: usize) -> Option<u16> {
        let own = self.digits().filter(|it| it.len() == digits)?;
        u16::from_str_radix(own, 16).ok()
    }

    /// Whether the word is part of an identifier, a version or an address.
    fn is_part(&self) -> bool {
        // A colon or full stop after the word is punctuation.
        matches!(self.before, "-" | ":" | "." | "/" | "\\" | "@" | "+")
            || matches!(self.after, "-" | "/" | "\\" | "@" | "+")
    }

    /// Whether the word is in brackets as error numbers are, and not as process identifiers are.
    fn is_in_brackets(&self, has_letter: bool) -> bool {
        let (before, after) = (self.before, self.after);
        let square = before.ends_with('[') && after.starts_with(']');
        let round = before.ends_with('(') && after.starts_with(')');
        round && before != "(" || square && (has_letter || before != "[" && after == "]")
    }
}

/// Splits off a `0x` prefix, and tells whether there was one.
fn prefixed(text: &str) -> (bool, &str) {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    (digits.is_some(), digits.unwrap_or(text))
}

/// The SW1 values of ISO 7816-4 and of specifications built on it.
fn is_status(word: u16) -> bool {
    matches!(word >> 8, 0x61..=0x6F | 0x90..=0x9F)
}

/// Reads a text that is only a code.
fn whole(text: &str, words: &[Word<'_>], found: &mut Findings) -> bool {
    let status = match words {
        [word] if word.text == text => word.hex(4),
        [one, two] if one.after.len() == 1 && two.after.is_empty() => pair(one, two),
        _ => None,
    };
    let status = status.filter(|it| is_status(*it));
    if let Some(status) = status {
        found.add(Found::StatusWord(status));
    }
    if let Some(number) = parse_number(text) {
        let is_known = super::lookup(number).next().is_some();
        if is_known || status.is_none() {
            found.add_code(None, Some(number));
        }
        return true;
    }
    for meaning in super::lookup_name(text) {
        found.add_code(Some(meaning.name()), None);
    }
    !found.0.is_empty()
}

fn pair(one: &Word<'_>, two: &Word<'_>) -> Option<u16> {
    Some(one.hex(2)? << 8 | two.hex(2)?)
}

/// Words that announce a hexadecimal response.
const ANSWERS: &[&str] = &[
    "answer", "incoming", "r", "rapdu", "received", "recv", "resp", "response", "rsp", "rx",
];

/// Words that may stand between those and the response, besides its length.
const OF_ANSWERS: &[&str] = &["apdu", "byte", "bytes", "data", "len", "length"];

/// The words of a hexadecimal response. Its last two bytes are the status word.
fn answer(words: &[Word<'_>], found: &mut Findings) -> Range<usize> {
    for (index, word) in words.iter().enumerate() {
        let is_arrow = word.before.contains('<')
            && (index == 0 || word.before.starts_with([' ', '\t', ':', ']']));
        let announced = words.iter().take(index).rev().find(|it| {
            let is_number = it.text.bytes().all(|byte| byte.is_ascii_digit());
            !it.is(OF_ANSWERS) && !is_number
        });
        let is_announced = announced.is_some_and(|it| it.is(ANSWERS));
        if !is_arrow && !is_announced {
            continue;
        }
        let (mut dump, mut end) = (String::new(), index);
        while let Some(word) = words.get(end) {
            let goes_on = word.before.len() <= 2 && !word.before.contains(['(', '[']);
            match word.digits() {
                Some(digits) if digits.len() % 2 == 0 && (end == index || goes_on) => {
                    dump.push_str(digits);
                }
                _ => break,
            }
            end += 1;
        }
        // Not a byte count.
        let is_dump = is_arrow || end > index + 1 || word.before.contains([':', '=']);
        let last = dump.len().checked_sub(4).and_then(|from| dump.get(from..));
        let status = last.and_then(|it| u16::from_str_radix(it, 16).ok());
        if let Some(status) = status.filter(|it| is_dump && is_status(*it)) {
            found.add(Found::StatusWord(status));
            return index..end;
        }
    }
    0..0
}

/// The number of words from here on that are a status word and its announcement.
fn status_word(words: &[Word<'_>], index: usize, found: &mut Findings) -> usize {
    let word = |more: usize| words.get(index + more);
    let is = |more, names: &[&str]| word(more).is_some_and(|it| it.is(names));
    let two = |one: usize, two: usize| pair_of_bytes(word(one)?, word(two)?);
    let candidates = if is(0, &["sw1"]) && is(1, &["sw2"]) {
        [(word(2).and_then(|it| it.hex(4)), 3), (two(2, 3), 4)]
    } else if is(0, &["sw1"]) && is(2, &["sw2"]) {
        [(two(1, 3), 4), (None, 0)]
    } else if is(0, &["sw", "sw1sw2", "sw12", "statusword", "status_word"]) {
        let one = word(1).and_then(|it| it.hex(4).or_else(|| it.text.parse().ok()));
        [(one, 2), (two(1, 2), 3)]
    } else if is(0, &["status"]) && is(1, &["word"]) {
        [(word(2).and_then(|it| it.hex(4)), 3), (two(2, 3), 4)]
    } else {
        [(lone_status(words, index), 1), (None, 0)]
    };
    for (status, taken) in candidates {
        if let Some(status) = status.filter(|it| is_status(*it)) {
            found.add(Found::StatusWord(status));
            return taken;
        }
    }
    0
}

/// Reads SW1 and SW2 in hexadecimal, or in decimal if they have three digits.
fn pair_of_bytes(one: &Word<'_>, two: &Word<'_>) -> Option<u16> {
    let decimal = |it: &Word<'_>| it.text.parse::<u8>().ok();
    match one.text.len() {
        3 => Some(u16::from(decimal(one)?) << 8 | u16::from(decimal(two)?)),
        _ => pair(one, two),
    }
}

/// Four digits that are a status word although no word announces them as one.
fn lone_status(words: &[Word<'_>], index: usize) -> Option<u16> {
    let word = words.get(index)?;
    let status = word.hex(4)?;
    let (has_prefix, digits) = prefixed(word.text);
    let has_letter = digits.bytes().any(|it| it.is_ascii_alphabetic());
    let is_one = has_prefix
        || word.is_in_brackets(has_letter)
        || !word.is_part() && (has_letter || is_announced(words, index, STATUS_WORDS));
    is_one.then_some(status)
}

const STATUS_WORDS: &[&str] = &["answered", "answer", "response", "status", "with"];

/// Words that announce a code.
const CODE_WORDS: &[&str] = &[
    "code",
    "errno",
    "error",
    "err",
    "failed",
    "hresult",
    "hr",
    "lasterror",
    "pkcs11",
    "rc",
    "reason",
    "result",
    "ret",
    "returned",
    "returning",
    "returns",
    "rv",
];

/// Words before `code` that make it a different kind of code.
const OTHER_CODES: &[&str] = &["exit", "http", "key", "line", "response", "scan", "status"];

/// Words after a number that make it a count, not a code.
const UNITS: &[&str] = &[
    "byte", "bytes", "ms", "of", "reader", "readers", "s", "seconds", "times",
];

/// Whether the word before announces a code, by [`CODE_WORDS`] or one of `more`.
fn is_announced(words: &[Word<'_>], index: usize, more: &[&str]) -> bool {
    let before = |many: usize| index.checked_sub(many).and_then(|it| words.get(it));
    let (Some(word), Some(previous)) = (words.get(index), before(1)) else {
        return false;
    };
    let is_near = word.before.len() <= 4 && !word.before.contains([',', ';', '.', '/', '|']);
    let is_counted = word.after == " " && words.get(index + 1).is_some_and(|it| it.is(UNITS));
    let is_other = previous.is(&["code"]) && before(2).is_some_and(|it| it.is(OTHER_CODES));
    let announces = |name: &&str| previous.ends_with(name);
    is_near && !is_counted && !is_other && CODE_WORDS.iter().chain(more).any(announces)
}

/// Reads a word as a name or a number.
fn code(text: &str, words: &[Word<'_>], index: usize, found: &mut Findings) {
    let Some(word) = words.get(index) else { return };
    let previous = index.checked_sub(1).and_then(|it| words.get(it));
    if let Some(name) = name(word, previous) {
        return found.add_code(Some(name), None);
    }
    let Some(number) = Number::of(word, index == 0) else {
        return;
    };
    let value = number.value;
    let is_error = matches!(value >> 16, 0x8007 | 0x8009 | 0x800B | 0x8010);
    let is_known = super::lookup(value).next().is_some();
    let is_announced = is_announced(words, index, &[]);
    let is_command = text.starts_with('>') && index == 0;
    // Eight digits without a prefix or sign may be an identifier.
    let looks_so = is_error && (number.is_marked || !word.is_part() && !is_command);
    let is_wide = number.is_wide && (value > 0xFFFF || word.is_in_brackets(false));
    let belongs = found.name_without_number().is_some_and(|name| {
        let mention = Mention {
            name: Some(name),
            number: Some(value),
        };
        word.before.len() <= 3 && meanings(mention).next().is_some()
    });
    if looks_so || is_error && is_announced || is_known && (is_wide || is_announced) || belongs {
        found.add_code(None, Some(value));
    }
}

/// Reads a word as a name from the C headers.
fn name(word: &Word<'_>, previous: Option<&Word<'_>>) -> Option<&'static str> {
    let of_dotnet = previous.is_some_and(|it| it.is(&["SCardError"]))
        && matches!(word.before, "." | ": " | " " | "=" | " = ");
    let row = match of_dotnet {
        false if !word.text.contains('_') => None,
        false => rows().find(|row| row.is_named(word.text)),
        // PC/SC Sharp: `SCardError.ResetCard`.
        true => rows().find(|row| {
            let name = row.name.strip_prefix("SCARD_").unwrap_or_default();
            let (_, name) = name.split_once('_').unwrap_or_default();
            name.replace('_', "").eq_ignore_ascii_case(word.text)
        }),
    };
    row.map(|row| row.name)
}

/// A word read as a number.
struct Number {
    value: u32,
    /// Has a hexadecimal prefix or is negative.
    is_marked: bool,
    /// Eight digits after `0x`.
    is_wide: bool,
}

impl Number {
    fn of(word: &Word<'_>, is_first: bool) -> Option<Number> {
        // The suffixes of long and unsigned numbers in C and old Python.
        let text = word.text.trim_end_matches(['L', 'l', 'U', 'u']);
        let (is_c, digits) = prefixed(text);
        // Visual Basic.
        let basic = text.strip_prefix(['H', 'h']);
        let basic = basic.filter(|_| word.before.ends_with('&'));
        let is_hex = is_c || basic.is_some();
        // A dash inside a word or a date is not a sign.
        let is_negative = word.before.ends_with('-') && (is_first || word.before.len() > 1);
        let number = format!(
            "{}{}{}",
            if is_negative { "-" } else { "" },
            if is_hex { "0x" } else { "" },
            basic.unwrap_or(digits).replace('_', "")
        );
        Some(Number {
            value: parse_number(&number)?,
            is_marked: is_hex || is_negative,
            is_wide: is_c && digits.len() == 8,
        })
    }
}

#[cfg(test)]
mod tests;
