//! The daemon's life, its limits, and what is left behind: nothing.
#![cfg(target_os = "linux")]

mod common;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{SELECT, connect, context, sees_card, transmit};
use pcsc::Error;
use scard_testkit::{CardHandle, Sandbox, TestkitError, VirtualCard, isolated, isolated_with_peer};

fn sees_readers(context: &pcsc::Context) -> Vec<String> {
    context
        .list_readers_owned()
        .expect("readers")
        .into_iter()
        .map(|name| name.into_string().expect("UTF-8"))
        .collect()
}

/// The running `pcscd` processes that have something to do with a directory.
fn daemons_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("UTF-8");
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|cmdline| String::from_utf8_lossy(&cmdline).replace('\0', " "))
        .filter(|cmdline| cmdline.contains(dir))
        .collect()
}

fn dir_of(sandbox: &Sandbox) -> PathBuf {
    let dir = sandbox.socket_path().parent().and_then(Path::parent);
    dir.expect("the sandbox's directory").to_owned()
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_readers_are_those_asked_for() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .reader("ACS ACR122U")
            .reader("Gemalto PC Twin Reader")
            .readers(5)
            .start()
            .unwrap();
        let names: Vec<_> = sandbox.readers().iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), 6);
        assert_eq!(sees_readers(&context()), names);
    });
}

#[test]
fn many_readers_with_cards() {
    isolated(|| {
        let count = Sandbox::max_readers().unwrap().min(20);
        let mut builder = Sandbox::builder().readers(count);
        for index in 0..count {
            builder = builder.card(index, VirtualCard::iso());
        }
        let start = Instant::now();
        let sandbox = builder.start().unwrap();
        println!("{count} readers with cards: {:?}", start.elapsed());
        let context = context();
        assert_eq!(sees_readers(&context).len(), count);
        for reader in sandbox.readers() {
            assert!(sees_card(&context, reader), "{}", reader.name());
            let client = connect(&context, reader).unwrap();
            transmit(&client, SELECT).unwrap();
        }
    });
}

#[test]
fn more_readers_than_the_daemon_has_are_refused() {
    let max = Sandbox::max_readers().unwrap();
    // Names for the last of these would not fit into any memory.
    for count in [max + 1, 100_000, usize::MAX - 1, usize::MAX] {
        match Sandbox::builder().readers(count).start().unwrap_err() {
            TestkitError::TooManyReaders { wanted, limit } => {
                assert_eq!(wanted, count.saturating_add(count % 2));
                assert_eq!(limit, max);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn cards_for_readers_that_are_not_there_are_refused() {
    let error = Sandbox::builder()
        .card(2, VirtualCard::iso())
        .start()
        .unwrap_err();
    assert!(
        matches!(
            error,
            TestkitError::NoSuchReader {
                index: 2,
                readers: 2
            }
        ),
        "{error}"
    );
}

#[test]
fn a_restarted_daemon_is_at_the_same_place_with_the_same_cards() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .card(0, VirtualCard::iso())
            .start()
            .unwrap();
        let card = sandbox.reader(0).card().unwrap();
        let old_pid = sandbox.pid().unwrap();
        for _ in 0..3 {
            let before = context();
            let client = connect(&before, sandbox.reader(0)).unwrap();
            transmit(&client, SELECT).unwrap();
            sandbox.kill().unwrap();
            assert_eq!(sandbox.pid(), None);
            sandbox.kill().unwrap();
            assert!(transmit(&client, SELECT).is_err());
            assert!(matches!(
                sandbox.reader(1).insert(VirtualCard::iso()),
                Err(TestkitError::DaemonNotRunning)
            ));
            assert!(matches!(
                sandbox.pause(),
                Err(TestkitError::DaemonNotRunning)
            ));
            sandbox.reader(1).remove().unwrap();

            sandbox.restart().unwrap();
            let after = context();
            assert!(sees_card(&after, sandbox.reader(0)));
            assert!(!sees_card(&after, sandbox.reader(1)));
            let client = connect(&after, sandbox.reader(0)).unwrap();
            transmit(&client, SELECT).unwrap();
        }
        assert_ne!(sandbox.pid(), Some(old_pid));
        assert_eq!(card.commands(), 6);
        // Without a kill before it.
        sandbox.restart().unwrap();
        assert!(sees_card(&context(), sandbox.reader(0)));
        assert!(
            daemons_of(&dir_of(&sandbox)).len() <= 2,
            "an old daemon runs"
        );
    });
}

#[test]
fn a_card_inserted_while_there_is_no_daemon_comes_with_the_next() {
    isolated(|| {
        let sandbox = Sandbox::builder().start().unwrap();
        sandbox.kill().unwrap();
        sandbox.reader(0).insert_now(VirtualCard::iso()).unwrap();
        sandbox.restart().unwrap();
        assert!(sees_card(&context(), sandbox.reader(0)));
    });
}

#[test]
fn a_paused_daemon_does_nothing_until_it_is_resumed() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            // Long enough for what should succeed.
            .timeout(Duration::from_secs(4))
            .card(0, VirtualCard::iso())
            .start()
            .unwrap();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        sandbox.pause().unwrap();
        let error = sandbox.reader(1).insert(VirtualCard::iso()).unwrap_err();
        assert!(matches!(error, TestkitError::Timeout { .. }), "{error}");
        thread::scope(|scope| {
            let exchange = scope.spawn(|| transmit(&client, SELECT));
            thread::sleep(Duration::from_millis(100));
            assert!(!exchange.is_finished());
            sandbox.resume().unwrap();
            assert!(exchange.join().unwrap().is_ok());
        });
        sandbox.reader(1).wait_until_published().unwrap();
        assert!(sees_card(&context, sandbox.reader(1)));
    });
}

#[test]
fn a_daemon_that_was_killed_from_outside_can_be_restarted() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .card(0, VirtualCard::iso())
            .start()
            .unwrap();
        let pid = sandbox.pid().unwrap();
        let status = Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        sandbox.restart().unwrap();
        assert!(sees_card(&context(), sandbox.reader(0)));
    });
}

/// The mount namespace of a process. Holding it open keeps its number from
/// being given to another.
struct MountNamespace {
    number: u64,
    _open: fs::File,
}

impl MountNamespace {
    fn of(pid: u32) -> Self {
        let open = fs::File::open(format!("/proc/{pid}/ns/mnt")).expect("a namespace");
        let number = open.metadata().expect("its number").ino();
        Self {
            number,
            _open: open,
        }
    }

    /// The processes in it.
    fn processes(&self) -> Vec<PathBuf> {
        fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .map(|entry| entry.path())
            .filter(|process| {
                fs::metadata(process.join("ns/mnt")).is_ok_and(|ns| ns.ino() == self.number)
            })
            .collect()
    }
}

/// Whether a process has a part of a directory mounted at `/run/pcscd`.
fn has_mounted(pid: u32, dir: &Path) -> bool {
    let run = Path::new(dir.file_name().expect("a name")).join("run");
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("mounts");
    mounts.lines().any(|mount| {
        // Number, parent, device, path within the file system, mount point.
        let fields: Vec<&str> = mount.split(' ').collect();
        Path::new(fields[3]).ends_with(&run) && fields[4] == "/run/pcscd"
    })
}

#[test]
fn twenty_sandboxes_leave_nothing_behind() {
    let dirs: Vec<PathBuf> = thread::scope(|scope| {
        let workers: Vec<_> = (0..5)
            .map(|_| {
                scope.spawn(|| {
                    (0..4)
                        .map(|_| {
                            let sandbox = Sandbox::builder()
                                .readers(4)
                                .card(3, VirtualCard::iso())
                                .start()
                                .unwrap();
                            let dir = dir_of(&sandbox);
                            assert!(!sandbox.is_default());
                            assert_eq!(daemons_of(&dir).len(), 2);
                            let pid = sandbox.pid().unwrap();
                            assert!(has_mounted(pid, &dir));
                            assert!(!has_mounted(process::id(), &dir));
                            let namespace = MountNamespace::of(pid);
                            // The daemon and the shell around it.
                            assert_eq!(namespace.processes().len(), 2);
                            let card = sandbox.reader(3).card().unwrap();
                            let start = Instant::now();
                            drop(sandbox);
                            println!("ended in {:?}", start.elapsed());
                            assert_eq!(namespace.processes(), Vec::<PathBuf>::new());
                            assert!(!card.is_inserted());
                            dir
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert_eq!(dirs.len(), 20);
    for dir in dirs {
        assert_eq!(daemons_of(&dir), [""; 0]);
        assert!(!dir.exists());
    }
}

#[test]
fn sandboxes_do_not_see_each_other() {
    isolated(|| {
        let first = Sandbox::builder().reader("First").start().unwrap();
        let second = Sandbox::builder().reader("Second").start().unwrap();
        assert!(first.is_default() && !second.is_default());
        assert_eq!(sees_readers(&context()), ["First 00 00", "First 00 01"]);
        drop(first);
        // The place is free again for the next.
        let third = Sandbox::builder().reader("Third").start().unwrap();
        assert!(third.is_default());
        assert_eq!(sees_readers(&context()), ["Third 00 00", "Third 00 01"]);
    });
}

#[test]
fn a_killed_process_leaves_no_daemon() {
    isolated_with_peer(
        |peers| {
            let peer = peers.spawn();
            let dir = PathBuf::from(peer.recv());
            assert_eq!(daemons_of(&dir).len(), 2);
            peer.kill();
            eventually("a daemon outlives its test", || daemons_of(&dir).is_empty());
            fs::remove_dir_all(dir).unwrap();
        },
        |link| {
            let sandbox = Sandbox::builder()
                .card(0, VirtualCard::iso())
                .start()
                .unwrap();
            link.send(dir_of(&sandbox).to_str().unwrap());
            link.recv();
        },
    );
}

/// The kernel hangs up on the stopped daemon's process group when it is left
/// alone.
#[test]
fn a_killed_process_leaves_no_paused_daemon() {
    isolated_with_peer(
        |peers| {
            let peer = peers.spawn();
            let dir = PathBuf::from(peer.recv());
            assert_eq!(daemons_of(&dir).len(), 2);
            peer.kill();
            eventually("a paused daemon outlives its test", || {
                daemons_of(&dir).is_empty()
            });
            fs::remove_dir_all(dir).unwrap();
        },
        |link| {
            let sandbox = Sandbox::builder().start().unwrap();
            sandbox.pause().unwrap();
            link.send(dir_of(&sandbox).to_str().unwrap());
            link.recv();
        },
    );
}

/// Marks the process that `a_process_killed_at_any_moment_leaves_no_daemon`
/// kills.
const VICTIM: &str = "SCARD_TESTKIT_VICTIM";

#[test]
fn victim() {
    if env::var_os(VICTIM).is_none() {
        return; // for the test below
    }
    let start = || Sandbox::builder().card(0, VirtualCard::iso()).start();
    drop(start().unwrap());
    io::stdout().write_all(b"going\n").unwrap();
    loop {
        drop(start().unwrap());
    }
}

#[test]
fn a_process_killed_at_any_moment_leaves_no_daemon() {
    let temporary = tempfile::tempdir().unwrap();
    for delay in 0..40 {
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["victim", "--exact", "--test-threads=1", "--nocapture"])
            .env(VICTIM, "1")
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        assert!(
            lines
                .map_while(Result::ok)
                .any(|line| line.ends_with("going"))
        );
        thread::sleep(Duration::from_millis(delay));
        victim.kill().unwrap();
        assert!(!victim.wait().unwrap().success());
        eventually("a daemon outlives its process", || {
            daemons_of(temporary.path()).is_empty()
        });
    }
    let started = fs::read_dir(temporary.path()).unwrap().count();
    println!("{started} of 40 processes were killed with a sandbox");
    assert!(started > 0, "no process was killed with a sandbox");
    assert_eq!(daemons_of(temporary.path()), [""; 0]);
}

#[test]
fn peers_reach_the_tests_sandbox() {
    isolated_with_peer(
        |peers| {
            let card = CardHandle::from(VirtualCard::iso());
            let sandbox = Sandbox::builder().card(0, &card).start().unwrap();
            let peers = [peers.spawn(), peers.spawn()];
            for peer in &peers {
                assert_ne!(peer.pid(), std::process::id());
                peer.send(sandbox.reader(0).name());
                assert_eq!(peer.recv(), "[90, 00]");
            }
            peers[0].wait();
            peers[1].kill();
            assert_eq!(card.commands(), 2);
        },
        |link| {
            let reader = std::ffi::CString::new(link.recv()).unwrap();
            let context = context();
            let client = context
                .connect(&reader, pcsc::ShareMode::Shared, pcsc::Protocols::ANY)
                .unwrap();
            let answer = transmit(&client, SELECT).unwrap();
            // Resets the card: not later, under the other peer.
            drop(client);
            link.send(&format!("{:02x?}", &answer[answer.len() - 2..]));
        },
    );
}

#[test]
fn without_a_sandbox_there_is_no_service() {
    isolated(|| {
        let error = pcsc::Context::establish(pcsc::Scope::User).err();
        assert_eq!(error, Some(Error::NoService));
    });
}

#[test]
fn the_log_tells_what_the_daemon_did() {
    let sandbox = Sandbox::builder().debug_log(true).start().unwrap();
    assert!(sandbox.daemon_log().contains("pcscdaemon.c"));
}
