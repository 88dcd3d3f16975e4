//! Tests in separate processes.

use std::any::type_name;
use std::cell::Cell;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::daemon::{read_log, tail};
use crate::directory::{socket_in, temporary};
use crate::peer::{Link, Peers};
use crate::process::{describe, end_with_parent, wait_timeout};
use crate::sandbox::SOCKET_VARIABLE;

/// The directory of the process's default sandbox.
pub(crate) const DIR_VARIABLE: &str = "SCARD_TESTKIT_DIR";
/// The socket by which a peer reaches its test: marks the process as a peer.
pub(crate) const PEER_VARIABLE: &str = "SCARD_TESTKIT_PEER";
/// The test that the process should run: marks the process as isolated.
const TEST_VARIABLE: &str = "SCARD_TESTKIT_TEST";
/// The number of the call of `isolated` in the test that the process is for.
const CALL_VARIABLE: &str = "SCARD_TESTKIT_CALL";
/// The limit for an isolated test, in seconds.
const TIMEOUT_VARIABLE: &str = "SCARD_TESTKIT_TIMEOUT";

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Written when the body has completed.
const MARKER: &str = "finished";
/// The file with the process's standard output and error.
const OUTPUT: &str = "output";

/// Runs the body of a test in a separate process, so that the PC/SC library of
/// that process can be connected to its own [`Sandbox`](crate::Sandbox).
///
/// The PC/SC client library decides once per process which daemon it talks to;
/// tests that share a process would share a daemon. So this runs the test's
/// executable again for this one test, with `PCSCLITE_CSOCK_NAME` set, and calls
/// the body there. The library finds the first sandbox that the body starts
/// ([`Sandbox::is_default`](crate::Sandbox::is_default)). Works with `cargo test`,
/// with any number of threads, and with `cargo nextest`.
///
/// ```no_run
/// use scard_testkit::{Sandbox, VirtualCard, isolated};
///
/// #[test]
/// # fn hidden() {}
/// fn my_application_survives_a_reset() {
///     isolated(|| {
///         let sandbox = Sandbox::builder().card(0, VirtualCard::iso()).start().unwrap();
///         // PC/SC calls in here talk to `sandbox`.
///     });
/// }
/// # my_application_survives_a_reset();
/// ```
///
/// Call it from the test's own thread. A test may call it several times; each
/// call gets its own process. Code outside the calls runs in all of them.
///
/// # Panics
/// If the body panics, with the output of the process; if it takes longer than
/// 60 seconds, or the number of seconds in the environment variable
/// `SCARD_TESTKIT_TIMEOUT`; and if it did not run at all.
#[track_caller]
pub fn isolated<F: FnOnce()>(test: F) {
    match Role::of::<F>() {
        Role::Parent { test, call } => run_child(&test, call),
        Role::Other => {}
        Role::Child { dir, .. } => {
            end_with_parent();
            test();
            finished(&dir);
        }
    }
}

/// Like [`isolated`], with further processes: `peer` runs in a separate process
/// each time the test calls [`Peers::spawn`]. Its PC/SC library talks to the
/// test's sandbox.
///
/// ```no_run
/// use scard_testkit::{Sandbox, VirtualCard, isolated_with_peer};
///
/// #[test]
/// # fn hidden() {}
/// fn a_dying_program_releases_its_card() {
///     isolated_with_peer(
///         |peers| {
///             let sandbox = Sandbox::builder().card(0, VirtualCard::iso()).start().unwrap();
///             let peer = peers.spawn();
///             assert_eq!(peer.recv(), "connected");
///             peer.kill();
///             // The card is free again.
///         },
///         |link| {
///             // Connect to the card exclusively, then say so:
///             link.send("connected");
///             link.recv(); // waits until it is killed
///         },
///     );
/// }
/// # a_dying_program_releases_its_card();
/// ```
///
/// # Panics
/// The same as for [`isolated`], and if a peer panics, with its output.
#[track_caller]
pub fn isolated_with_peer<T, P>(test: T, peer: P)
where
    T: FnOnce(&Peers),
    P: FnOnce(&mut Link),
{
    match Role::of::<T>() {
        Role::Parent { test, call } => run_child(&test, call),
        Role::Other => {}
        Role::Child {
            dir,
            test: name,
            call,
        } => {
            end_with_parent();
            if let Some(socket) = env::var_os(PEER_VARIABLE) {
                peer(&mut Link::to_test(Path::new(&socket)));
                return;
            }
            let peers = Peers::new(name, call, dir.clone());
            test(&peers);
            peers.finish();
            finished(&dir);
        }
    }
}

/// The role of this process for the current call of `isolated`.
enum Role {
    /// The one that runs all tests.
    Parent { test: String, call: usize },
    /// The process for this call.
    Child {
        test: String,
        call: usize,
        dir: PathBuf,
    },
    /// The process for another call in the same test.
    Other,
}

impl Role {
    fn of<F>() -> Self {
        thread_local!(static CALLS: Cell<usize> = const { Cell::new(0) });
        let call = CALLS.get();
        CALLS.set(call + 1);

        let (Ok(test), Some(dir)) = (env::var(TEST_VARIABLE), env::var_os(DIR_VARIABLE)) else {
            return Self::Parent {
                test: test_name::<F>(),
                call,
            };
        };
        let wanted = env::var(CALL_VARIABLE).ok().and_then(|c| c.parse().ok());
        if wanted == Some(call) {
            Self::Child {
                test,
                call,
                dir: dir.into(),
            }
        } else {
            Self::Other
        }
    }
}

/// The current test's name in the test harness: the name of the thread, or, if the
/// test runs on the main thread, the one in the closure's type.
fn test_name<F>() -> String {
    match thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => name_of_type(type_name::<F>()),
    }
}

fn name_of_type(mut name: &str) -> String {
    while let Some(outer) = name.strip_suffix("::{{closure}}") {
        name = outer;
    }
    name.split_once("::").map_or(name, |(_, path)| path).into()
}

/// The command that runs one test of this executable again.
pub(crate) fn run_again(
    test: &str,
    call: usize,
    dir: &Path,
    output: &Path,
) -> std::io::Result<Command> {
    let out = File::create(output)?;
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(test)
        .args(["--exact", "--include-ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(TEST_VARIABLE, test)
        .env(CALL_VARIABLE, call.to_string())
        .env(DIR_VARIABLE, dir)
        .stdin(Stdio::piped())
        .stderr(out.try_clone()?)
        .stdout(out);
    Ok(command)
}

/// Reads the output of a process.
pub(crate) fn read_output(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[track_caller]
fn run_child(test: &str, call: usize) {
    let limit = env::var(TIMEOUT_VARIABLE)
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    match attempt(test, call, limit) {
        // The harness shows it if the test fails later, or on request.
        Ok(output) => print!("{output}"),
        Err(failure) => panic!("{failure}"),
    }
}

/// Runs a test in a separate process, and returns its output, or a description
/// of the failure.
fn attempt(test: &str, call: usize, limit: Duration) -> Result<String, String> {
    let dir = temporary().map_err(|e| e.to_string())?;
    let path = dir.path().to_owned();
    let result = attempt_in(&path, test, call, limit);
    // A daemon whose test was killed may take a moment to end.
    let started = Instant::now();
    while fs::remove_dir_all(&path).is_err() && started.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(5));
    }
    result
}

fn attempt_in(dir: &Path, test: &str, call: usize, limit: Duration) -> Result<String, String> {
    let socket = socket_in(dir).map_err(|e| e.to_string())?;
    let output = dir.join(OUTPUT);
    let mut child = run_again(test, call, dir, &output)
        .and_then(|mut command| command.env(SOCKET_VARIABLE, socket).spawn())
        .map_err(|e| format!("{test}: its own process could not be started: {e}"))?;
    let status = wait_timeout(&mut child, limit)
        .map_err(|e| format!("{test}: waiting for its process failed: {e}"))?;
    let Some(status) = status else {
        end(&mut child);
        return Err(format!(
            "{test} did not end within {limit:?} (set {TIMEOUT_VARIABLE} to change the limit)\n\
             --- its output ---\n{}\n--- end of the daemon's log ---\n{}",
            read_output(&output),
            tail(&read_log(dir)),
        ));
    };
    let said = read_output(&output);
    if !status.success() {
        return Err(format!(
            "{test} failed in its own process ({})\n--- its output ---\n{said}",
            describe(status)
        ));
    }
    if !dir.join(MARKER).exists() {
        return Err(format!(
            "the body of {test:?} did not run in its own process: there is no test of that name, \
             or it does not get to `isolated` there; call `isolated` directly in the test \
             function\n--- its output ---\n{said}"
        ));
    }
    Ok(said)
}

/// Kills a process and waits for its end.
pub(crate) fn end(child: &mut Child) -> Option<ExitStatus> {
    let _ = child.kill();
    child.wait().ok()
}

fn finished(dir: &Path) {
    fs::write(dir.join(MARKER), "").expect("a file in the sandbox's directory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tests_are_derived_from_closures() {
        for (of_type, name) in [
            ("my_crate::my_test::{{closure}}", "my_test"),
            (
                "my_crate::a::b::my_test::{{closure}}::{{closure}}",
                "a::b::my_test",
            ),
            ("my_crate::my_test", "my_test"),
        ] {
            assert_eq!(name_of_type(of_type), name);
        }
        let here = || {};
        fn of<F>(_: &F) -> (String, String) {
            (name_of_type(type_name::<F>()), test_name::<F>())
        }
        let expected = "isolate::tests::names_of_tests_are_derived_from_closures";
        assert_eq!(of(&here).0, expected);
        assert_eq!(of(&here).1, expected);
    }

    #[test]
    fn a_body_that_never_ran_is_noticed() {
        let failure = attempt("no::such::test", 0, DEFAULT_TIMEOUT).unwrap_err();
        assert!(failure.contains("did not run"), "{failure}");
    }

    #[test]
    fn each_call_in_a_test_is_for_its_own_process() {
        // The third call does not exist.
        let test = "isolate::tests::two_calls";
        assert!(attempt(test, 0, DEFAULT_TIMEOUT).is_ok());
        assert!(attempt(test, 1, DEFAULT_TIMEOUT).is_ok());
        let failure = attempt(test, 2, DEFAULT_TIMEOUT).unwrap_err();
        assert!(failure.contains("did not run"), "{failure}");
    }

    #[test]
    fn two_calls() {
        let mut ran = Vec::new();
        isolated(|| ran.push(1));
        isolated(|| ran.push(2));
        assert!(ran.len() <= 1, "{ran:?}");
    }

    #[test]
    fn hangs() {
        if env::var_os(TEST_VARIABLE).is_none() {
            return; // for the test below
        }
        isolated(|| {
            println!("about to hang");
            loop {
                thread::park();
            }
        });
    }

    #[test]
    fn panics() {
        if env::var_os(TEST_VARIABLE).is_none() {
            return; // for the test below
        }
        isolated(|| panic!("on {}", "purpose"));
    }

    #[test]
    fn a_hanging_body_is_ended() {
        // Long enough for the process to get there.
        let failure = attempt("isolate::tests::hangs", 0, Duration::from_secs(4)).unwrap_err();
        assert!(failure.contains("did not end within 4s"), "{failure}");
        assert!(failure.contains("about to hang"), "{failure}");
    }

    #[test]
    fn a_panic_surfaces_with_the_output() {
        let failure = attempt("isolate::tests::panics", 0, DEFAULT_TIMEOUT).unwrap_err();
        assert!(failure.contains("failed in its own process"), "{failure}");
        assert!(failure.contains("on purpose"), "{failure}");
    }
}
