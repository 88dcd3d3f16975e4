//! Runs a command with virtual smart-card readers.

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::io::{self, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::ExitCode;
    use std::thread;

    use lexopt::prelude::{Long, Short, Value, ValueExt};
    use rustix::process::{Pid, Signal, kill_process};
    use scard_testkit::{CardHandle, Driver, Sandbox, TestkitError, VirtualCard};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    const HELP: &str = "\
Runs a command with virtual smart-card readers: a private PC/SC daemon.

Usage: with-virtual-readers [OPTIONS] [--] COMMAND [ARGS]...

Options:
      --readers N   readers (1); vpcd makes them in pairs, so there is an
                    even number
      --cards N     cards, one in each of the first N readers (as many as
                    --readers)
      --atr HEX     the cards' ATR (3B800181, a T=1 card)
      --name NAME   the readers' name, to which the daemon adds numbers; the
                    second reader or pair is called NAME 2, and so on
      --driver D    vpcd, which must be installed and makes pairs, or kit, which
                    comes with this program and makes single readers (vpcd, or
                    what SCARD_TESTKIT_DRIVER says)
  -v, --verbose     tell what was started, show every command that a card got,
                    and the daemon's log at the end
  -h, --help        this text

The cards answer SELECT by AID, GET CHALLENGE, VERIFY (reference 01, PIN 1234)
and READ BINARY. The exit status is the command's; 128 + N if signal N ended
it; 125 if the readers could not be made, 126 or 127 if the command could not
be run.

  with-virtual-readers --readers 2 -- pcsc_scan -r
";

    struct Options {
        readers: usize,
        cards: Option<usize>,
        atr: Option<Vec<u8>>,
        name: Option<String>,
        driver: Option<Driver>,
        verbose: bool,
        command: Vec<OsString>,
    }

    impl Options {
        /// How many readers the driver makes together.
        fn unit(&self) -> usize {
            match self.driver {
                Some(Driver::Kit) => 1,
                _ => 2,
            }
        }
    }

    fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
        let mut options = Options {
            readers: 1,
            cards: None,
            atr: None,
            name: None,
            driver: None,
            verbose: false,
            command: Vec::new(),
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("readers") => options.readers = parser.value()?.parse()?,
                Long("cards") => options.cards = Some(parser.value()?.parse()?),
                Long("atr") => options.atr = Some(parser.value()?.parse_with(parse_atr)?),
                Long("name") => options.name = Some(parser.value()?.string()?),
                Long("driver") => options.driver = Some(parser.value()?.parse_with(parse_driver)?),
                Short('v') | Long("verbose") => options.verbose = true,
                Short('h') | Long("help") => return Ok(None),
                Value(program) => {
                    options.command.push(program);
                    options.command.extend(parser.raw_args()?);
                }
                other => return Err(other.unexpected()),
            }
        }
        if options.command.is_empty() {
            return Err("no COMMAND was given".into());
        }
        Ok(Some(options))
    }

    fn parse_driver(name: &str) -> Result<Driver, &'static str> {
        match name {
            "vpcd" => Ok(Driver::Vpcd),
            "kit" => Ok(Driver::Kit),
            _ => Err("the driver is vpcd or kit"),
        }
    }

    fn parse_atr(text: &str) -> Result<Vec<u8>, &'static str> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|c| !matches!(c, ' ' | ':'))
            .map(|c| c.to_digit(16).map(|d| d as u8).ok_or("not hexadecimal"))
            .collect::<Result<_, _>>()?;
        if digits.len() % 2 != 0 || !(2..=33).contains(&(digits.len() / 2)) {
            return Err("an ATR has 2 to 33 bytes");
        }
        Ok(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
    }

    pub(super) fn main() -> ExitCode {
        let options = match parse(lexopt::Parser::from_env()) {
            Ok(Some(options)) => options,
            Ok(None) => {
                // Whoever closes the pipe has read enough.
                let _ = io::stdout().write_all(HELP.as_bytes());
                return ExitCode::SUCCESS;
            }
            Err(e) => {
                eprintln!("with-virtual-readers: {e} (see --help)");
                return ExitCode::from(125);
            }
        };
        run(&options).unwrap_or_else(|(message, code)| {
            eprintln!("with-virtual-readers: {message}");
            ExitCode::from(code)
        })
    }

    /// Whether there can be so many readers and cards, before any is made.
    fn check(options: &Options) -> Result<(), TestkitError> {
        let limit = Sandbox::max_readers()?;
        // A name makes one of them at least.
        let least = options.unit() * usize::from(options.name.is_some());
        let readers = options.readers.div_ceil(options.unit());
        let readers = readers.saturating_mul(options.unit()).max(least);
        if readers > limit {
            return Err(TestkitError::TooManyReaders {
                wanted: readers,
                limit,
            });
        }
        match options.cards {
            Some(cards) if cards > readers => Err(TestkitError::NoSuchReader {
                index: readers,
                readers,
            }),
            _ => Ok(()),
        }
    }

    fn run(options: &Options) -> Result<ExitCode, (String, u8)> {
        check(options).map_err(|e| (describe(&e), 125))?;
        let cards: Vec<CardHandle> = (0..options.cards.unwrap_or(options.readers))
            .map(|_| {
                let card = VirtualCard::iso();
                match &options.atr {
                    Some(atr) => card.atr(atr.clone()),
                    None => card,
                }
                .into()
            })
            .collect();
        let mut builder = Sandbox::builder()
            .readers(options.readers)
            .debug_log(options.verbose);
        if let Some(name) = &options.name {
            builder = builder.reader(name);
            for number in 2..=options.readers.div_ceil(options.unit()) {
                builder = builder.reader(format!("{name} {number}"));
            }
        }
        if let Some(driver) = options.driver {
            builder = builder.driver(driver);
        }
        for (index, card) in cards.iter().enumerate() {
            builder = builder.card(index, card);
        }
        // Before anything is started: a signal now would leave files behind.
        let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP])
            .map_err(|e| (format!("signal handlers: {e}"), 125))?;
        let sandbox = builder.start().map_err(|e| (describe(&e), 125))?;
        if options.verbose {
            for reader in sandbox.readers() {
                let card = if reader.card().is_some() {
                    "card"
                } else {
                    "empty"
                };
                eprintln!("with-virtual-readers: reader {:?}: {card}", reader.name());
            }
            let socket = sandbox.socket_path().display();
            eprintln!("with-virtual-readers: PCSCLITE_CSOCK_NAME={socket}");
        }

        let (program, arguments) = options.command.split_first().expect("checked");
        let mut child = sandbox
            .command(program)
            .args(arguments)
            .spawn()
            .map_err(|e| {
                let code = if e.kind() == io::ErrorKind::NotFound {
                    127
                } else {
                    126
                };
                (format!("{}: {e}", Path::new(program).display()), code)
            })?;
        // Keys such as Ctrl-C reach the command by themselves (it is in the
        // same process group); what is sent to this process alone is passed on.
        let pid = Pid::from_child(&child);
        let handle = signals.handle();
        let forwarding = thread::spawn(move || {
            for signal in &mut signals {
                let signal = match signal {
                    SIGTERM => Signal::TERM,
                    SIGHUP => Signal::HUP,
                    _ => continue,
                };
                let _ = kill_process(pid, signal);
            }
        });
        let status = child.wait().map_err(|e| (e.to_string(), 125))?;
        handle.close();
        let _ = forwarding.join();

        if options.verbose {
            report(&sandbox, &cards);
        }
        let code = match (status.code(), status.signal()) {
            (Some(code), _) => code,
            (None, signal) => 128 + signal.unwrap_or(0),
        };
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(125)))
    }

    fn report(sandbox: &Sandbox, cards: &[CardHandle]) {
        for (index, card) in cards.iter().enumerate() {
            let stats = card.stats();
            eprintln!(
                "with-virtual-readers: card {index}: {} commands, powered on {} times, reset {} times",
                stats.commands, stats.power_ons, stats.resets
            );
            for exchange in card.log() {
                eprintln!("  > {}", hex(&exchange.command));
                match &exchange.response {
                    Some(response) => eprintln!("  < {}", hex(response)),
                    None => eprintln!("  < (no answer)"),
                }
            }
        }
        eprintln!(
            "with-virtual-readers: the daemon's log:\n{}",
            sandbox.daemon_log()
        );
    }

    fn hex(bytes: &[u8]) -> String {
        let bytes: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
        bytes.join(" ")
    }

    fn describe(mut error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        while let Some(source) = error.source() {
            text = format!("{text}: {source}");
            error = source;
        }
        text
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("with-virtual-readers: Linux only");
    std::process::ExitCode::from(125)
}
