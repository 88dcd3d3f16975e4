//! Processes that end, stop, fork or start another program.

use super::*;

/// Ways in which a process can end.
const ENDS: [(&str, fn()); 7] = [
    ("returns", || {}),
    ("exit", || std::process::exit(0)),
    // SAFETY: ends this process.
    ("_exit", || unsafe { libc::_exit(0) }),
    ("abort", || std::process::abort()),
    ("signal", || raise(libc::SIGTERM)),
    ("killed", || raise(libc::SIGKILL)),
    ("exec", || panic!("{}", Command::new("true").exec())),
];

fn raise(signal: libc::c_int) {
    // SAFETY: a signal to this process, which has no handler for it.
    unsafe { libc::raise(signal) };
}

fn signal(process: u32, signal: libc::c_int) {
    let process = libc::pid_t::try_from(process).unwrap();
    // SAFETY: to a process that this test has started and nobody has waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

fn wait_for(process: libc::pid_t, options: libc::c_int) -> libc::c_int {
    let mut status = 0;
    // SAFETY: waits for our own child; the output outlives the call.
    let changed = unsafe { libc::waitpid(process, &mut status, options) };
    assert_eq!(changed, process);
    status
}

/// Forks a process with only this thread, and everything that is open.
fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the child waits for no other thread.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0, "fork failed");
            child
        }
    }
}

fn end_by(name: &str) {
    let (_, end) = ENDS.iter().find(|(known, _)| *known == name).unwrap();
    end();
}

/// The other program, which holds the card and follows orders.
fn program(link: &mut Link) {
    let reader = ReaderName::new(link.recv()).unwrap();
    let hold = Hold::named(&link.recv());
    let context = Context::establish().unwrap();
    let mut card = context.connect(&reader, hold.options()).unwrap();
    hold.take(&mut card);
    let mut own = Some((card, context));
    link.send("done");
    loop {
        let order = link.recv();
        let (what, how) = order.split_once(' ').unwrap_or((&order, ""));
        match what {
            "end" => {
                mem::forget(own);
                return end_by(how);
            }
            "drop" => return,
            "transmit" => {
                let (card, _) = own.as_mut().unwrap();
                let command = if how == "slow" { SLOW } else { COMMAND };
                assert_eq!(card.transmit(command).unwrap(), OK);
            }
            // A child that ends in one of these ways, or drops its copies first.
            "fork" => {
                let child = fork(|| match how {
                    "drops" => drop(own.take()),
                    _ => end_by(how),
                });
                wait_for(child, 0);
            }
            "stay" => {
                let child = fork(|| {
                    loop {
                        // SAFETY: no pointers. In the end the alarm ends a process that the test
                        // has forgotten.
                        unsafe { libc::alarm(60) };
                        // SAFETY: as above.
                        unsafe { libc::pause() };
                    }
                });
                link.send(&child.to_string());
                continue;
            }
            "start" => {
                // It outlives this process.
                #[allow(clippy::zombie_processes)]
                let child = Command::new("sleep").arg("60").spawn().unwrap();
                link.send(&child.id().to_string());
                continue;
            }
            other => panic!("{other}?"),
        }
        link.send("done");
    }
}

/// Starts the other program, which holds the card.
#[track_caller]
fn start<'a>(peers: &Peers, fixture: &'a Fixture, hold: Hold) -> (Peer, Others<'a>) {
    let mut others = Others::beside(fixture, hold);
    let peer = peers.spawn();
    peer.send(&fixture.reader.to_string());
    peer.send(&format!("{hold:?}"));
    assert_eq!(peer.recv(), "done");
    others.note();
    others.are_kept_out();
    (peer, others)
}

fn assert_process_ends(hold: Hold) {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for (name, _) in ENDS {
                println!("{name}");
                let (peer, others) = start(peers, &fixture, hold);
                peer.send(&format!("end {name}"));
                others.see(hold.outcome_without_end());
                // It has ended by itself.
                peer.kill();
            }
        },
        program,
    );
}

#[test]
fn a_process_that_ends_leaves_a_shared_card() {
    assert_process_ends(Shared);
}

#[test]
fn a_process_that_ends_in_a_transaction_has_its_card_reset() {
    assert_process_ends(InTransaction);
}

#[test]
fn calls_that_wait_for_a_transaction_learn_of_the_reset_by_its_end() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            let calls: [fn(&mut Card) -> Result<()>; 3] = [
                |card| card.transmit(COMMAND).map(drop),
                |card| card.status().map(drop),
                |card| card.transaction().map(drop),
            ];
            let cards = calls.map(|call| (call, fixture.connect()));
            let (peer, _) = start(peers, &fixture, InTransaction);
            let waiting = cards.map(|(call, mut card)| in_background(move || call(&mut card)));
            waiting.iter().for_each(assert_blocked);
            peer.kill();
            for call in &waiting {
                let error = finish(call).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::CardReset, "{error}");
            }
        },
        program,
    );
}

#[test]
fn a_process_that_ends_with_exclusive_access_has_its_card_reset() {
    assert_process_ends(Exclusive);
}

#[test]
fn a_process_that_is_killed_in_a_command_has_it_run_to_its_end() {
    isolated_with_peer(
        |peers| {
            let fixture = slow_fixture();
            for hold in HOLDS {
                let (peer, others) = start(peers, &fixture, hold);
                let commands = fixture.card.commands();
                peer.send("transmit slow");
                fixture.card.wait_for_commands(commands + 1, SOON).unwrap();
                peer.kill();
                others.see(hold.outcome_without_end());
                assert_answered(&fixture);
            }
        },
        program,
    );
}

#[test]
fn what_is_forgotten_goes_on() {
    // Each in its own process.
    for hold in [InTransaction, Exclusive] {
        isolated(|| {
            let fixture = fixture();
            let mut others = Others::beside(&fixture, hold);
            let mut card = fixture.try_connect(hold.options()).unwrap();
            hold.take(&mut card);
            mem::forget(card);
            others.are_kept_out();
        });
    }
}

#[test]
fn a_stopped_process_holds_what_it_holds() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, mut others) = start(peers, &fixture, hold);
                let process = libc::pid_t::try_from(peer.pid()).unwrap();
                signal(peer.pid(), libc::SIGSTOP);
                assert!(libc::WIFSTOPPED(wait_for(process, libc::WUNTRACED)));
                others.are_kept_out();
                signal(peer.pid(), libc::SIGCONT);
                peer.send("transmit");
                assert_eq!(peer.recv(), "done");
                peer.send("drop");
                others.see(Left);
                peer.wait();
            }
        },
        program,
    );
}

#[test]
fn a_forked_child_that_ends_or_drops_its_copies_changes_nothing() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, mut others) = start(peers, &fixture, hold);
                let ends = ENDS.map(|(name, _)| name);
                for how in ends.into_iter().chain(["drops"]) {
                    println!("{how}");
                    for order in [&format!("fork {how}"), "transmit"] {
                        peer.send(order);
                        assert_eq!(peer.recv(), "done");
                    }
                    others.are_kept_out();
                }
                peer.send("drop");
                others.see(Left);
                peer.wait();
            }
        },
        program,
    );
}

#[test]
fn a_forked_child_keeps_the_connection_when_its_parent_has_ended() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, mut others) = start(peers, &fixture, hold);
                peer.send("stay");
                let child = peer.recv().parse().unwrap();
                peer.send("end _exit");
                peer.wait();
                others.are_kept_out();
                signal(child, libc::SIGKILL);
                others.see(hold.outcome_without_end());
            }
        },
        program,
    );
}

#[test]
fn a_program_that_was_started_does_not_keep_the_connection() {
    isolated_with_peer(
        |peers| {
            let fixture = fixture();
            for hold in HOLDS {
                let (peer, others) = start(peers, &fixture, hold);
                peer.send("start");
                let started = peer.recv().parse().unwrap();
                peer.send("end _exit");
                others.see(hold.outcome_without_end());
                signal(started, libc::SIGKILL);
            }
        },
        program,
    );
}
