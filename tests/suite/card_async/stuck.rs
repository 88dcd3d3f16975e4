//! Cards and services that do not answer: the futures end at their limits, and the executor keeps
//! running.

use super::*;

#[test]
fn a_mute_card_is_left_and_the_error_says_that_the_command_may_have_run() {
    isolated(|| {
        let mute = || VirtualCard::new(|_: &[u8]| Reply::Mute);
        everywhere(fixture_with(mute()), move |fixture| async move {
            let slot = fixture.sandbox.reader(0);
            for dropped in [false, true] {
                slot.remove().unwrap();
                let seen = slot.insert(mute()).unwrap();
                let mut card = connect(&fixture).await;
                if dropped {
                    let arrives = seen.clone();
                    let arrived = move || arrives.wait_for_commands(1, SOON);
                    let early =
                        smol::future::or(async { Some(card.transmit(COMMAND).await) }, async {
                            smol::unblock(arrived).await.unwrap();
                            None
                        });
                    assert!(early.await.is_none());
                } else {
                    // Long enough for the command to reach the card.
                    card.set_timeout(Some(LIMIT * 10));
                    let error = card.transmit(COMMAND).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                    assert!(error.command_may_have_run());
                }
                assert_abandoned(&mut card).await;
                assert_eq!(seen.log().len(), 1);
            }
        });
    });
}

#[test]
fn limits_are_those_of_a_card_without_futures() {
    isolated(|| {
        let slow = VirtualCard::new(|_: &[u8]| OK).delay(LIMIT / 4);
        everywhere(fixture_with(slow), |fixture| async move {
            let mut card = connect(&fixture).await;
            // A limit of zero is refused and abandons nothing.
            card.set_timeout(Some(Duration::ZERO));
            let error = card.transmit(COMMAND).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
            assert!(!error.command_may_have_run());
            assert_eq!(card.protocol(), Some(Protocol::T1));
            for long in [Some(SOON), Some(Duration::MAX), None] {
                card.set_timeout(long);
                works(&mut card).await;
            }
            // Several calls with one limit.
            card.within(SOON, async |card| works(card).await).await;
            let nested = card.within(Duration::MAX, async |card| {
                let none = card.within(Duration::ZERO, async |card| {
                    card.transmit(COMMAND).await.map(drop)
                });
                let error = none.await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                works(card).await;
            });
            nested.await;
            // A limit ends with its future.
            give_up(
                card.within(LIMIT, async |_| std::future::pending::<()>().await),
                LIMIT / 10,
            )
            .await;
            sleep(LIMIT).await;
            works(&mut card).await;
            let begun = Instant::now();
            let endless = card.within(LIMIT, async |card| {
                let mut transaction = match card.transaction().await {
                    Ok(transaction) => transaction,
                    Err(error) => return error,
                };
                loop {
                    if let Err(error) = transaction.transmit(COMMAND).await {
                        return error;
                    }
                }
            });
            assert_eq!(endless.await.kind(), ErrorKind::DeadlineExceeded);
            assert!(begun.elapsed() >= LIMIT);
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);

            // Stopped from elsewhere, for good.
            let abort = AbortHandle::new();
            let options = ConnectOptions::new().abort_handle(&abort);
            let connected = context(&fixture).connect(&fixture.reader, options).await;
            let mut card = connected.unwrap();
            let mut holder = connect(&fixture).await;
            let held = holder.transaction().await.unwrap();
            let (answer, ()) = smol::future::zip(card.transmit(COMMAND), async {
                sleep(LIMIT / 4).await;
                abort.abort();
            })
            .await;
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(!error.command_may_have_run());
            assert_abandoned(&mut card).await;
            drop(held);
            let abort = holder.make_abortable();
            works(&mut holder).await;
            abort.abort();
            let error = holder.transmit(COMMAND).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
    });
}

#[test]
fn the_executor_goes_on_while_a_card_is_stuck() {
    isolated(|| {
        let fixture = fixture();
        let mut holder = fixture.connect();
        let held = holder.transaction().unwrap();
        current_thread().block_on(async {
            let ticks = Ticks::start();
            let (context, name) = (context(&fixture), fixture.reader.clone());
            let waiting = tokio::spawn(async move {
                let mut card = context.connect(&name, ConnectOptions::new()).await?;
                card.transmit(COMMAND).await
            });
            ticks.go_on(20).await;
            assert!(!waiting.is_finished());
            drop(held);
            assert_eq!(waiting.await.unwrap().unwrap(), OK);
            ticks.go_on(20).await;
        });
    });
}

/// With a stopped daemon, whatever waits for it would wait forever.
#[test]
fn nothing_that_is_dropped_waits() {
    isolated(|| {
        let fixture = fixture();
        let context = AsyncContext::from(scard::Context::establish().unwrap());
        let name = &fixture.reader;
        let connect = || block_on(context.connect(name, ConnectOptions::new())).unwrap();
        let unused = usage_at_rest(&fixture);
        let (card, late, mut in_transaction, mut again) =
            (connect(), connect(), connect(), connect());
        let limited = {
            let mut card = connect();
            card.set_timeout(Some(SOON * 10));
            card
        };
        let made_of_a_card = AsyncCard::from(fixture.connect());
        let reader = block_on(context.open_reader(name)).unwrap();
        let transaction = block_on(in_transaction.transaction()).unwrap();
        fixture.sandbox.pause().unwrap();

        drop(transaction);
        drop(in_transaction);
        drop((card, limited, made_of_a_card, reader));
        let woken = Woken::new();
        // A pending call, with everything around it dropped; without an executor.
        let mut late = Box::pin(async move {
            let mut late = late;
            late.transmit(COMMAND).await
        });
        assert!(woken.poll(late.as_mut()).is_pending());
        drop(late);
        let mut listing = Box::pin(context.readers());
        assert!(woken.poll(listing.as_mut()).is_pending());
        drop(listing);
        let mut connecting = Box::pin(context.connect(name, ConnectOptions::new()));
        assert!(woken.poll(connecting.as_mut()).is_pending());
        drop(connecting);
        let mut establishing = Box::pin(AsyncContext::establish());
        assert!(woken.poll(establishing.as_mut()).is_pending());
        drop(establishing);

        // The call after a dropped transaction waits for its end; leaving that call costs nothing,
        // because it has not begun.
        fixture.sandbox.resume().unwrap();
        let transaction = block_on(again.transaction()).unwrap();
        fixture.sandbox.pause().unwrap();
        drop(transaction);
        {
            let mut status = pin!(again.status());
            assert!(woken.poll(status.as_mut()).is_pending());
        }
        assert!(!again.is_abandoned());
        fixture.sandbox.resume().unwrap();
        block_on(works(&mut again));
        // But its limit applies.
        let transaction = block_on(again.transaction()).unwrap();
        fixture.sandbox.pause().unwrap();
        drop(transaction);
        again.set_timeout(Some(LIMIT));
        let error = block_on(again.status()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(error.operation(), Operation::Status);
        block_on(assert_abandoned(&mut again));
        drop(again);
        drop(context);

        fixture.sandbox.resume().unwrap();
        assert_becomes(&fixture, &unused);
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn with_a_stopped_daemon_calls_end_at_their_deadlines() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let options = ContextOptions::new().timeout(Some(LIMIT));
            // Calls that should succeed have more time, or try again.
            let patient = || ConnectOptions::new().timeout(Some(SOON));
            let begun = Instant::now();
            let context = loop {
                match options.clone().establish_async().await {
                    Ok(context) => break context,
                    Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
                }
            };
            let name = &fixture.reader;
            let mut card = context.connect(name, patient()).await.unwrap();
            card.set_timeout(Some(LIMIT));
            let mut held = context.connect(name, patient()).await.unwrap();
            held.transaction()
                .await
                .unwrap()
                .end(Disposition::Leave)
                .await
                .unwrap();
            fixture.sandbox.pause().unwrap();
            let ends = |operation, error: scard::Error| {
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{operation}");
                assert_eq!(error.operation(), operation);
            };
            held.set_timeout(Some(LIMIT));
            let answer = held.transaction().await.map(drop);
            ends(Operation::BeginTransaction, answer.unwrap_err());
            let answer = card.transmit(COMMAND).await;
            ends(Operation::Transmit, answer.unwrap_err());
            let answer = context.readers().await;
            ends(Operation::ListReaders, answer.unwrap_err());
            let answer = context.reader_states().await;
            ends(Operation::GetStatusChange, answer.unwrap_err());
            let answer = context.connect(name, ConnectOptions::new()).await;
            ends(Operation::Connect, answer.unwrap_err());
            let answer = options.establish_async().await;
            ends(Operation::EstablishContext, answer.unwrap_err());
            fixture.sandbox.resume().unwrap();
            // The context has survived.
            let mut card = context.connect(name, patient()).await.unwrap();
            works(&mut card).await;
            let begun = Instant::now();
            let readers = loop {
                match context.readers().await {
                    Ok(readers) => break readers,
                    Err(error) => assert!(begun.elapsed() < SOON, "{error}"),
                }
            };
            assert_eq!(readers.len(), 2);
        });
    });
}

/// The PC/SC context of an abandoned call ends with that call. The next call gets its own context,
/// and does not wait in the stuck one.
#[test]
fn a_context_whose_call_was_left_is_replaced() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let unused = usage_at_rest(&fixture);
            let context = AsyncContext::establish().await.unwrap();
            let with_context = usage_at_rest(&fixture);
            for _ in 0..3 {
                assert_eq!(context.readers().await.unwrap().len(), 2);
                assert_becomes(&fixture, &with_context);
                fixture.sandbox.pause().unwrap();
                give_up(context.readers(), LIMIT / 4).await;
                fixture.sandbox.resume().unwrap();
                // The abandoned one is released although the `Context` still exists. Over the socket,
                // it was that of the call alone.
                assert_becomes(
                    &fixture,
                    match cfg!(feature = "library") {
                        true => &unused,
                        false => &with_context,
                    },
                );
            }
            // A context whose answer has arrived stays.
            context.readers().await.unwrap();
            drop(context.readers());
            assert_eq!(context.reader_states().await.unwrap().len(), 2);
            drop(context);
            assert_becomes(&fixture, &unused);
        });
    });
}

#[test]
fn a_daemon_that_dies_is_told() {
    isolated(|| {
        let slow = VirtualCard::new(|_: &[u8]| OK).delay(Duration::from_secs(2));
        everywhere(fixture_with(slow), |fixture| async move {
            let context = context(&fixture);
            let mut card = connect(&fixture).await;
            let seen = fixture.card.commands();
            let (answer, ()) = smol::future::zip(card.transmit(COMMAND), async {
                let arrives = Arc::clone(&fixture);
                let arrived = move || arrives.card.wait_for_commands(seen + 1, SOON);
                smol::unblock(arrived).await.unwrap();
                fixture.sandbox.kill().unwrap();
            })
            .await;
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ServiceGone);
            assert!(error.command_may_have_run());
            assert!(!card.is_abandoned(), "the call has returned");
            assert!(card.status().await.is_err());
            drop(card);
            fixture.sandbox.restart().unwrap();
            assert_eq!(context.readers().await.unwrap().len(), 2);
            connect(&fixture).await.status().await.unwrap();
        });
    });
}
