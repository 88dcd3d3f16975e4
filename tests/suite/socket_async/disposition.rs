//! What becomes of a card that is dropped or given up while its dropped transaction ends.

use std::thread::sleep;

use scard::Disposition;

use super::*;

/// Long enough for what begins in it, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(1);

/// A card that is to be reset when it is dropped.
fn connect(service: &Service) -> AsyncCard {
    let context = AsyncContext::from(context_at(service.socket_path()));
    let options = ConnectOptions::new().disposition_on_drop(Disposition::Reset);
    block_on(context.connect(name(0), options)).unwrap()
}

/// Waits until the card's connection has ended, and returns how often it was reset.
#[track_caller]
fn resets(service: &Service) -> usize {
    wait_for_the_end_of_all_connections(service);
    let log = service.log().into_iter();
    let ends = log.filter(|request| request.message == Message::End);
    ends.filter(|request| request.word(1) != 0).count()
}

/// As `Card::set_timeout` says of every call that is given up.
#[test]
fn a_card_that_is_given_up_is_left_as_it_is() {
    isolated(|| {
        for aborted in [false, true] {
            let service = service_with(1);
            let mut card = connect(&service);
            let transaction = block_on(card.transaction()).unwrap();
            let gate = stop(&service, |request| request.message == Message::End);
            drop(transaction);
            gate.wait_for(1, SOON).unwrap();
            let error = match aborted {
                true => {
                    let abort = card.make_abortable();
                    let mut call = Box::pin(card.status());
                    begin(call.as_mut());
                    abort.abort();
                    block_on(call)
                }
                false => {
                    card.set_timeout(Some(LIMIT));
                    block_on(card.status())
                }
            };
            let expected = [ErrorKind::DeadlineExceeded, ErrorKind::Cancelled];
            assert_eq!(error.unwrap_err().kind(), expected[usize::from(aborted)]);
            assert!(card.is_abandoned());
            gate.open();
            drop(card);
            assert_eq!(resets(&service), 0);
        }
    });
}

/// Not those of the time at which the transaction was dropped.
#[test]
fn the_limits_of_the_card_hold_for_its_drop() {
    isolated(|| {
        let service = service_with(1);
        let mut card = connect(&service);
        block_on(card.within(LIMIT, async |card| drop(card.transaction().await.unwrap())));
        // That limit is over, and holds no longer.
        sleep(LIMIT);
        drop(card);
        assert_eq!(resets(&service), 1);

        // That of the drop begins with it, and includes the end of the transaction.
        for stalled in [Message::End, Message::Begin] {
            let service = service_with(1);
            let mut card = connect(&service);
            let transaction = block_on(card.transaction()).unwrap();
            let gate = stop(&service, move |request| request.message == stalled);
            drop(transaction);
            service.wait_for(Message::End, 1, SOON).unwrap();
            card.set_timeout(Some(LIMIT));
            drop(card);
            gate.wait_for(1, SOON).unwrap();
            sleep(LIMIT);
            gate.open();
            assert_eq!(resets(&service), 0, "a late reset");
        }
    });
}
