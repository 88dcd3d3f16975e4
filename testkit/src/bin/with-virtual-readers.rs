//! Runs a command with virtual smart-card readers.

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::io::{self, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;
    use std::process::{Child, Command, ExitCode, ExitStatus};
    use std::thread;

    use lexopt::prelude::{Long, Short, Value};
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
                    answers in the same way, or drop (the card is removed) or
                    mute (no answer); it also reads power-on, power-off and
                    reset, which have no answer
      --external    no cards: the readers wait for programs that are cards for
                    vpcd. Prints the addresses
      --port N      the TCP port at which vpcd waits for the first card; the
                    other readers of the pair and of further pairs use the next
                    ports (any; vpcd's own, to which most such programs connect,
                    is 35963)
      --atr HEX     the cards' ATR (for iso and piv 3B800181, a T=1 card)
      --name NAME   the readers' name, to which the daemon adds numbers, as in
                    \"NAME 00 00\"; the second reader or pair is called NAME 2,
                    and so on (Virtual Reader A, Virtual Reader B, and so on;
                    with --port: Virtual Reader, Virtual Reader 2, and so on)
      --driver D    vpcd, which must be installed and has readers in pairs, or
                    kit, which comes with this program and has single readers
                    (vpcd, or the value of SCARD_TESTKIT_DRIVER)
  -v, --verbose     print what was started, every command that a card receives,
                    and at the end the daemon's log
  -h, --help        print this text

The card iso answers SELECT by nearly any AID, GET CHALLENGE, VERIFY (reference
01, PIN 1234) and READ BINARY; openpgp and piv mimic such cards, without keys,
with the PINs 123456 and 12345678 (openpgp, for administrators), and know only
their own AID.

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
                    // `check` refuses ports past the last one.
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
        // An option that is about cards of this program.
        let mut of_cards = None;
        let parser = &mut parser;
        while let Some(argument) = parser.next()? {
            match argument {
                Long("readers") => {
                    let count = |text: &str| text.parse().ok();
                    options.readers = value(parser, "--readers", "a number of readers", count)?;
                }
                Long("cards") => {
                    let count = |text: &str| text.parse().ok();
                    let cards = value(parser, "--cards", "a number of cards", count)?;
                    of_cards = of_cards.or((cards > 0).then_some("--cards"));
                    options.cards = Some(cards);
                }
                Long("card") => {
                    of_cards = Some("--card");
                    options.kind = value(parser, "--card", "iso, openpgp or piv", kind)?;
                }
                Long("card-program") => {
                    of_cards = Some("--card-program");
                    options.kind = Kind::Program(parser.value()?);
                }
                Long("external") => options.external = true,
                Long("port") => {
                    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
                    let expected = "a port (1 to 65535)";
                    options.port = Some(value(parser, "--port", expected, port)?);
                }
                Long("atr") => {
                    of_cards = Some("--atr");
                    let expected = "an ATR (2 to 33 bytes in hexadecimal)";
                    options.atr = Some(value(parser, "--atr", expected, atr)?);
                }
                Long("name") => {
                    let name = |text: &str| Some(text.to_owned());
                    options.name = Some(value(parser, "--name", "a name in UTF-8", name)?);
                }
                Long("driver") => {
                    options.driver = Some(value(parser, "--driver", "vpcd or kit", driver)?);
                }
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
            if let Some(option) = of_cards {
                let why = "the cards of --external are other programs";
                return Err(format!("{option} cannot be used with --external: {why}").into());
            }
            options.cards = Some(0);
        }
        if options.external || options.port.is_some() {
            // The only driver whose cards have ports.
            if let Driver::Kit = options.driver.get_or_insert(Driver::Vpcd) {
                let option = if options.external { "external" } else { "port" };
                return Err(format!("--{option} requires --driver vpcd").into());
            }
        }
        Ok(Some(options))
    }

    /// The value of an option; the error says that it is not the expected.
    fn value<T>(
        parser: &mut lexopt::Parser,
        option: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, lexopt::Error> {
        let value = parser.value()?;
        let parsed = value.to_str().and_then(parse);
        parsed.ok_or_else(|| format!("{option}: {value:?} is not {expected}").into())
    }

    fn kind(name: &str) -> Option<Kind> {
        Some(match name {
            "iso" => Kind::Iso,
            "openpgp" => Kind::OpenPgp,
            "piv" => Kind::Piv,
            _ => return None,
        })
    }

    fn driver(name: &str) -> Option<Driver> {
        Some(match name {
            "vpcd" => Driver::Vpcd,
            "kit" => Driver::Kit,
            _ => return None,
        })
    }

    fn atr(text: &str) -> Option<Vec<u8>> {
        let digits = text.chars().filter(|c| !matches!(c, ' ' | ':'));
        let digits: Vec<u8> = digits
            .map(|c| Some(c.to_digit(16)? as u8))
            .collect::<Option<_>>()?;
        let is_atr = digits.len() % 2 == 0 && (2..=33).contains(&(digits.len() / 2));
        is_atr.then(|| digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
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

    /// An error of the kit, with the options of this program.
    fn explain(error: TestkitError) -> String {
        format!("{error:?}").replace("Sandbox::builder().driver(Driver::Kit)", "--driver kit")
    }

    /// Checks the numbers of readers, cards and ports before creating any.
    fn check(options: &Options) -> Result<(), String> {
        let limit = Sandbox::max_readers().map_err(explain)?;
        // A name creates at least one unit.
        let named = options.name.is_some() || options.port.is_some();
        let least = options.unit() * usize::from(named);
        let readers = options.readers.div_ceil(options.unit());
        let readers = readers.saturating_mul(options.unit()).max(least);
        if readers > limit {
            return Err(explain(TestkitError::TooManyReaders {
                wanted: readers,
                limit,
            }));
        }
        if let Some(cards) = options.cards.filter(|cards| *cards > readers) {
            return Err(format!(
                "--cards {cards}: more cards than readers ({readers}); see --readers"
            ));
        }
        let last = |first| usize::from(first) + readers - 1;
        if let Some(port) = options.port.filter(|port| last(*port) > 65_535) {
            return Err(format!(
                "--port {port}: {readers} readers need as many consecutive ports, and 65535 is the last"
            ));
        }
        Ok(())
    }

    fn run(options: &Options) -> Result<ExitCode, (String, u8)> {
        check(options).map_err(|message| (message, 125))?;
        let cards: Vec<CardHandle> = (0..options.cards.unwrap_or(options.readers))
            .map(|_| {
                let card = options.kind.card()?;
                Ok(CardHandle::from(match &options.atr {
                    Some(atr) => card.atr(atr.clone()),
                    None => card,
                }))
            })
            .collect::<Result<_, TestkitError>>()
            .map_err(|e| (explain(e), 125))?;
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
        let sandbox = started.map_err(|e| (explain(e), 125))?;
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
                let address = reader.address().map_err(|e| (explain(e), 125))?;
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
