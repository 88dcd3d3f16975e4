//! A private `pcscd`: finding it, putting it into a namespace, starting and ending it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::error::TestkitError;
use crate::status::DaemonStatus;
use crate::sync::lock;

/// Runs inside the namespace. `/run/pcscd` becomes the sandbox's directory, and
/// the directory of USB drivers one of the sandbox (an empty one, unless readers
/// can be plugged in), so that no real reader is touched. Then it starts daemons
/// on request. It ends when its standard input ends, that is with our process,
/// however that ends, and ends the daemon, too.
///
/// The end of our process reaches it in two more ways, neither of which may end
/// it before it has ended the daemon. An answer that nobody reads, perhaps that
/// to `start`, causes SIGPIPE. And if the daemon is stopped (a paused sandbox),
/// the kernel sends SIGHUP to the orphaned process group. (The daemon inherits
/// this, but ignores both anyway.)
const KEEPER: &str = r#"
trap '' HUP PIPE
set -e
dir=$1 usb_drivers=$2
shift 2
mount -t tmpfs tmpfs /run
mkdir /run/pcscd
mount --bind "$dir/run" /run/pcscd
if [ -d "$usb_drivers" ]; then mount --bind "$dir/drivers" "$usb_drivers"; fi
set +e
pid=
end() { if [ -n "$pid" ]; then kill -9 "$pid"; wait "$pid"; pid=; fi 2>/dev/null; }
echo ready || exit
while read -r order; do
    end
    if [ "$order" = start ]; then
        rm -f "$dir/run/pcscd.comm" "$dir/run/pcscd.pid"
        "$@" >>"$dir/log" 2>&1 &
        pid=$!
    fi
    echo "$pid" || break
done
end
"#;

/// How long a start of the daemon may take.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// The limit of readers if the daemon has none. It can handle 1,024 files: each
/// of up to 200 clients needs one, and a reader of the kit's driver four.
const MAX_READERS: usize = 200;

/// The installed programs, and what this build of the daemon can do.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pcscd: PathBuf,
    pub(crate) max_readers: usize,
    /// Where the daemon looks for the drivers of USB readers.
    pub(crate) usb_drivers: String,
    disable_polkit: bool,
}

impl Installation {
    pub(crate) fn find() -> Result<Self, TestkitError> {
        /// Asking a daemon costs two processes, and the answers never change.
        static KNOWN: Mutex<Vec<Installation>> = Mutex::new(Vec::new());

        let pcscd = find_pcscd()?;
        let mut known = lock(&KNOWN);
        if let Some(found) = known.iter().find(|i| i.pcscd == pcscd) {
            return Ok(found.clone());
        }
        let ask = |argument: &str| {
            Command::new(&pcscd)
                .arg(argument)
                .stdin(Stdio::null())
                .output()
                .map(|output| {
                    String::from_utf8_lossy(&output.stdout).into_owned()
                        + &String::from_utf8_lossy(&output.stderr)
                })
                .map_err(TestkitError::io(format!("starting {}", pcscd.display())))
        };
        let version = ask("-v")?;
        let found = Self {
            max_readers: max_readers(&version),
            usb_drivers: after(&version, "usbdropdir=")
                .unwrap_or_default()
                .to_owned(),
            disable_polkit: ask("--help")?.contains("--disable-polkit"),
            pcscd,
        };
        known.push(found.clone());
        Ok(found)
    }
}

/// The word that follows `key` in the daemon's description of itself.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(key)?.1.split_whitespace().next()
}

/// pcsc-lite 2.5 has no limit, and prints none.
fn max_readers(version: &str) -> usize {
    after(version, "PCSCLITE_MAX_READERS_CONTEXTS: ")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(MAX_READERS)
}

fn find_pcscd() -> Result<PathBuf, TestkitError> {
    let (tried, found) = match env::var_os("SCARD_TESTKIT_PCSCD") {
        Some(path) => {
            let path = PathBuf::from(path);
            (
                path.display().to_string(),
                is_executable(&path).then_some(path),
            )
        }
        None => (
            "pcscd in PATH, /usr/sbin, /usr/local/sbin and /sbin".to_owned(),
            env::split_paths(&env::var_os("PATH").unwrap_or_default())
                .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
                .map(|dir| dir.join("pcscd"))
                .find(|path| is_executable(path)),
        ),
    };
    found.ok_or(TestkitError::PcscdNotFound { looked_for: tried })
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The `vpcd` driver.
pub(crate) fn find_vpcd() -> Result<PathBuf, TestkitError> {
    const IN_LIB: &str = "pcsc/drivers/serial/libifdvpcd.so";
    let (tried, found) = match env::var_os("SCARD_TESTKIT_VPCD") {
        Some(path) => {
            let path = PathBuf::from(path);
            (path.display().to_string(), path.is_file().then_some(path))
        }
        None => (
            format!("{IN_LIB} in {LIBRARY_PLACES}"),
            find_library(IN_LIB),
        ),
    };
    found.ok_or(TestkitError::DriverNotFound { looked_for: tried })
}

/// Where libraries are looked for, for error messages.
pub(crate) const LIBRARY_PLACES: &str =
    "/usr/lib, /usr/lib64, /usr/local/lib, /usr/local/lib64, /usr/lib/*";

/// Finds an installed library, or another file in a library directory.
pub(crate) fn find_library(name: &str) -> Option<PathBuf> {
    let multiarch = fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/lib64",
    ]
    .into_iter()
    .map(PathBuf::from)
    .chain(multiarch)
    .map(|lib| lib.join(name))
    .find(|path| path.is_file())
}

/// The namespace with the daemon in it.
#[derive(Debug)]
pub(crate) struct Daemon {
    keeper: Child,
    /// `None` once the end has begun.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    dir: PathBuf,
    /// The keeper does not reap it before the next order: no other process can
    /// get this number.
    pid: Option<Pid>,
}

impl Daemon {
    /// Creates the namespace, without starting a daemon. `dir` has the
    /// directories `run`, `conf` and `drivers`.
    pub(crate) fn prepare(
        installation: &Installation,
        dir: &Path,
        debug_log: bool,
        variables: &[(&str, &OsStr)],
    ) -> Result<Self, TestkitError> {
        let privileged: &[&str] = &["--mount"];
        let unprivileged: &[&str] = &["--user", "--map-root-user", "--mount"];
        let mut refusals = String::new();
        let ways: &[&[&str]] = if geteuid().is_root() {
            &[privileged, unprivileged]
        } else {
            &[unprivileged]
        };
        for way in ways {
            match Self::unshare(way, installation, dir, debug_log, variables)? {
                Ok(daemon) => return Ok(daemon),
                Err(refusal) => {
                    if !refusals.is_empty() {
                        refusals.push_str("; ");
                    }
                    refusals.push_str(&refusal);
                }
            }
        }
        Err(TestkitError::NamespacesRefused { detail: refusals })
    }

    fn unshare(
        way: &[&str],
        installation: &Installation,
        dir: &Path,
        debug_log: bool,
        variables: &[(&str, &OsStr)],
    ) -> Result<Result<Self, String>, TestkitError> {
        let complaints_path = dir.join("namespace.log");
        let complaints = fs::File::create(&complaints_path).map_err(TestkitError::io(format!(
            "creating {}",
            complaints_path.display()
        )))?;
        let mut command = Command::new("unshare");
        command
            .args(way)
            .args(["sh", "-c", KEEPER, "sh"])
            .arg(dir)
            .arg(&installation.usb_drivers);
        if !variables.is_empty() {
            // For the daemon only: one of them may preload a library.
            command.arg("env");
            for (name, value) in variables {
                let mut assignment = OsString::from(name);
                assignment.push("=");
                assignment.push(value);
                command.arg(assignment);
            }
        }
        command
            .arg(&installation.pcscd)
            .args(["--foreground", "--config"])
            .arg(dir.join("conf"));
        if debug_log {
            command.args(["--debug", "--apdu"]);
        }
        if installation.disable_polkit {
            command.arg("--disable-polkit");
        }
        let mut keeper = command
            // Ctrl-C is for the program under test, not for its daemon.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => TestkitError::UnshareNotFound(e),
                _ => TestkitError::io("starting unshare")(e),
            })?;
        let (Some(orders), Some(answers)) = (keeper.stdin.take(), keeper.stdout.take()) else {
            unreachable!("both were asked for");
        };
        let mut daemon = Self {
            keeper,
            orders: Some(orders),
            answers: BufReader::new(answers),
            dir: dir.to_owned(),
            pid: None,
        };
        match daemon.answer() {
            Ok(line) if line == "ready" => Ok(Ok(daemon)),
            _ => {
                drop(daemon);
                let said = fs::read_to_string(&complaints_path).unwrap_or_default();
                Ok(Err(format!(
                    "unshare {}: {}",
                    way.join(" "),
                    said.trim().replace('\n', ", ")
                )))
            }
        }
    }

    /// Starts the daemon and waits until it answers with these readers.
    pub(crate) fn start(
        &mut self,
        status: &DaemonStatus,
        readers: &[&str],
    ) -> Result<(), TestkitError> {
        let started = Instant::now();
        let answer = self.order("start")?;
        self.pid = answer.parse().ok().and_then(Pid::from_raw);
        let failed = |reason: String| TestkitError::DaemonDidNotStart {
            reason,
            log: tail(&self.log()),
        };
        loop {
            let published = match status.readers() {
                Ok(published) => published,
                // A daemon that accepts connections but speaks another protocol.
                Err(e) if e.kind() == io::ErrorKind::Unsupported => return Ok(()),
                Err(_) if !self.is_alive() => return Err(failed("it ended immediately".into())),
                Err(e) if started.elapsed() > START_TIMEOUT => {
                    return Err(failed(format!("no answer in {START_TIMEOUT:?}: {e}")));
                }
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
            };
            let missing = readers
                .iter()
                .find(|name| !published.iter().any(|p| p.name == **name));
            return match missing {
                Some(name) => {
                    let names: Vec<_> = published.iter().map(|p| &p.name).collect();
                    Err(failed(format!("reader {name:?} is not among {names:?}")))
                }
                None => Ok(()),
            };
        }
    }

    /// Ends the daemon at once, and returns when it has ended.
    pub(crate) fn kill(&mut self) -> Result<(), TestkitError> {
        if let Some(pid) = self.pid.take() {
            let _ = kill_process(pid, Signal::KILL);
            self.order("end")?;
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), TestkitError> {
        let pid = self.pid.ok_or(TestkitError::DaemonNotRunning)?;
        kill_process(pid, signal).map_err(|e| TestkitError::io("signalling pcscd")(e.into()))
    }

    /// Stops the daemon, and returns once all of its threads have stopped.
    pub(crate) fn pause(&self) -> Result<(), TestkitError> {
        self.signal(Signal::STOP)?;
        let pid = self.pid().ok_or(TestkitError::DaemonNotRunning)?;
        // The signal takes effect thread by thread, without notification.
        while fs::read_dir(format!("/proc/{pid}/task"))
            .map_err(TestkitError::io("reading the threads of pcscd"))?
            .flatten()
            .any(|task| !matches!(state(&task.path().join("stat")), None | Some(b'T')))
        {
            std::thread::yield_now();
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
            .map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    pub(crate) fn log(&self) -> String {
        read_log(&self.dir)
    }

    /// Whether the process exists and is not a zombie.
    fn is_alive(&self) -> bool {
        self.pid().is_some_and(|pid| {
            let state = state(Path::new(&format!("/proc/{pid}/stat")));
            !matches!(state, None | Some(b'Z' | b'X'))
        })
    }

    fn order(&mut self, order: &str) -> Result<String, TestkitError> {
        let sent = match &mut self.orders {
            Some(orders) => orders.write_all(format!("{order}\n").as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.and_then(|()| self.answer()).map_err(TestkitError::io(
            "sending an order to the shell that runs pcscd",
        ))
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = kill_process(pid, Signal::KILL);
        }
        // Its standard input ends, and so does the keeper.
        self.orders = None;
        let _ = self.keeper.wait();
    }
}

/// The state letter in a `stat` file of /proc; `None` if the process is gone.
fn state(stat: &Path) -> Option<u8> {
    // "pid (name) state …"; the name can contain anything.
    let stat = fs::read_to_string(stat).ok()?;
    stat.rsplit_once(") ")?.1.bytes().next()
}

pub(crate) fn read_log(dir: &Path) -> String {
    fs::read(dir.join("log"))
        .map(|log| String::from_utf8_lossy(&log).into_owned())
        .unwrap_or_default()
}

/// The last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Whether `path` is below `/run`, which the namespace covers.
pub(crate) fn is_covered(path: &Path) -> bool {
    let path = path.canonicalize();
    path.is_ok_and(|path| path.starts_with(OsStr::new("/run")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::wait_timeout;

    /// The processes whose command line mentions a directory.
    fn processes_of(dir: &Path) -> Vec<String> {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|cmdline| String::from_utf8_lossy(&cmdline).replace('\0', " "))
            .filter(|cmdline| cmdline.contains(dir.to_str().unwrap()))
            .collect()
    }

    /// A moment that a kill of our process rarely hits: the order to start is
    /// sent, and nobody is left to read the answer.
    #[test]
    fn a_keeper_that_cannot_answer_ends_and_takes_the_daemon_along() {
        let dir = crate::directory::temporary().unwrap();
        for sub in ["run", "conf", "drivers"] {
            fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let installation = Installation::find().unwrap();
        let mut daemon = Daemon::prepare(&installation, dir.path(), false, &[]).unwrap();
        let mut other = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        daemon.answers = BufReader::new(other.stdout.take().unwrap());
        other.wait().unwrap();
        assert_eq!(processes_of(dir.path()).len(), 1);

        // A start removes the files of the last daemon.
        let old_socket = dir.path().join("run/pcscd.comm");
        fs::write(&old_socket, "").unwrap();
        let orders = daemon.orders.as_mut().unwrap();
        orders.write_all(b"start\n").unwrap();
        // Its standard input stays open: it must end anyway.
        let ended = wait_timeout(&mut daemon.keeper, Duration::from_secs(10)).unwrap();
        assert!(ended.is_some(), "the keeper waits for orders");
        assert_eq!(processes_of(dir.path()), [""; 0]);
        assert!(!old_socket.exists(), "the order was not carried out");
    }

    #[test]
    fn the_daemons_description_is_understood() {
        let text = "usb usbdropdir=/usr/lib/pcsc/drivers ipcdir=/run/pcscd\n\
                    MAX_READERNAME: 128, PCSCLITE_MAX_READERS_CONTEXTS: 16\n";
        assert_eq!(after(text, "usbdropdir="), Some("/usr/lib/pcsc/drivers"));
        assert_eq!(max_readers(text), 16);
        assert_eq!(max_readers("MAX_READERNAME: 128\n"), MAX_READERS);
        assert_eq!(after(text, "configdir="), None);
    }

    #[test]
    fn a_tail_is_at_most_twenty_lines() {
        let log: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(tail(&log.join("\n")), log[10..].join("\n"));
        assert_eq!(tail("one\ntwo"), "one\ntwo");
        assert_eq!(tail(""), "");
    }
}
