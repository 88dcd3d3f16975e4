//! Connections to the daemon that are kept for the next card.
#![cfg(all(target_os = "linux", feature = "socket"))]

use std::time::Duration;

use scard::{
    ConnectOptions, Context, ContextOptions, Disposition, Error, ErrorKind, MonitorOptions,
    ShareMode,
};
use scard_testkit::Sandbox;
use scard_testkit::fake::{Answer, Gate, Message, Reader, Service};

use crate::support::*;

const NAME: &str = "Fake Reader 00 00";
const UNKNOWN: u32 = 0x8010_0014;

fn service() -> Service {
    Service::start_with([Reader::new(NAME)], |_| Answer::normal()).unwrap()
}

fn options(service: &Service) -> ContextOptions {
    ContextOptions::new().socket_path(service.socket_path())
}

/// What most programs do with a card.
fn use_a_card(context: &Context) -> Result<(), Error> {
    let mut card = context.connect(NAME, ConnectOptions::new())?;
    assert_eq!(card.transmit(COMMAND)?, [COMMAND, OK].concat());
    Ok(())
}

#[track_caller]
fn wait_for_connections(service: &Service, number: usize) {
    let has_changed = || service.open_connections() == number;
    wait_until("the connections are as many as expected", has_changed);
}

#[test]
fn the_next_card_gets_the_connection_of_the_last() {
    let service = service();
    let context = options(&service).establish().unwrap();
    for _ in 0..5 {
        use_a_card(&context).unwrap();
    }
    assert_eq!(service.connections(), 2);
    assert_eq!(service.count(Message::Disconnect), 5);
    assert_eq!(service.count(Message::Release), 0);
    // One is kept, however many there were.
    let cards = [(); 3].map(|()| context.connect(NAME, ConnectOptions::new()).unwrap());
    assert_eq!(service.open_connections(), 4);
    drop(cards);
    wait_for_connections(&service, 2);
    // Nothing is left when the context ends, not even by a card that ends later.
    let last = context.connect(NAME, ConnectOptions::new()).unwrap();
    use_a_card(&context).unwrap();
    assert_eq!(service.open_connections(), 3);
    drop(context);
    wait_for_connections(&service, 1);
    drop(last);
    wait_for_connections(&service, 0);
    // Of the context, two of the three cards and the last one.
    assert_eq!(service.count(Message::Release), 4);
}

/// Neither a failed connect nor one that waits for access takes a connection each time.
#[test]
fn a_connection_is_kept_after_a_connect_that_failed() {
    const SHARING_VIOLATION: u32 = 0x8010_000B;
    let service = service();
    let context = options(&service).establish().unwrap();
    service.script(|request| match request.message {
        Message::Connect if request.number < 5 => Answer::code(SHARING_VIOLATION),
        _ => Answer::normal(),
    });
    let error = use_a_card(&context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SharingViolation);
    let options = ConnectOptions::new().wait_for_access(true);
    drop(context.connect(NAME, options).unwrap());
    assert_eq!(service.count(Message::Connect), 6);
    assert_eq!(service.connections(), 2);
}

/// Their success says that the service is there.
#[test]
fn a_context_has_a_new_connection_and_is_released() {
    let service = service();
    let contexts = [(); 2].map(|()| options(&service).establish().unwrap());
    use_a_card(&contexts[0]).unwrap();
    let gate = Gate::new();
    service.script({
        let gate = gate.clone();
        move |request| match request.message {
            Message::Version | Message::Disconnect | Message::Release => {
                Answer::normal().stall(&gate)
            }
            _ => Answer::normal(),
        }
    });
    let limited = || options(&service).timeout(Some(Duration::from_millis(100)));
    let late = limited().establish().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    let limit = Some(Duration::from_millis(100));
    let card = contexts[0].connect(NAME, ConnectOptions::new().timeout(limit));
    let late = card.unwrap().disconnect(Disposition::Leave).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    gate.open();
    service.script(|_| Answer::normal());
    service.hang_up();
    wait_for_connections(&service, 0);
    for context in contexts {
        assert!(context.release().is_err());
    }
}

#[test]
fn contexts_keep_connections_of_their_own() {
    let services = [service(), service()];
    let contexts = services
        .each_ref()
        .map(|it| options(it).establish().unwrap());
    for _ in 0..3 {
        for context in &contexts {
            use_a_card(context).unwrap();
        }
    }
    for service in &services {
        assert_eq!(service.connections(), 2);
        assert_eq!(service.count(Message::Transmit), 3);
    }
}

#[test]
fn a_connection_that_ended_meanwhile_is_not_used() {
    let service = service();
    let context = options(&service).establish().unwrap();
    use_a_card(&context).unwrap();
    service.hang_up();
    wait_for_connections(&service, 0);
    use_a_card(&context).unwrap();
    assert_eq!(context.readers().unwrap(), [NAME]);
    // A daemon that was stopped and started again.
    let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
    let context = ContextOptions::new().socket_path(sandbox.socket_path());
    let context = context.establish().unwrap();
    let connect = || context.connect(sandbox.reader(0).name(), ConnectOptions::new());
    assert_works(&mut connect().unwrap());
    sandbox.restart().unwrap();
    assert_works(&mut connect().unwrap());
}

#[test]
fn a_connection_is_not_kept_if_a_card_may_still_be_connected() {
    let service = service();
    let context = options(&service).establish().unwrap();
    service.script(|request| match request.message {
        Message::Disconnect => Answer::normal().word(2, UNKNOWN),
        _ => Answer::normal(),
    });
    use_a_card(&context).unwrap();
    assert_eq!(service.count(Message::Release), 1);

    // Of a connect that was given up, the answer is not used.
    for (late, kept) in [(Message::Connect, 0), (Message::Transmit, 1)] {
        let before = service.count(Message::Disconnect);
        let gate = Gate::new();
        service.script({
            let gate = gate.clone();
            move |request| match request.message == late {
                true => Answer::normal().stall(&gate),
                false => Answer::normal(),
            }
        });
        let limit = Some(Duration::from_millis(100));
        let card = context.connect(NAME, ConnectOptions::new().timeout(limit));
        let sent = card.and_then(|mut card| card.transmit(COMMAND));
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        gate.open();
        service
            .wait_for(Message::Disconnect, before + kept, SOON)
            .unwrap();
        wait_for_connections(&service, 1 + kept);
        assert_eq!(service.count(Message::Disconnect), before + kept);
    }
}

/// An answer that was too long, followed by what looks like the answer to the disconnect.
#[test]
fn a_connection_is_not_kept_after_an_answer_that_does_not_fit() {
    const TOO_SMALL: u32 = 0x8010_0008;
    let service = service();
    let context = options(&service).establish().unwrap();
    let late = Duration::from_millis(20);
    service.script(move |request| match request.message {
        Message::Transmit if request.number == 0 => Answer::code(TOO_SMALL)
            .length(70_000)
            .then([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
            .delay_after(32, late),
        Message::Disconnect => Answer::normal().delay(5 * late),
        _ => Answer::normal(),
    });
    let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
    card.transmit(COMMAND).unwrap_err();
    drop(card);
    use_a_card(&context).unwrap();
}

/// The daemon could report a change to the next context, which takes it for an answer.
#[test]
fn a_connection_is_not_kept_after_a_wait() {
    let service = service();
    let context = options(&service).establish().unwrap();
    let monitor = context.monitor(MonitorOptions::new()).unwrap();
    service.wait_for(Message::WaitForChange, 1, SOON).unwrap();
    assert!(monitor.close(Some(SOON)));
    wait_for_connections(&service, 1);
    use_a_card(&context).unwrap();
}

/// Nobody notices what the connection was used for before.
#[test]
fn a_kept_connection_has_no_past() {
    let sandbox = Sandbox::builder().card(0, plain_card()).start().unwrap();
    let context = ContextOptions::new().socket_path(sandbox.socket_path());
    let context = context.establish().unwrap();
    let connect = |share_mode, disposition| {
        let options = ConnectOptions::new().share_mode(share_mode);
        let options = options.disposition_on_drop(disposition);
        context.connect(sandbox.reader(0).name(), options).unwrap()
    };
    let (exclusive, shared) = (ShareMode::Exclusive, ShareMode::Shared);
    let (leave, reset) = (Disposition::Leave, Disposition::Reset);
    for _ in 0..3 {
        drop(connect(exclusive, leave));
        let (mut card, mut other) = (connect(shared, leave), connect(shared, leave));
        std::mem::forget(card.transaction().unwrap());
        drop(card);
        // Neither reset nor locked.
        assert_works(&mut other);
        drop(connect(shared, reset));
        let error = other.transmit(COMMAND).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CardReset);
        drop(other);
        let mut reader = context.open_reader(sandbox.reader(0).name()).unwrap();
        assert!(reader.status().is_ok());
    }
}
