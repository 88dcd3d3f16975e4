//! Runs a command with virtual smart-card readers.

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::io::{self, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, ExitStatus};
    use std::thread;

    use lexopt::prelude::{Long, Short, Value, ValueExt};
    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
    use scard_testkit::{CardHandle, Driver, ReaderModel, Sandbox, TestkitError, VirtualCard};
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::origin::WithOrigin;
    use signal_hook::low_level::emulate_default_handler;
    use signal_hook::low_level::siginfo::Cause;

    const HELP: &str = "\
Runs a command with virtual smart-card readers: a private PC/SC daemon.

Usage: with-virtual-readers [OPTIONS] [--] COMMAND [ARGS]...

Options:
      --readers N   number of readers (1); vpcd has them in pairs, so it rounds
                    up to an even number
      --cards N     number of cards, one in each of the first N readers (as
                    many as --readers)
      --card KIND   kind of the cards: iso, openpgp or piv (iso)
      --card-program SCRIPT
                    use this program as a card, run by sh for each card. It
                    reads commands in hexadecimal, one per line, and writes
                    answers in the same way; it also reads power-on, power-off
                    and reset, which have no answer
      --external    no cards: the readers wait for programs that are cards for
                    vpcd. Prints the addresses
      --port N      the TCP port at which vpcd waits for the first card; the
                    others use the next ports (any; vpcd's own, to which most
                    such programs connect, is 35963)
      --atr HEX     the cards' ATR (for iso and piv 3B800181, a T=1 card)
      --name NAME   the readers' name, to which the daemon adds numbers; the
                    second reader or pair is called NAME 2, and so on
      --driver D    vpcd, which must be installed and has readers in pairs, or
                    kit, which comes with this program and has single readers
                    (vpcd, or the value of SCARD_TESTKIT_DRIVER)
  -v, --verbose     print what was started, every command that a card receives,
                    and at the end the daemon's log
  -h, --help        print this text

The card iso answers SELECT by AID, GET CHALLENGE, VERIFY (reference 01, PIN
1234) and READ BINARY; openpgp and piv mimic such cards, without keys, with the
PINs 123456 and 12345678 (openpgp, for administrators).

The exit status is the command's, 125 if the readers could not be created, 126
or 127 if the command could not be run. A signal that ends the command also ends
this program (a shell shows 128 + N). Signals to this program are passed on; one
that comes before the command was started ends this program.

  with-virtual-readers --readers 2 -- pcsc_scan -r
  with-virtual-readers --card openpgp -- opensc-tool --name
  with-virtual-readers --external --port 35963 -- my-card-for-vpcd
";

    struct Options {
        readers: usize,
        cards: Option<usize>,
        kind: Kind,
        external: bool,
        port: Option<u16>,
        atr: Option<Vec<u8>>,
        name: Option<String>,
        driver: Option<Driver>,
        verbose: bool,
        command: Vec<OsString>,
    }

    enum Kind {
        Iso,
        OpenPgp,
        Piv,
        Program(OsString),
    }

    impl Kind {
        fn card(&self) -> Result<VirtualCard, TestkitError> {
            Ok(match self {
                Self::Iso => VirtualCard::iso(),
                Self::OpenPgp => VirtualCard::openpgp(),
                Self::Piv => VirtualCard::piv(),
                Self::Program(script) => {
                    let mut program = Command::new("sh");
                    program.arg("-c").arg(script);
                    VirtualCard::program(program)?
                }
            })
        }
    }

    impl Options {
        /// How many readers the driver creates together.
        fn unit(&self) -> usize {
            match self.driver {
                Some(Driver::Kit) => 1,
                _ => 2,
            }
        }

        /// The readers that have a name or a port.
        fn models(&self) -> Vec<ReaderModel> {
            let default = self.port.map(|_| "Virtual Reader");
            let Some(name) = self.name.as_deref().or(default) else {
                return Vec::new();
            };
            let unit = self.unit();
            let count = self.readers.div_ceil(unit).max(1);
            let models = (0..count).map(|index| {
                let model = ReaderModel::new(match index {
                    0 => name.to_owned(),
                    _ => format!("{name} {}", index + 1),
                });
                match self.port {
                    // The reservation refuses ports past the last one.
                    Some(port) => model
                        .port(u16::try_from(usize::from(port) + index * unit).unwrap_or(u16::MAX)),
                    None => model,
                }
            });
            models.collect()
        }
    }

    fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
        let mut options = Options {
            readers: 1,
            cards: None,
            kind: Kind::Iso,
            external: false,
            port: None,
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
                Long("card") => options.kind = parser.value()?.parse_with(parse_kind)?,
                Long("card-program") => options.kind = Kind::Program(parser.value()?),
                Long("external") => options.external = true,
                Long("port") => options.port = Some(parser.value()?.parse()?),
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
        if options.external {
            if options.cards.is_some_and(|cards| cards > 0) {
                return Err("with --external there can be no --cards".into());
            }
            options.cards = Some(0);
        }
        if options.external || options.port.is_some() {
            // The only driver whose cards have ports; an error if another is requested.
            options.driver.get_or_insert(Driver::Vpcd);
        }
        Ok(Some(options))
    }

    fn parse_kind(name: &str) -> Result<Kind, &'static str> {
        match name {
            "iso" => Ok(Kind::Iso),
            "openpgp" => Ok(Kind::OpenPgp),
            "piv" => Ok(Kind::Piv),
            _ => Err("the card is iso, openpgp or piv"),
        }
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
                // A closed pipe is not an error.
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

    /// Checks the number of readers and cards before creating any.
    fn check(options: &Options) -> Result<(), TestkitError> {
        let limit = Sandbox::max_readers()?;
        // A name creates at least one unit.
        let named = options.name.is_some() || options.port.is_some();
        let least = options.unit() * usize::from(named);
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
        check(options).map_err(|e| (format!("{e:?}"), 125))?;
        let cards: Vec<CardHandle> = (0..options.cards.unwrap_or(options.readers))
            .map(|_| {
                let card = options.kind.card()?;
                Ok(CardHandle::from(match &options.atr {
                    Some(atr) => card.atr(atr.clone()),
                    None => card,
                }))
            })
            .collect::<Result<_, TestkitError>>()
            .map_err(|e| (format!("{e:?}"), 125))?;
        let mut builder = Sandbox::builder()
            .readers(options.readers)
            .debug_log(options.verbose);
        for model in options.models() {
            builder = builder.reader(model);
        }
        if let Some(driver) = options.driver {
            builder = builder.driver(driver);
        }
        for (index, card) in cards.iter().enumerate() {
            builder = builder.card(index, card);
        }
        // Before anything is started: a signal now would leave files behind.
        let mut signals =
            SignalsInfo::<WithOrigin>::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])
                .map_err(|e| (format!("signal handlers: {e}"), 125))?;
        let terminal = Terminal::new();
        let started = builder.start();
        // Before there is a command, a signal is for this program alone.
        if let Some(origin) = signals.pending().next() {
            drop((started, cards));
            return Ok(end_by(origin.signal));
        }
        let sandbox = started.map_err(|e| (format!("{e:?}"), 125))?;
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

        if options.external {
            for reader in sandbox.readers() {
                let address = reader.address().map_err(|e| (format!("{e:?}"), 125))?;
                eprintln!(
                    "with-virtual-readers: reader {:?} waits for its card at {address}",
                    reader.name()
                );
            }
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
        let pid = Pid::from_child(&child);
        let pass_on = move |signal| {
            if let Some(signal) = Signal::from_named_raw(signal) {
                let _ = kill_process(pid, signal);
            }
        };
        // One that has come since may have come before the command. If it has not, and is of
        // the terminal, the command gets it twice.
        signals.pending().for_each(|origin| pass_on(origin.signal));
        let handle = signals.handle();
        let forwarding = thread::spawn(move || {
            for origin in &mut signals {
                // Keys such as Ctrl-C, and the end of the terminal, reach the command
                // anyway: it is in the same process group.
                if !matches!(origin.cause, Cause::Kernel) {
                    pass_on(origin.signal);
                }
            }
        });
        let status = wait(&mut child, &terminal).map_err(|e| (e.to_string(), 125))?;
        handle.close();
        let _ = forwarding.join();

        if options.verbose {
            report(&sandbox, &cards);
        }
        // Clean up before a signal can end this program.
        drop((sandbox, cards));
        Ok(end_as(status))
    }

    fn wait(child: &mut Child, terminal: &Option<Terminal>) -> io::Result<ExitStatus> {
        let status = child.wait()?;
        // Restore what an interrupted command has left behind: one that asks for a
        // PIN has switched the echo off.
        if let (Some(_), Some(terminal)) = (status.signal(), terminal) {
            terminal.restore();
        }
        Ok(status)
    }

    /// Ends this program by the signal that ended the command, as a shell or
    /// another caller expects.
    fn end_as(status: ExitStatus) -> ExitCode {
        if let Some(signal) = status.signal() {
            return end_by(signal);
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        ExitCode::from(code.unwrap_or(125))
    }

    /// Ends this program by a signal.
    fn end_by(signal: i32) -> ExitCode {
        let _ = emulate_default_handler(signal);
        // Not a signal that ends programs here.
        ExitCode::from(u8::try_from(128 + signal).unwrap_or(125))
    }

    /// The settings of the terminal, if this process is in its foreground: only then
    /// can the command change them, and can they be restored without a signal.
    struct Terminal(Termios);

    impl Terminal {
        fn new() -> Option<Self> {
            let foreground = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
            foreground.then(|| tcgetattr(io::stdin()).ok().map(Self))?
        }

        fn restore(&self) {
            if tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp()) {
                let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
            }
        }
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
