//! Cards that are programs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::card::{Applet, Reply};
use crate::error::TestkitError;
use crate::isolate::end;

/// A program that answers commands line by line:
/// [`VirtualCard::program`](crate::VirtualCard::program).
#[derive(Debug)]
pub(crate) struct ProgramCard {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl ProgramCard {
    pub(crate) fn start(mut command: Command) -> Result<Self, TestkitError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(TestkitError::io(format!("starting the card {name}")))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.expect("both were asked for");
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// The kit reports the failure of a card's program by panics.
    fn write(&mut self, line: &str) {
        if let Err(error) = writeln!(self.input, "{line}") {
            panic!("the program of the card does not read any more: {error}");
        }
    }
}

impl Applet for ProgramCard {
    fn process(&mut self, command: &[u8]) -> Reply {
        let hex: String = command.iter().map(|byte| format!("{byte:02X}")).collect();
        self.write(&hex);
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => panic!("the program of the card has ended"),
            Ok(_) => parse(line.trim()),
            Err(error) => panic!("the program of the card cannot be read: {error}"),
        }
    }

    fn power_on(&mut self) {
        self.write("power-on");
    }

    fn power_off(&mut self) {
        self.write("power-off");
    }

    fn reset(&mut self) {
        self.write("reset");
    }
}

impl Drop for ProgramCard {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn parse(line: &str) -> Reply {
    match line {
        "drop" => return Reply::Drop,
        "mute" => return Reply::Mute,
        _ => {}
    }
    let digits: Option<Vec<u8>> = line
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if !digits.is_empty() && digits.len() % 2 == 0 => {
            Reply::Answer(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
        }
        _ => panic!("the program of the card wrote {line:?}: that is no answer in hexadecimal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(parse("9000"), Reply::from([0x90, 0x00]));
        assert_eq!(parse("6a 82"), Reply::from([0x6A, 0x82]));
        assert_eq!(parse("drop"), Reply::Drop);
        assert_eq!(parse("mute"), Reply::Mute);
        for wrong in ["", "9", "900", "9G00", "ok"] {
            assert!(
                std::panic::catch_unwind(|| parse(wrong)).is_err(),
                "{wrong}"
            );
        }
    }
}
