//! Connections to the daemon that are kept for the next card.
#![cfg(all(target_os = "linux", feature = "socket"))]

use std::time::Duration;

use scard::{
    ConnectOptions, Context, ContextOptions, Disposition, Error, ErrorKind, MonitorOptions,
    ShareMode,
};
use scard_testkit::Sandbox;
use scard_testkit::fake::{Answer, Gate, Message, Reader, Service};

use crate::support::fake::stop;
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

#[cfg(feature = "async")]
#[test]
fn the_next_card_gets_it_from_futures_and_from_blocking_calls() {
    use crate::support::executor::block_on;
    let service = service();
    let context = options(&service).establish().unwrap();
    let futures = scard::AsyncContext::from(context.clone());
    for _ in 0..3 {
        block_on(async {
            let mut card = futures.connect(NAME, ConnectOptions::new()).await.unwrap();
            let answer = card.transmit(COMMAND).await.unwrap();
            assert_eq!(answer, [COMMAND, OK].concat());
            card.disconnect(Disposition::Leave).await.unwrap();
        });
        use_a_card(&context).unwrap();
    }
    assert_eq!(service.connections(), 2);
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

/// It may have forgotten the context, or have ended.
#[test]
fn a_connection_that_the_service_refuses_is_replaced() {
    const REFUSALS: [u32; 5] = [
        0x8010_0003, // SCARD_E_INVALID_HANDLE
        0x8010_0006, // SCARD_E_NO_MEMORY
        0x8010_001D, // SCARD_E_NO_SERVICE
        0x8010_001E, // SCARD_E_SERVICE_STOPPED
        0x8010_006A, // SCARD_W_SECURITY_VIOLATION
    ];
    for code in REFUSALS {
        let service = service();
        let context = options(&service).establish().unwrap();
        use_a_card(&context).unwrap();
        let kept = service.connections();
        service.script(move |request| match request.message {
            Message::Connect if request.connection < kept => Answer::code(code),
            _ => Answer::normal(),
        });
        for _ in 0..3 {
            use_a_card(&context).unwrap();
        }
        assert_eq!(service.connections(), kept + 1, "{code:x}");
    }
}

/// What is kept does not show in what a call returns.
#[test]
fn a_disconnect_returns_the_same_with_and_without_room() {
    let results = [true, false].map(|has_room| {
        let service = service();
        let context = options(&service).establish().unwrap();
        let limit = Some(Duration::from_millis(100));
        let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
        let card = context.connect(NAME, exclusive.timeout(limit)).unwrap();
        let other = context.connect(NAME, ConnectOptions::new()).unwrap();
        match has_room {
            true => std::mem::forget(other),
            false => drop(other),
        }
        let gate = stop(&service, |request| request.message == Message::Reconnect);
        let ended = card.disconnect(Disposition::Leave);
        gate.open();
        ended.map_err(|failed| failed.error().kind())
    });
    assert_eq!(results, [Ok(()), Ok(())]);
}

#[test]
fn nothing_is_kept_for_a_context_that_ends_before_the_card() {
    let service = service();
    let context = options(&service).establish().unwrap();
    let [slow, card] = [(); 2].map(|()| context.connect(NAME, ConnectOptions::new()).unwrap());
    let gate = stop(&service, |request| {
        request.message == Message::Disconnect && request.number == 0
    });
    let ended = in_background(move || drop(slow));
    gate.wait_for(1, SOON).unwrap();
    drop((card, context));
    wait_for_connections(&service, 1);
    gate.open();
    finish(&ended);
    wait_for_connections(&service, 0);
}

/// It might be all that keeps the service from ending.
#[test]
fn nothing_is_kept_for_a_context_that_is_not_established() {
    let service = service();
    let context = options(&service).lazy();
    use_a_card(&context).unwrap();
    wait_for_connections(&service, 0);
    assert_eq!(context.readers().unwrap(), [NAME]);
    use_a_card(&context).unwrap();
    assert_eq!(service.open_connections(), 2);
}

/// Both the request and its answer are in the past of a connection that is kept.
#[test]
fn an_answer_to_another_request_costs_the_connection() {
    let service = service();
    let context = options(&service).establish().unwrap();
    let late = Duration::from_millis(20);
    service.script(move |request| match request.message {
        // A refusal, and what looks like the answer to the disconnect.
        Message::Transmit if request.number == 0 => Answer::code(0x8010_0017)
            .then([request.word(0).to_ne_bytes(), [0; 4], [0; 4]].concat())
            .delay_after(32, late),
        Message::Disconnect if request.number == 0 => Answer::normal().delay(5 * late),
        _ => Answer::normal(),
    });
    let mut card = context.connect(NAME, ConnectOptions::new()).unwrap();
    card.transmit(COMMAND).unwrap_err();
    drop(card);
    use_a_card(&context).unwrap();
}

/// The card that is connected with a protocol that was not offered is disconnected within the limit.
#[test]
fn a_refused_protocol_does_not_exceed_the_limit() {
    let service = service();
    let context = options(&service).establish().unwrap();
    let gate = Gate::new();
    service.script({
        let gate = gate.clone();
        move |request| match request.message {
            Message::Connect => Answer::normal().protocol(4),
            Message::Disconnect | Message::Release => Answer::normal().stall(&gate),
            _ => Answer::normal(),
        }
    });
    let limit = Some(Duration::from_millis(100));
    let connected = in_background({
        let context = context.clone();
        move || context.connect(NAME, ConnectOptions::new().timeout(limit))
    });
    let error = finish(&connected).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    gate.open();
}

/// Their success says that the service is there.
#[test]
fn a_context_has_a_new_connection_and_is_released() {
    let service = service();
    let contexts = [(); 2].map(|()| options(&service).establish().unwrap());
    use_a_card(&contexts[0]).unwrap();
    let gate = stop(&service, |request| {
        let stopped = [Message::Version, Message::Disconnect, Message::Release];
        stopped.contains(&request.message)
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
        let gate = stop(&service, move |request| request.message == late);
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
    let sandbox = Sandbox::builder().card(0, plain_card()).debug_log(true);
    let sandbox = sandbox.start().unwrap();
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
    // Of the context, the connection that is kept, and the other one of each round.
    let established = sandbox.daemon_log().matches("Establishing Context").count();
    assert_eq!(established, 5);
}
