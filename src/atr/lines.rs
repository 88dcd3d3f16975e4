//! An annotated ATR for people: lines of bytes with their name and meaning.

use std::fmt;

use super::capabilities::CardCapabilities;
use super::contactless::ContactlessAtr;
use super::historical::{Category, DataObject};
use super::interface::names_of_next;
use super::reading::{AtrReading, Tck};

/// A line of an annotated ATR, from [`AtrReading::lines`].
///
/// [`Display`](fmt::Display) prints the name, the bytes and the meaning in columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AtrLine {
    bytes: Vec<u8>,
    name: String,
    meaning: String,
}

impl AtrLine {
    fn new(bytes: &[u8], name: impl ToString, meaning: impl ToString) -> AtrLine {
        AtrLine {
            bytes: bytes.to_vec(),
            name: name.to_string(),
            meaning: meaning.to_string(),
        }
    }

    /// Returns the bytes, in order over all lines.
    ///
    /// Empty if the line continues the previous one.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the name of the bytes, such as `TA1`.
    ///
    /// Empty if the line continues the previous one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the meaning of the bytes.
    pub fn meaning(&self) -> &str {
        &self.meaning
    }
}

impl fmt::Display for AtrLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<String> = self.bytes.iter().map(|it| format!("{it:02X}")).collect();
        let line = format!("{:<5} {:<12}  {}", self.name, bytes.join(" "), self.meaning);
        f.write_str(line.trim_end())
    }
}

impl AtrReading {
    /// Returns the annotated ATR: every byte in order, with its name and meaning.
    pub fn lines(&self) -> impl Iterator<Item = AtrLine> + use<> {
        let mut lines = Vec::new();
        let atr = self.atr();
        let bytes = atr.as_bytes();
        if let (Some(ts), Some(convention)) = (bytes.first(), self.convention()) {
            lines.push(AtrLine::new(&[*ts], "TS", convention));
        }
        if let Some(t0) = bytes.get(1) {
            let next = match names_of_next(t0 >> 4, 1) {
                Some(names) => format!("next: {names}"),
                None => "no interface bytes".to_owned(),
            };
            let meaning = format!("{next}; historical bytes: {}", t0 & 0x0F);
            lines.push(AtrLine::new(&[*t0], "T0", meaning));
        }
        for byte in self.interface_bytes() {
            lines.push(AtrLine::new(&[byte.value()], byte.name(), byte.meaning()));
        }
        self.historical_lines(&mut lines);

        let shown = 2 + self.interface_bytes().len() + self.historical().as_bytes().len();
        let mut end = bytes.get(shown..).unwrap_or_default();
        let tck = match self.tck() {
            Tck::Correct => Some("check byte, correct".to_owned()),
            Tck::Wrong { expected } => Some(format!("check byte, should be {expected:02X}")),
            Tck::NotNeeded | Tck::Missing => None,
        };
        if let (Some(meaning), Some((tck, left))) = (tck, end.split_first()) {
            lines.push(AtrLine::new(&[*tck], "TCK", meaning));
            end = left;
        }
        if !end.is_empty() {
            lines.push(AtrLine::new(end, "", "extra bytes"));
        }
        lines.into_iter()
    }

    fn historical_lines(&self, lines: &mut Vec<AtrLine>) {
        let historical = self.historical();
        let bytes = historical.as_bytes();
        let (Some(category), Some((first, rest))) = (historical.category(), bytes.split_first())
        else {
            return;
        };
        // A first byte that is not a category may be the beginning of text.
        let shown = match category {
            Category::Proprietary(_) => bytes,
            _ => &[*first],
        };
        let text = match category {
            Category::Proprietary(_) => format!(": {}", text(bytes)),
            _ => String::new(),
        };
        lines.push(AtrLine::new(
            shown,
            "hist",
            format!("historical bytes: {category}{text}"),
        ));
        match category {
            Category::StatusAtEnd | Category::DataObjects => {
                for part in historical.parts() {
                    let meaning = format!("{}{}", part.object.name(), content(&part.object));
                    lines.push(AtrLine::new(part.bytes, "", meaning));
                    if let DataObject::Capabilities(capabilities) = part.object {
                        detail(&capabilities, lines);
                    }
                }
            }
            _ if shown.len() == 1 && !rest.is_empty() => {
                lines.push(AtrLine::new(rest, "", text_or_dir(category, rest)));
            }
            _ => {}
        }
        match self.contactless() {
            Some(ContactlessAtr::Storage(card)) => lines.push(AtrLine::new(&[], "", card)),
            Some(form @ ContactlessAtr::Iso14443_4 { .. }) => {
                lines.push(AtrLine::new(&[], "", form));
            }
            None => {}
        }
    }
}

fn text_or_dir(category: Category, rest: &[u8]) -> String {
    match (category, rest) {
        (Category::DirReference, [reference, ..]) => format!("reference {reference:02X}"),
        _ => text(rest),
    }
}

fn text(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// The text after the name of the object.
fn content(object: &DataObject<'_>) -> String {
    match object {
        DataObject::CardService(data) => format!(": {data}"),
        DataObject::Status(status) => format!(": {status}"),
        DataObject::Capabilities(_) => ":".to_owned(),
        DataObject::Other { tag, .. } => format!(", tag {tag:X}"),
        DataObject::IssuerData(value) | DataObject::PreIssuing(value)
            if !value.is_empty() && value.iter().all(|byte| matches!(byte, 0x20..=0x7E)) =>
        {
            format!(": {}", text(value))
        }
        _ => String::new(),
    }
}

fn detail(capabilities: &CardCapabilities, lines: &mut Vec<AtrLine>) {
    let mut say = |text: String| lines.push(AtrLine::new(&[], "", format!("  {text}")));
    say(format!("selection: {}", capabilities.selection_methods()));
    say(format!(
        "file references: {}",
        capabilities.file_references()
    ));
    if let Some(coding) = capabilities.data_coding() {
        say(format!("data coding: {coding}"));
    }
    if let Some(channels) = capabilities.logical_channels() {
        let yes_no = |yes| if yes { "yes" } else { "no" };
        say(format!(
            "extended length: {}{}",
            yes_no(capabilities.extended_length()),
            if capabilities.extended_length_in_file() {
                ", more in EF.ATR/INFO"
            } else {
                ""
            }
        ));
        say(format!(
            "command chaining: {}",
            yes_no(capabilities.command_chaining())
        ));
        say(channels.to_string());
    }
}

impl fmt::Display for AtrReading {
    /// Prints [`AtrReading::lines`], then a line for each problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines().map(|line| line.to_string());
        let problems = self.problems().iter().map(|it| format!("problem: {it}"));
        let all: Vec<String> = lines.chain(problems).collect();
        f.write_str(&all.join("\n"))
    }
}
