//! What is said when something is missing or fails, and nothing is made of it but
//! `unwrap`. These tests run copies of themselves with other environments.
#![cfg(target_os = "linux")]

use std::env;
use std::process::{Command, Output};

use scard_testkit::{Driver, ReaderModel, Sandbox, VirtualCard, isolated, isolated_with_peer};

const MARK: &str = "SCARD_TESTKIT_FAILURES";

/// Runs a test of this file with `MARK` set, and returns what came of it.
fn rerun(test: &str, variables: &[(&str, &str)]) -> (bool, String) {
    rerun_by(
        &mut Command::new(env::current_exe().unwrap()),
        test,
        variables,
    )
}

/// The same, where the command begins with another program.
fn rerun_by(command: &mut Command, test: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args([test, "--exact", "--test-threads=1"])
        .env(MARK, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    (status.success(), said.into_owned())
}

fn is_rerun() -> bool {
    env::var_os(MARK).is_some()
}

#[test]
fn start() {
    if is_rerun() {
        Sandbox::builder().start().unwrap();
    }
}

#[track_caller]
fn start_fails(variables: &[(&str, &str)], expected: &[&str]) {
    let (success, said) = rerun("start", variables);
    assert!(!success, "{said}");
    for part in expected {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_sandbox_starts_in_a_rerun() {
    let (success, said) = rerun("start", &[]);
    assert!(success, "{said}");
}

#[test]
fn a_missing_daemon_is_named() {
    start_fails(
        &[("SCARD_TESTKIT_PCSCD", "/nowhere/pcscd")],
        &["/nowhere/pcscd", "apt-get install pcscd"],
    );
}

#[test]
fn a_missing_driver_is_named() {
    start_fails(
        &[
            ("SCARD_TESTKIT_DRIVER", "vpcd"),
            ("SCARD_TESTKIT_VPCD", "/nowhere/libifdvpcd.so"),
        ],
        &["/nowhere/libifdvpcd.so", "apt-get install vsmartcard-vpcd"],
    );
}

#[test]
fn an_unknown_driver_is_named() {
    start_fails(
        &[("SCARD_TESTKIT_DRIVER", "vcpd")],
        &["SCARD_TESTKIT_DRIVER", "vcpd", "kit"],
    );
}

#[test]
fn an_unknown_kind_of_slots_is_named() {
    start_fails(
        &[("SCARD_TESTKIT_SLOTS", "serial")],
        &["SCARD_TESTKIT_SLOTS", "serial", "take-turns"],
    );
}

#[test]
fn start_with_usb() {
    if is_rerun() {
        let builder = Sandbox::builder().driver(Driver::Kit).hot_plug("Reader");
        builder.start().unwrap();
    }
}

#[test]
fn a_missing_umockdev_is_named() {
    let missing = [("SCARD_TESTKIT_UMOCKDEV", "/nowhere/preload.so")];
    let (success, said) = rerun("start_with_usb", &missing);
    assert!(!success, "{said}");
    for part in ["/nowhere/preload.so", "apt-get install umockdev"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_umockdev_that_is_none_is_shown_with_the_log() {
    let wrong = [("SCARD_TESTKIT_UMOCKDEV", "/etc/passwd")];
    let (success, said) = rerun("start_with_usb", &wrong);
    assert!(!success, "{said}");
    for part in ["/etc/passwd", "preload"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_missing_unshare_is_named() {
    start_fails(&[("PATH", "/nowhere")], &["util-linux"]);
}

#[test]
fn refused_namespaces_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let unshare = dir.path().join("unshare");
    std::fs::write(
        &unshare,
        "#!/bin/sh\necho 'not in this house' >&2; exit 1\n",
    )
    .unwrap();
    let chmod = Command::new("chmod").arg("+x").arg(&unshare).status();
    assert!(chmod.unwrap().success());
    let path = format!("{}:{}", dir.path().display(), env::var("PATH").unwrap());
    start_fails(
        &[("PATH", &path)],
        &[
            "not in this house",
            "kernel.apparmor_restrict_unprivileged_userns=0",
            "as root",
        ],
    );
}

#[test]
fn a_loopback_that_is_down_is_explained() {
    // A network of its own has one that is down. Only vpcd needs it.
    let here = env::current_exe().unwrap();
    for (driver, works) in [("vpcd", false), ("kit", true)] {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--net", "--"]).arg(&here);
        let variables = [("SCARD_TESTKIT_DRIVER", driver)];
        let (success, said) = rerun_by(&mut unshare, "start", &variables);
        assert_eq!(success, works, "{said}");
        for part in ["ip link set lo up", "SCARD_TESTKIT_DRIVER=kit"] {
            assert_eq!(said.contains(part), !works, "{said}");
        }
    }
}

#[test]
fn start_at_a_port() {
    if is_rerun() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().saturating_sub(1);
        let model = ReaderModel::new("Reader").port(port);
        let builder = Sandbox::builder().driver(Driver::Vpcd).reader(model);
        builder.start().unwrap();
    }
}

#[test]
fn ports_that_are_taken_are_named() {
    let (success, said) = rerun("start_at_a_port", &[]);
    assert!(!success && said.contains("are not free"), "{said}");
}

#[test]
fn a_paused_daemon() {
    if is_rerun() {
        let timeout = std::time::Duration::from_millis(10);
        let sandbox = Sandbox::builder().timeout(timeout).start().unwrap();
        sandbox.pause().unwrap();
        sandbox.reader(0).insert(VirtualCard::iso()).unwrap();
    }
}

#[test]
fn a_time_out_says_what_it_waited_for_and_what_is_likely_wrong() {
    for driver in ["vpcd", "kit"] {
        let variables = [("SCARD_TESTKIT_DRIVER", driver)];
        let (success, said) = rerun("a_paused_daemon", &variables);
        assert!(!success, "{said}");
        for part in [
            "publish the card in \"Virtual Reader A 00 00\"",
            "it is paused",
        ] {
            assert!(
                said.replace("pcscd is paused", "it is paused")
                    .contains(part),
                "{said}"
            );
        }
    }
}

#[test]
fn a_daemon_that_ends_at_once_is_shown_with_its_log() {
    // Something that is no daemon.
    let dir = tempfile::tempdir().unwrap();
    let pcscd = dir.path().join("pcscd");
    std::fs::write(&pcscd, "#!/bin/sh\necho 'these are my last words'\n").unwrap();
    let chmod = Command::new("chmod").arg("+x").arg(&pcscd).status();
    assert!(chmod.unwrap().success());
    start_fails(
        &[("SCARD_TESTKIT_PCSCD", pcscd.to_str().unwrap())],
        &["it ended immediately", "these are my last words"],
    );
}

#[test]
fn a_driver_that_is_none_is_shown_with_the_log() {
    start_fails(
        &[
            ("SCARD_TESTKIT_DRIVER", "vpcd"),
            ("SCARD_TESTKIT_VPCD", "/etc/passwd"),
        ],
        &["pcscd did not start", "is not among", "invalid ELF header"],
    );
}

#[test]
fn body_panics() {
    if is_rerun() {
        isolated(|| panic!("words of the body"));
    }
}

#[test]
fn peer_panics() {
    if is_rerun() {
        isolated_with_peer(
            |peers| {
                let peer = peers.spawn();
                peer.wait();
            },
            |_| panic!("words of the peer"),
        );
    }
}

#[test]
fn peer_panics_instead_of_sending() {
    if is_rerun() {
        isolated_with_peer(
            |peers| {
                peers.spawn().recv();
            },
            |_| panic!("words of the peer"),
        );
    }
}

#[test]
fn peer_panics_unnoticed() {
    if is_rerun() {
        isolated_with_peer(
            |peers| {
                let peer = peers.spawn();
                while std::fs::read(format!("/proc/{}/cmdline", peer.pid()))
                    .is_ok_and(|cmdline| !cmdline.is_empty())
                {
                    std::thread::yield_now();
                }
            },
            |_| panic!("words of the peer"),
        );
    }
}

#[test]
fn panics_surface() {
    let (success, said) = rerun("body_panics", &[]);
    assert!(!success && said.contains("words of the body"), "{said}");
    for test in [
        "peer_panics",
        "peer_panics_instead_of_sending",
        "peer_panics_unnoticed",
    ] {
        let (success, said) = rerun(test, &[]);
        assert!(
            !success && said.contains("words of the peer"),
            "{test}: {said}"
        );
    }
}
