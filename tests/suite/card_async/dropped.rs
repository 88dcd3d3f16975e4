//! Dropped futures: what they leave behind, and what becomes of their calls.

use super::*;

/// Given-up calls leave nothing behind, and have no late effect.
#[test]
fn calls_on_a_card_that_another_process_holds_can_be_dropped_and_end_at_deadlines() {
    isolated_with_peer(
        |peers| {
            let peer = Arc::new(peers.spawn());
            let fixture = fixture();
            peer.send(&fixture.reader.to_string());
            everywhere(fixture, |fixture| {
                let peer = Arc::clone(&peer);
                async move {
                    let unused = usage_at_rest(&fixture);
                    for (operation, call) in CALLS {
                        for dropped in [true, false] {
                            let mut card = connect(&fixture).await;
                            peer.send("hold");
                            assert_eq!(peer.recv(), "held");
                            fixture.card.clear_log();
                            let before = fixture.card.stats();
                            if dropped {
                                give_up(call(card), LIMIT / 4).await;
                            } else {
                                card.set_timeout(Some(LIMIT));
                                let begun = Instant::now();
                                let (answer, card) = call(card).await;
                                let error = answer.unwrap_err();
                                assert!(begun.elapsed() >= LIMIT);
                                assert_eq!(error.operation(), *operation);
                                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                                assert!(!error.command_may_have_run());
                                assert_abandoned(&mut card.unwrap()).await;
                            }
                            peer.send("release");
                            assert_eq!(peer.recv(), "released");
                            assert_becomes(&fixture, &unused);
                            assert_eq!(fixture.card.log(), [], "{operation}: a late command");
                            let resets = fixture.card.resets();
                            assert_eq!(resets, before.resets, "{operation}: a late reset");
                            assert_works(&mut fixture.connect());
                        }
                    }
                }
            });
        },
        holder,
    );
}

#[test]
fn a_connect_that_waits_can_be_dropped_and_stopped() {
    isolated_with_peer(
        |peers| {
            let peer = Arc::new(peers.spawn());
            let fixture = fixture();
            peer.send(&fixture.reader.to_string());
            everywhere(fixture, |fixture| {
                let peer = Arc::clone(&peer);
                async move {
                    let context = context(&fixture);
                    let options = ConnectOptions::new;
                    let connect = |options| context.connect(&fixture.reader, options);
                    let unused = usage_at_rest(&fixture);
                    peer.send("hold");
                    assert_eq!(peer.recv(), "held");
                    give_up(connect(options()), LIMIT / 4).await;
                    give_up(context.open_reader(&fixture.reader), LIMIT / 4).await;
                    let error = connect(options().timeout(Some(LIMIT))).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
                    assert_eq!(error.operation(), Operation::Connect);
                    assert_eq!(error.reader_name(), Some(&fixture.reader));
                    let abort = AbortHandle::new();
                    let waiting = connect(options().abort_handle(&abort));
                    let aborted = smol::future::zip(waiting, async {
                        sleep(LIMIT / 4).await;
                        abort.abort();
                    });
                    let error = aborted.await.0.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    peer.send("release");
                    assert_eq!(peer.recv(), "released");
                    // Connections that come late are closed.
                    assert_becomes(&fixture, &unused);
                    works(&mut connect(options()).await.unwrap()).await;
                }
            });
        },
        holder,
    );
}

#[test]
fn a_future_that_is_never_polled_does_nothing() {
    isolated(|| {
        everywhere(fixture(), |fixture| async move {
            let mut card = connect(&fixture).await;
            fixture.card.clear_log();
            drop(card.transmit(COMMAND));
            drop(card.transaction());
            drop(card.within(LIMIT, async |card| card.status().await));
            assert!(!card.is_abandoned());
            assert_eq!(fixture.card.log(), []);
            works(&mut card).await;
            assert_eq!(fixture.card.log().len(), 1);
        });
    });
}

/// The end of the transaction may still be under way then, or nobody has looked at it.
#[test]
fn a_card_that_is_dropped_after_its_transaction_is_left_as_its_options_say() {
    isolated(|| {
        let fixture = fixture();
        let context = context(&fixture);
        let options = ConnectOptions::new().disposition_on_drop(Disposition::Reset);
        for round in 1..=10 {
            let connecting = context.connect(&fixture.reader, options.clone());
            let mut card = block_on(connecting).unwrap();
            let before = fixture.card.resets();
            drop(block_on(card.transaction()).unwrap());
            if round % 2 == 0 {
                assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
            }
            drop(card);
            fixture
                .card
                .wait_until(SOON, |stats| stats.resets == before + 1)
                .unwrap();
        }
    });
}

/// The call has returned when its future is dropped: only the answer is lost.
#[test]
fn an_answer_that_is_not_taken_costs_no_connection() {
    isolated(|| {
        let fixture = fixture();
        let mut card = block_on(connect(&fixture));
        let mut ignored = 0;
        // Polls once, waits until the call has returned, and ignores the result.
        let mut ignore = |poll: &mut dyn FnMut(&Arc<Woken>) -> bool| {
            let woken = Woken::new();
            if poll(&woken) {
                woken.wait();
                ignored += 1;
            }
        };
        for _ in 0..20 {
            fixture.card.clear_log();
            {
                let mut future = pin!(card.transmit(COMMAND));
                ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
            }
            assert!(!card.is_abandoned());
            assert_eq!(fixture.card.log().len(), 1);
            {
                let mut future = pin!(card.transaction());
                ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
            }
            // The transaction began, and ends.
            assert_eq!(finish(&fixture.use_by_another()).unwrap(), OK);
            block_on(works(&mut card));
            // The protocol of the reconnect is known anyway.
            let (exclusive, any) = (ShareMode::Exclusive, Protocols::ANY);
            fixture.reset_by_another();
            assert!(block_on(card.status()).is_err());
            assert_eq!(card.protocol(), None);
            {
                let mut future = pin!(card.reconnect(exclusive, any, Initialization::Leave));
                ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
            }
            assert_eq!(card.share_mode(), exclusive);
            assert_eq!(card.protocol(), Some(Protocol::T1));
            let shared = ShareMode::Shared;
            block_on(card.reconnect(shared, any, Initialization::Leave)).unwrap();
        }
        // A connected card that nobody takes is disconnected.
        drop(card);
        let unused = usage_at_rest(&fixture);
        let context = context(&fixture);
        for _ in 0..20 {
            let mut future = pin!(context.connect(&fixture.reader, ConnectOptions::new()));
            ignore(&mut |woken| woken.poll(future.as_mut()).is_pending());
        }
        assert_becomes(&fixture, &unused);
        println!("{ignored} of 80 answers were there and not taken");
        assert!(ignored > 0);
    });
}

/// Many futures on one card, dropped at any moment: the card either keeps working or reports that
/// it is abandoned, and nothing is left behind.
#[test]
fn futures_can_be_dropped_at_any_moment() {
    isolated(|| {
        let fixture = fixture();
        let unused = usage_at_rest(&fixture);
        let mut card = block_on(connect(&fixture));
        let (mut kept, mut lost) = (0, 0);
        for number in 0..300_u32 {
            let time = Duration::from_micros(u64::from(number % 50) * 20);
            let used = async {
                let mut transaction = card.transaction().await?;
                transaction.transmit(COMMAND).await?;
                transaction.end(Disposition::Leave).await?;
                card.transmit(COMMAND).await
            };
            let mut used = Box::pin(used);
            let woken = Woken::new();
            let begun = Instant::now();
            let over = loop {
                match woken.poll(used.as_mut()) {
                    Poll::Ready(answer) => break Some(answer),
                    Poll::Pending if begun.elapsed() < time => std::hint::spin_loop(),
                    Poll::Pending => break None,
                }
            };
            drop(used);
            if let Some(answer) = over {
                assert_eq!(answer.unwrap(), OK);
            }
            if card.is_abandoned() {
                lost += 1;
                card = block_on(connect(&fixture));
            } else {
                kept += 1;
                block_on(works(&mut card));
            }
        }
        println!("{kept} kept, {lost} lost");
        drop(card);
        assert_becomes(&fixture, &unused);
    });
}

/// A reset acknowledged for a dropped future is reported to the next caller.
#[test]
fn no_acknowledged_reset_is_lost() {
    isolated(|| {
        let fixture = fixture();
        let mut card = block_on(async {
            let context = scard::AsyncContext::establish().await.unwrap();
            let options = ConnectOptions::new();
            context.connect(&fixture.reader, options).await.unwrap()
        });
        let mut other = fixture.connect();
        reconnect(&mut other, Initialization::Reset).unwrap();
        let held = other.transaction().unwrap();
        {
            let woken = Woken::new();
            let mut begun = pin!(card.transaction_acknowledging_reset(scard::Protocols::ANY));
            assert!(woken.poll(begun.as_mut()).is_pending());
            drop(held);
            // The call has returned, and its answer is not taken.
            woken.wait();
        }
        let begun = block_on(card.transaction_acknowledging_reset(scard::Protocols::ANY));
        assert!(begun.unwrap().was_reset());
        let begun = block_on(card.transaction_acknowledging_reset(scard::Protocols::ANY));
        assert!(!begun.unwrap().was_reset());
    });
}

#[test]
fn loops_that_select_keep_the_call() {
    isolated(|| {
        let slow = VirtualCard::new(|_: &[u8]| OK).delay(LIMIT * 5);
        everywhere(fixture_with(slow), |fixture| async move {
            let mut card = connect(&fixture).await;
            fixture.card.clear_log();
            let mut ticks = 0;
            let answer = {
                let mut call = pin!(card.transmit(COMMAND));
                loop {
                    tokio::select! {
                        answer = &mut call => break answer,
                        () = sleep(LIMIT / 20) => ticks += 1,
                    }
                }
            };
            assert_eq!(answer.unwrap(), OK);
            assert!(ticks > 0);
            assert_eq!(fixture.card.log().len(), 1);
            // And a `select!` that does not keep the call.
            tokio::select! {
                _ = card.transmit(COMMAND) => panic!("the card is slow"),
                () = sleep(LIMIT / 10) => {}
            }
            assert_abandoned(&mut card).await;
        });
    });
}

/// Two tasks that poll in turn: the last one to poll is woken.
#[test]
fn a_call_can_move_to_another_task() {
    isolated(|| {
        let fixture = fixture_with(VirtualCard::new(|_: &[u8]| OK).delay(LIMIT));
        let mut card = block_on(connect(&fixture));
        let mut call = Box::pin(async move { card.transmit(COMMAND).await });
        assert!(Woken::new().poll(call.as_mut()).is_pending());
        let answer = in_background(move || block_on(call));
        assert_eq!(finish(&answer).unwrap(), OK);
    });
}
