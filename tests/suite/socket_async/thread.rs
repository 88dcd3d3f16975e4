//! When the thread of the futures wakes up, and what it watches.

use scard::{AsyncControl, ControlCode};

use super::disturbed::occupy;
use super::*;
use crate::support::usage::threads;

/// A line of the thread's status.
fn status(name: &str) -> String {
    let mut threads = threads().into_iter();
    let (id, _) = threads.find(|(_, name)| name == "scard futures").unwrap();
    let status = std::fs::read_to_string(format!("/proc/self/task/{id}/status")).unwrap();
    let mut fields = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(it, _)| *it == name).unwrap();
    value.trim().to_owned()
}

/// How often the thread has waited, as soon as it waits again. What wakes it up makes it runnable at
/// once.
fn waits() -> u64 {
    wait_until("the thread waits", || status("State").starts_with('S'));
    status("voluntary_ctxt_switches").parse().unwrap()
}

fn connect(service: &Service, number: usize) -> AsyncCard {
    let context = AsyncContext::from(context_at(service.socket_path()));
    block_on(context.connect(name(number), ConnectOptions::new())).unwrap()
}

#[test]
fn a_command_is_sent_although_the_thread_is_busy() {
    isolated(|| {
        let service = service_with(2);
        let (mut card, mut other) = (connect(&service, 0), connect(&service, 1));
        let gate = stop(&service, |request| request.message == Message::Control);
        let mut busy = Box::pin(other.control(ControlCode::from_raw(1), &[]));
        let release = occupy(busy.as_mut(), &service, &gate);
        let mut call = Box::pin(card.transmit(COMMAND));
        begin(call.as_mut());
        service.wait_for(Message::Transmit, 1, SOON).unwrap();
        drop(release);
        assert_eq!(block_on(call).unwrap().len(), COMMAND.len() + OK.len());
        block_on(busy).unwrap();
    });
}

#[test]
fn a_call_wakes_the_thread_only_with_its_answer() {
    isolated(|| {
        let service = service_with(1);
        let mut card = connect(&service, 0);
        block_on(works(&mut card));
        let gate = stop(&service, |request| request.message == Message::Transmit);
        let before = waits();
        let mut call = Box::pin(card.transmit(COMMAND));
        begin(call.as_mut());
        gate.wait_for(1, SOON).unwrap();
        assert_eq!(waits(), before);
        gate.open();
        block_on(call).unwrap();
        assert!(waits() > before);
    });
}

/// The connection of a card without a call stays readable. A thread that is kept busy never ends.
#[test]
fn a_daemon_that_hangs_up_does_not_keep_the_thread_busy() {
    isolated(|| {
        let service = service_with(1);
        let mut card = connect(&service, 0);
        block_on(works(&mut card));
        drop(service);
        wait_until("the thread ends", || own_threads().is_empty());
        let error = block_on(card.transmit(COMMAND)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ServiceGone);
    });
}
