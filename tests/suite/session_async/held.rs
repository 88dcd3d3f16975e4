//! Guards: work whose calls are futures.

use super::*;

/// A guard has the methods of a card and keeps others out until it ends, and the session recovers
/// before and after it.
#[test]
fn a_guard_is_a_card_whose_calls_are_futures() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            fixture.reset_by_another();
            let mut card = session.begin().await.unwrap();
            let setups = told.take();
            assert!(setups.contains(&SessionEvent::SetUp), "{setups:?}");
            let sent = card.transmit(&numbered(APPLICATION, 1)).await;
            assert_eq!(sent.unwrap(), OK);
            let lent = card.transmit_ref(&numbered(APPLICATION, 2)).await;
            assert_eq!(lent.unwrap(), OK);
            assert!(!format!("{card:?}").contains("144"), "no answer is shown");
            let challenge = "0084000008".parse().unwrap();
            let challenge = card.exchange(&challenge).await.unwrap();
            assert!(challenge.status().is_success());
            assert_eq!(card.reader_name(), &fixture.reader);
            let status = card.status().await.unwrap();
            assert_eq!(card.protocol(), status.protocol());
            assert_eq!(card.atr().await.unwrap(), status.atr());
            // The driver refuses, or returns what it has.
            let version = card.attribute(Attribute::VENDOR_IFD_VERSION).await;
            let refused = card.control(ControlCode::from_raw(1), b"").await;
            for answer in [version, refused] {
                let by = answer.map_err(|error| error.origin());
                assert!(matches!(by, Ok(_) | Err(Origin::Service)), "{by:?}");
            }
            let other = fixture.use_by_another();
            assert_blocked(&other);
            card.end().await.unwrap();
            finish(&other).unwrap();

            // The program handles failures, and the next work finds the card ready.
            let mut card = session.begin().await.unwrap();
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            slot.insert(&fixture.card).unwrap();
            let error = card.transmit(&numbered(APPLICATION, 3)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CardRemoved);
            card.end().await.unwrap_err();
            works(&mut session, 4).await;
            assert_eq!(numbers(&fixture.card), [1, 2, 4]);
            fixture.card.clear_log();
        });
    });
}

/// A drop waits for nothing, and others need not wait for the next run.
#[test]
fn a_guard_that_is_dropped_ends_by_itself() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            drop(session.begin().await.unwrap());
            finish(&fixture.use_by_another()).unwrap();
            works(&mut session, 1).await;
            // With a daemon that does not answer, the end takes long, but the drop does not.
            let card = session.begin().await.unwrap();
            fixture.sandbox.pause().unwrap();
            drop(card);
            give_up(session.keep_alive(), LIMIT / 10).await;
            fixture.sandbox.resume().unwrap();
            finish(&fixture.use_by_another()).unwrap();
            works(&mut session, 2).await;
            // An end that is dropped before it is polled, and while it is pending.
            drop(session.begin().await.unwrap().end());
            finish(&fixture.use_by_another()).unwrap();
            let card = session.begin().await.unwrap();
            fixture.sandbox.pause().unwrap();
            give_up(card.end(), LIMIT / 10).await;
            fixture.sandbox.resume().unwrap();
            finish(&fixture.use_by_another()).unwrap();
            works(&mut session, 3).await;
            // The session can be taken back only after the end.
            drop(session.begin().await.unwrap());
            let mut session = session.into_session().await.unwrap();
            session.run(|card| card.transmit(SERIAL)).unwrap();
            let mut session = AsyncSession::from(session);
            // Leaked, it ends with the next run.
            std::mem::forget(session.begin().await.unwrap());
            works(&mut session, 4).await;
            finish(&fixture.use_by_another()).unwrap();
            // Together with its session.
            let card = session.begin().await.unwrap();
            drop(card);
            drop(session);
            finish(&fixture.use_by_another()).unwrap();
            assert_eq!(numbers(&fixture.card), [1, 2, 3, 4]);
            fixture.card.clear_log();
            drop(told);
        });
    });
}

/// Like that of a run: the pending call is given up, and its connection with it.
#[test]
fn a_dropped_call_of_a_guard_gives_up_the_connection() {
    isolated(|| {
        let slow = || VirtualCard::new(|_: &[u8]| OK).delay(LIMIT * 3);
        everywhere(fixture_with(slow()), |fixture| async move {
            let context = AsyncContext::from(fixture.context.clone());
            let session = AsyncSession::builder(&context).reader(&fixture.reader);
            let mut session = session.open_async().await.unwrap();
            fixture.card.clear_log();
            for is_polled_again in [true, false] {
                let before = fixture.card.commands();
                let mut card = session.begin().await.unwrap();
                let arrived = fixture.card.clone();
                let early = smol::future::or(async { Some(card.transmit(COMMAND).await) }, async {
                    let wait = move || arrived.wait_for_commands(before + 1, SOON);
                    smol::unblock(wait).await.unwrap();
                    None
                });
                assert!(early.await.is_none());
                if is_polled_again {
                    let error = card.transmit(COMMAND).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Abandoned);
                }
                drop(card);
                finish(&fixture.use_by_another()).unwrap();
                let sent = session.run(|card| card.transmit(COMMAND)).await;
                assert_eq!(sent.unwrap(), OK);
            }
            fixture.card.clear_log();
        });
    });
}

/// An abandoned beginning begins nothing, or ends it at once.
#[test]
fn a_dropped_beginning_keeps_nobody_out() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, _) = open(&fixture).await;
            drop(session.begin());
            let mut holder = fixture.connect();
            let held = holder.transaction().unwrap();
            give_up(session.begin(), LIMIT / 4).await;
            drop(held);
            finish(&fixture.use_by_another()).unwrap();
            // It has begun, but is no longer polled.
            for _ in 0..20 {
                let woken = Woken::new();
                let mut begins = Box::pin(session.begin());
                // On a busy machine it is there at once.
                if woken.poll(begins.as_mut()).is_pending() {
                    woken.wait();
                }
                drop(begins);
                finish(&fixture.use_by_another()).unwrap();
            }
            works(&mut session, 1).await;
            assert_eq!(numbers(&fixture.card), [1]);
            fixture.card.clear_log();
        });
    });
}

#[test]
fn a_guard_keeps_the_time_of_its_session() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let told = Told::default();
            let session = builder(&fixture, &told).timeout(Some(LIMIT * 5));
            let mut session = session.open_async().await.unwrap();
            let mut card = session.begin().await.unwrap();
            sleep(LIMIT * 5).await;
            let error = card.transmit(&numbered(APPLICATION, 1)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            drop(card);
            works(&mut session, 2).await;
            assert_eq!(numbers(&fixture.card), [2]);
            fixture.card.clear_log();
        });
    });
}

/// A question to a reader that it does not know is no failure, and the options are the session's.
#[test]
fn a_guard_asks_and_exchanges_as_the_session_does() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            let mut card = session.begin().await.unwrap();
            card.features().await.unwrap();
            assert_eq!(card.exchange_options(), scard::apdu::ExchangeOptions::new());
            card.end().await.unwrap();
            told.take();
            works(&mut session, 1).await;
            let told = told.take();
            let recovers = |it: &SessionEvent| matches!(it, SessionEvent::Recovering { .. });
            assert!(!told.iter().any(recovers), "{told:?}");
            fixture.card.clear_log();
        });
    });
}
