//! Changes between runs, wherever the session is, and sessions that let go of their card.

use super::*;
use crate::support::iso7816::{self, Iso7816};
use scard::apdu::ExchangeError;
use scard::{LogicalChannel, Session, SessionCard, ShareMode, Transmit};

/// A login that records its name.
fn login(
    name: &'static str,
    names: &Arc<Mutex<Vec<&'static str>>>,
) -> impl FnMut(&mut SessionCard<'_>) -> Result<()> + Send + 'static {
    let names = Arc::clone(names);
    move |card| {
        names.lock().unwrap().push(name);
        card.transmit(COMMAND).map(drop)
    }
}

fn is_free(fixture: &Fixture) -> bool {
    let exclusive = ConnectOptions::new().share_mode(ShareMode::Exclusive);
    match fixture.try_connect(exclusive) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::SharingViolation);
            false
        }
    }
}

/// A run that still executes on its thread after its future was dropped; it ends when the sender is
/// dropped.
async fn drop_run(session: &mut AsyncSession) -> std::sync::mpsc::Sender<()> {
    let (arrived, arrives) = smol::channel::bounded(1);
    let (go_on, waits) = channel::<()>();
    let waits = Mutex::new(waits);
    let run = session.run(move |_| {
        arrived.send_blocking(()).unwrap();
        let _ = waits.lock().unwrap().recv();
        Ok::<_, Error>(())
    });
    let early = smol::future::or(async { Some(run.await) }, async {
        arrives.recv().await.unwrap();
        None
    });
    assert!(early.await.is_none());
    go_on
}

#[test]
fn what_is_changed_holds_from_the_next_run_on() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let names: Arc<Mutex<Vec<&str>>> = Arc::default();
            let taken = || std::mem::take(&mut *names.lock().unwrap());
            let (mut session, _) = open(&fixture).await;
            session.set_login(login("here", &names));
            works(&mut session, 1).await;
            assert_eq!(taken(), ["here"]);

            // While a dropped run ends, and for a run that is dropped as well.
            let go_on = drop_run(&mut session).await;
            assert_eq!(taken(), ["here"]);
            session.set_login(login("first", &names));
            session.set_login(login("later", &names));
            session.set_timeout(Some(LONG));
            give_up(session.run(|card| card.transmit(COMMAND)), LIMIT / 10).await;
            drop(go_on);
            drop(drop_run(&mut session).await);
            assert_eq!(taken(), ["later"]);
            session.set_timeout(Some(LIMIT));
            let slot = fixture.sandbox.reader(0);
            slot.remove().unwrap();
            let begun = Instant::now();
            let late = session.run(|card| card.transmit(COMMAND)).await;
            let is_late = matches!(late, Err(SessionError::Deadline { .. }));
            assert!(is_late && begun.elapsed() < SOON / 2, "{late:?}");
            slot.insert(&fixture.card).unwrap();

            // While the work of a dropped guard ends.
            session.set_timeout(Some(LONG));
            drop(session.begin().await.unwrap());
            taken();
            session.set_login(login("after a guard", &names));
            let guard = session.begin().await.unwrap();
            assert_eq!(taken(), ["after a guard"]);
            drop(guard);
            session.set_login(login("taken back", &names));
            let mut session = session.into_session().await.unwrap();
            session.run(|card| card.transmit(COMMAND)).unwrap();
            assert_eq!(taken(), ["taken back"]);
            fixture.card.clear_log();
        });
    });
}

#[test]
fn a_session_lets_go_on_request() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (mut session, told) = open(&fixture).await;
            works(&mut session, 1).await;
            assert!(!is_free(&fixture));
            session.release().await.unwrap();
            assert!(is_free(&fixture));
            // It is not taken back without a request.
            session.keep_alive().await.unwrap();
            assert!(is_free(&fixture));
            works(&mut session, 2).await;

            // While a dropped run ends.
            let go_on = drop_run(&mut session).await;
            give_up(session.release(), LIMIT / 10).await;
            drop(go_on);
            session.release().await.unwrap();
            assert!(is_free(&fixture));
            works(&mut session, 3).await;

            // While the work of a guard ends, or is leaked.
            told.take();
            drop(session.begin().await.unwrap());
            session.release().await.unwrap();
            assert!(is_free(&fixture));
            std::mem::forget(session.begin().await.unwrap());
            session.release().await.unwrap();
            assert!(is_free(&fixture));
            let events = told.take();
            let released = events.iter().filter(|it| **it == SessionEvent::Released);
            assert_eq!(released.count(), 2);
            works(&mut session, 4).await;
            assert_eq!(numbers(&fixture.card), [1, 2, 3, 4]);
            fixture.card.clear_log();
        });
    });
}

/// The connection lasts as long as its transaction.
#[test]
fn an_idle_session_lets_go_and_a_guard_does_not() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let told = Told::default();
            let session = builder(&fixture, &told).release_after(Duration::from_millis(1));
            let mut session = session.open_async().await.unwrap();
            fixture.card.clear_log();
            told.take();
            let becomes_free = || wait_until("the card to be free", || is_free(&fixture));
            becomes_free();
            let mut card = session.begin().await.unwrap();
            let other = fixture.use_by_another();
            // Longer than its idle time.
            assert_blocked(&other);
            let sent = card.transmit(&numbered(APPLICATION, 1)).await;
            assert_eq!(sent.unwrap(), OK);
            assert_blocked(&other);
            card.end().await.unwrap();
            finish(&other).unwrap();
            becomes_free();
            // However the work ends, the session needs no further call.
            drop(session.begin().await.unwrap());
            becomes_free();
            drop(drop_run(&mut session).await);
            becomes_free();
            // A leaked guard ends with the next run, and holds nothing.
            std::mem::forget(session.begin().await.unwrap());
            works(&mut session, 2).await;
            becomes_free();
            assert_eq!(numbers(&fixture.card), [1, 2]);
            fixture.card.clear_log();
        });
    });
}

#[test]
fn the_first_run_of_a_session_that_was_only_built_does_it_all() {
    isolated(|| {
        everywhere(fixture_with(card()), |fixture| async move {
            let (told, names) = (Told::default(), Arc::<Mutex<Vec<&str>>>::default());
            fixture.sandbox.kill().unwrap();
            let session = builder(&fixture, &told).login(login("built", &names));
            let mut session = AsyncSession::from(session.build());
            assert_eq!((session.reader_name(), session.identity()), (None, None));
            session.keep_alive().await.unwrap_err();
            fixture.sandbox.restart().unwrap();
            works(&mut session, 1).await;
            assert_eq!(session.reader_name(), Some(&fixture.reader));
            assert_eq!(session.identity(), Some(&b"one"[..]));
            assert_eq!(*names.lock().unwrap(), ["built"]);
            // A guard dropped without a call.
            drop(AsyncSession::from(builder(&fixture, &told).build()));
            fixture.card.clear_log();
        });
    });
}

/// The work of a run, and that of a guard, is written as without futures.
#[test]
fn a_logical_channel_is_used_within_runs_and_guards() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    isolated(|| {
        let card = Iso7816::card(scard_testkit::atr::T1);
        everywhere(fixture_with(card), |fixture| async move {
            let session = Session::builder(&fixture.context).reader(&fixture.reader);
            let mut session = AsyncSession::from(session.build());
            for _ in 0..2 {
                let run = session.run(|card| -> Result<_, ExchangeError> {
                    let mut channel = LogicalChannel::open(card)?;
                    channel.exchange(&iso7816::select())?.ok()?;
                    let number = channel.number();
                    // Stays open until the card is reset.
                    drop(channel);
                    Ok((number, Transmit::protocol(card)))
                });
                assert_eq!(sent(run).await.unwrap().0, 1);
                fixture.reset_by_another();
            }
            let work = async |session: &mut AsyncSession| -> anyhow::Result<u8> {
                let mut card = session.begin().await?;
                let mut channel = card.logical_channel().await?;
                let number = channel.number();
                channel.exchange(&iso7816::select()).await?.ok()?;
                channel.close().await?;
                card.end().await?;
                Ok(number)
            };
            assert_eq!(work(&mut session).await.unwrap(), 1);
            fixture.reset_by_another();
        });
    });
}
