//! The printed lines and problems for every kind of byte and the values at which its meaning
//! changes, compared with `texts.txt`. If this fails, copy the printed text into that file. Lines
//! common to all values are omitted.

use crate::values::Atr;

/// The boundaries of all fields in a byte.
const VALUES: [u8; 24] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x07, 0x08, 0x0A, 0x0F, 0x10, 0x18, 0x1F, 0x20, 0x3F, 0x40, 0x60,
    0x7F, 0x80, 0x94, 0x97, 0xA0, 0xC0, 0xFE, 0xFF,
];

/// ATRs around one byte: the bytes before and after it.
const KINDS: [(&str, &[u8], &[u8]); 17] = [
    ("TS", &[], &[0x00]),
    ("TA1", &[0x3B, 0x10], &[]),
    ("TB1", &[0x3B, 0x20], &[]),
    ("TC1", &[0x3B, 0x40], &[]),
    ("TA2", &[0x3B, 0x80, 0x10], &[]),
    ("TB2", &[0x3B, 0x80, 0x20], &[]),
    ("TC2, T=0", &[0x3B, 0x80, 0x40], &[]),
    ("TA3, T=1", &[0x3B, 0x80, 0x81, 0x11], &[]),
    ("TB3, T=1", &[0x3B, 0x80, 0x81, 0x21], &[]),
    ("TC3, T=1", &[0x3B, 0x80, 0x81, 0x41], &[]),
    ("TA3, T=15", &[0x3B, 0x80, 0x80, 0x1F], &[]),
    ("TB3, T=15", &[0x3B, 0x80, 0x80, 0x2F], &[]),
    ("service data", &[0x3B, 0x03, 0x80, 0x31], &[]),
    ("selection", &[0x3B, 0x03, 0x80, 0x71], &[]),
    ("coding", &[0x3B, 0x04, 0x80, 0x72, 0x00], &[]),
    ("channels", &[0x3B, 0x05, 0x80, 0x73, 0x00, 0x00], &[]),
    ("life cycle", &[0x3B, 0x05, 0x80, 0x83], &[0x90, 0x00]),
];

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn written() -> String {
    let mut text = String::new();
    for (kind, before, after) in KINDS {
        let printed = VALUES.map(|value| {
            let bytes = [before, &[value], after].concat();
            let reading = Atr::new(&bytes).expect("short").parse();
            (value, reading.to_string())
        });
        let is_same = |line: &str| {
            printed
                .iter()
                .all(|(_, it)| it.lines().any(|it| it == line))
        };
        text.push_str(&format!("# {kind}\n"));
        for (value, lines) in &printed {
            let lines = lines.lines().filter(|line| !is_same(line));
            let lines: Vec<String> = lines.map(on_one_line).collect();
            text.push_str(&format!("{value:02X}: {}\n", lines.join(" | ")));
        }
    }
    // Several protocols, each with its own bytes.
    for bytes in [
        &b"\x3B\xF0\x11\x00\x00\xB1\x40\x71\xFE\x45\x01\x00"[..],
        b"\x3B\xC0\x00\x80\x91\x40\x1F\x07\x00",
        b"\x3B\x80\x80\x91\x31\x20\x45\x7F\x03\x80",
        b"\x3B\x00\x00",
        b"\x3F\x05\x10AB\x90\x00",
        b"\x3B\x04\x00A\x03\x00",
        b"\x3B\x06\x80\x5AAB\x6F\x00",
        b"\x3B\x04\x80\x52\x01\xFF",
    ] {
        let reading = Atr::new(bytes).expect("short").parse();
        text.push_str(&format!("{reading}\n{:?}\n", reading.protocols()));
    }
    text
}

#[test]
fn every_value_has_its_text() {
    let (is, written) = (include_str!("texts.txt"), written());
    if is != written {
        println!("{written}");
        panic!("src/atr/tests/texts.txt is not what is printed above");
    }
}
