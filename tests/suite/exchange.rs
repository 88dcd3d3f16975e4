//! Exchanges with cards, over every kind of handle.
#![cfg(target_os = "linux")]

use std::time::Duration;

use scard::Transmit as _;
use scard::apdu::{
    AnswerProblem, Command, ExchangeError, ExchangeOptions, Form, StatusWord, Step, TooLong,
};
use scard::{
    Card, ConnectOptions, ErrorKind, Initialization, Operation, Protocol, Protocols, Session,
    SessionError, ShareMode,
};
use scard_testkit::atr::{T0, T0_T1, T1};
use scard_testkit::{Reply, VirtualCard, isolated};

use crate::support::iso7816::*;
use crate::support::*;

/// What every kind of handle must do alike.
fn gets_whole_answers(
    mut exchange: impl FnMut(&Command) -> Result<scard::Response, ExchangeError>,
) {
    let selected = exchange(&select()).unwrap().ok().unwrap();
    assert_eq!(selected, [0x6F, 0x01, 0x00]);
    assert_eq!(exchange(&get()).unwrap().ok().unwrap(), object(700));
    let challenge = Command::new(0x00, 0x84, 0, 0).unwrap().expecting_all();
    let challenge = exchange(&challenge).unwrap().ok().unwrap();
    assert_eq!(challenge, [1, 2, 3, 4, 5, 6, 7, 8]);
    let verify = Command::new(0x00, 0x20, 0, 0x81).unwrap();
    let verify = verify.with_data(*b"0000").unwrap();
    let failed = exchange(&verify).unwrap().ok().unwrap_err();
    assert_eq!(failed.status().remaining_tries(), Some(2));
}

#[test]
fn answers_are_whole_over_every_protocol() {
    for (atr, protocol) in [
        (T0, Protocols::T0),
        (T1, Protocols::T1),
        (T0_T1, Protocols::T0),
        (T0_T1, Protocols::T1),
    ] {
        isolated(|| {
            let is_t0 = protocol == Protocols::T0;
            let fixture = fixture_with(Iso7816::over(atr, is_t0, object(700)));
            let options = ConnectOptions::new().protocols(protocol);
            let mut card = fixture.try_connect(options.clone()).unwrap();
            assert_eq!(card.protocol() == Some(Protocol::T0), is_t0);
            gets_whole_answers(|command| card.exchange(command));
            let mut transaction = card.transaction().unwrap();
            gets_whole_answers(|command| transaction.exchange(command));
            drop(transaction);
            // On a separate thread.
            card.set_timeout(Some(SOON));
            gets_whole_answers(|command| card.exchange(command));
            let mut session = Session::builder(&fixture.context)
                .reader(&fixture.reader)
                .connect_options(options)
                .open()
                .unwrap();
            let run = session.run(|card| {
                gets_whole_answers(|command| card.exchange(command));
                // SELECT and GET RESPONSE, GET DATA in pieces, GET CHALLENGE twice, VERIFY.
                let commands = if is_t0 { 2 + 4 + 2 + 1 } else { 1 + 3 + 2 + 1 };
                assert_eq!(card.completed(), commands);
                Ok::<_, scard::Error>(())
            });
            run.unwrap();
        });
    }
}

#[test]
fn long_bodies_arrive_whole() {
    for (atr, options) in [
        (CHAINS, ExchangeOptions::new()),
        (EXTENDS, ExchangeOptions::new()),
        (EXTENDS, ExchangeOptions::new().reader_max_data(65_536)),
        (EXTENDS, ExchangeOptions::new().extended_length(true)),
    ] {
        isolated(|| {
            let fixture = fixture_with(Iso7816::keeping(atr, vec![]));
            let mut card = fixture.connect();
            let data = object(3000);
            fixture.card.clear_log();
            let kept = card.exchange_with(&put(&data), &options).unwrap();
            assert!(kept.ok().unwrap().is_empty());
            let commands = if atr == CHAINS { 12 } else { 1 };
            assert_eq!(fixture.card.log().len(), commands);
            let get = get();
            assert_eq!(card.exchange(&get).unwrap().ok().unwrap(), data);
            if atr == EXTENDS {
                fixture.card.clear_log();
                let all_at_once = get.with_form(Form::Extended).unwrap();
                assert_eq!(card.exchange(&all_at_once).unwrap().ok().unwrap(), data);
                assert_eq!(fixture.card.log().len(), 1);
            }
        });
    }
}

#[test]
fn what_a_card_does_not_promise_is_not_tried() {
    for (atr, options) in [
        (T1, ExchangeOptions::new()),
        (T1, ExchangeOptions::new().reader_max_data(65_536)),
        // The reader accepts only short commands, or less data.
        (EXTENDS, ExchangeOptions::new().reader_max_data(0)),
        (EXTENDS, ExchangeOptions::new().reader_max_data(299)),
        (CHAINS, ExchangeOptions::new().chaining(false)),
    ] {
        isolated(|| {
            let fixture = fixture_with(Iso7816::card(atr));
            let mut card = fixture.connect();
            fixture.card.clear_log();
            let error = card
                .exchange_with(&put(&object(300)), &options)
                .unwrap_err();
            let no_way = TooLong::NoWay;
            assert!(matches!(error, ExchangeError::TooLong { reason, .. } if reason == no_way));
            assert!(!error.command_may_have_run());
            assert_eq!(fixture.card.log().len(), 0);
        });
    }
    isolated(|| {
        // If the caller is wrong, the card reports it.
        let fixture = fixture_with(Iso7816::card(T1));
        let chains = ExchangeOptions::new().chaining(true);
        let refused = fixture.connect().exchange_with(&put(&object(300)), &chains);
        let refused = refused.unwrap().ok().unwrap_err();
        assert_eq!(refused.status(), StatusWord::CHAINING_NOT_SUPPORTED);
        assert_eq!(
            refused.to_string(),
            "command 00 DB 3F FF, part 1 of 2 failed: command chaining not supported (6884)"
        );
    });
}

/// A card that answers every command with these bytes.
fn answering(answer: &'static [u8]) -> VirtualCard {
    VirtualCard::new(move |_: &[u8]| answer)
}

#[test]
fn hostile_cards_are_an_error_of_the_exchange_alone() {
    let too_many = AnswerProblem::TooManyRounds { max: 512 };
    let of_class = |class| {
        let command = Command::new(class, 0xCB, 0, 0).unwrap();
        command.with_data(*b"\x5C\x00").unwrap().expecting_all()
    };
    for (command, answer, expected) in [
        (get(), &[0x61, 0x00][..], too_many),
        (get(), &[0xAA, 0x61, 0x01], too_many),
        (get(), &[0x90], AnswerProblem::NoStatusWord { len: 1 }),
        (of_class(0x80), &[0x61, 0x01], too_many),
        (of_class(0x90), &[0xAA, 0x91, 0xAF], too_many),
        (of_class(0xA0), &[0x9F, 0x01], too_many),
    ] {
        isolated(|| {
            let fixture = fixture_with(answering(answer));
            let mut card = fixture.connect();
            for _ in 0..2 {
                match card.exchange(&command).unwrap_err() {
                    ExchangeError::Answer { problem, .. } => assert_eq!(problem, expected),
                    error => panic!("{error}"),
                }
            }
            assert_eq!(card.transmit(COMMAND).unwrap(), answer);
        });
    }
}

#[test]
fn an_exchange_says_which_step_failed_and_whether_anything_ran() {
    // The second part of the chain tears the card out.
    let torn = |fixture: &Fixture, card: &mut dyn FnMut() -> ExchangeError| {
        let error = card();
        let ExchangeError::Card { step, answered, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(
            step,
            Step::Part {
                number: 2,
                total: 3
            }
        );
        assert_eq!(answered, 1);
        assert!(error.command_may_have_run());
        let message = format!("{error:#}");
        let start = "command 00 DB 3F FF, part 2 of 3 failed: SCardTransmit on ";
        assert!(message.starts_with(start), "{message}");
        assert_eq!(fixture.card.commands(), 2);
    };
    let card = || {
        let mut parts = 0;
        VirtualCard::new(move |_: &[u8]| {
            parts += 1;
            if parts == 2 {
                Reply::Drop
            } else {
                Reply::from([0x90, 0x00])
            }
        })
    };
    let chains = ExchangeOptions::new().chaining(true);
    let put = put(&object(600));
    isolated(|| {
        let fixture = fixture_with(card());
        let mut card = fixture.connect();
        torn(&fixture, &mut || {
            card.exchange_with(&put, &chains).unwrap_err()
        });
    });
    isolated(|| {
        let fixture = fixture_with(card());
        let builder = Session::builder(&fixture.context).reader(&fixture.reader);
        let mut session = builder.wait_for_card(false).open().unwrap();
        let failed = session.run(|card| card.exchange_with(&put, &chains));
        match failed.unwrap_err() {
            SessionError::Interrupted {
                completed: 1, work, ..
            } => torn(&fixture, &mut || {
                work.downcast_ref::<ExchangeError>().unwrap().clone()
            }),
            error => panic!("{error}"),
        }
    });
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        fixture.reset_by_another();
        let error = card.exchange(&get()).unwrap_err();
        assert_eq!(error.error().unwrap().kind(), ErrorKind::CardReset);
        assert!(!error.command_may_have_run());
        reconnect(&mut card, Initialization::Leave).unwrap();
        let mut transaction = card.transaction().unwrap();
        fixture.sandbox.kill().unwrap();
        let error = transaction.exchange(&get()).unwrap_err();
        assert_eq!(error.error().unwrap().kind(), ErrorKind::ServiceGone);
    });
}

#[test]
fn a_time_out_ends_an_exchange() {
    isolated(|| {
        let mute = VirtualCard::new(|command: &[u8]| match command[1] {
            0xC0 => Reply::Mute,
            _ => Reply::from([0x61, 0x10]),
        });
        let fixture = fixture_with(mute);
        let mut card = fixture.connect();
        // Long enough for the first step.
        card.set_timeout(Some(Duration::from_secs(1)));
        let error = card.exchange(&get()).unwrap_err();
        let (kind, run) = (error.error().unwrap().kind(), error.command_may_have_run());
        assert_eq!((kind, run), (ErrorKind::DeadlineExceeded, true));
        let step = Step::GetResponse { number: 1 };
        assert!(matches!(error, ExchangeError::Card { step: it, .. } if it == step));
        assert!(card.is_abandoned());
        fixture.sandbox.reader(0).remove().unwrap();
    });
}

#[test]
fn two_programs_get_each_their_whole_answer() {
    isolated(|| {
        let fixture = fixture_with(Iso7816::card(T1));
        let (mut one, mut two) = (fixture.connect(), fixture.connect());
        let ask = |card: &mut Card| {
            for _ in 0..30 {
                assert_eq!(card.exchange(&get()).unwrap().ok().unwrap(), object(700));
            }
        };
        let other = in_background(move || ask(&mut two));
        ask(&mut one);
        finish(&other);
    });
}

#[test]
fn logical_channels_are_opened_used_and_closed() {
    isolated(|| {
        let fixture = fixture_with(Iso7816::card(T1));
        let mut card = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        for _ in 0..2 {
            let mut channel = transaction.logical_channel().unwrap();
            assert_eq!(channel.number(), 1);
            let selected = channel.exchange(&select()).unwrap().ok().unwrap();
            assert_eq!(selected, [0x6F, 0x01, 1], "in the channel");
            let got = channel.exchange(&get()).unwrap().ok().unwrap();
            assert_eq!(got, object(700), "GET RESPONSE in the channel");
            channel.close().unwrap();
        }
        drop(transaction);
        // A dropped channel stays open, and nothing is sent.
        for number in 1..=4 {
            let mut channel = card.logical_channel().unwrap();
            let selected = channel.exchange(&select()).unwrap().ok().unwrap();
            assert_eq!(selected[2], number);
            let sent = fixture.card.commands();
            drop(channel);
            assert_eq!(fixture.card.commands(), sent);
        }
        let fifth = card.logical_channel().unwrap();
        assert_eq!(fifth.number(), 5);
        drop(fifth);
        let log = fixture.card.log();
        let classes: Vec<u8> = log.iter().map(|it| it.command[0]).collect();
        assert!(classes.contains(&0x40), "{classes:02X?}");
        // A channel closed by the card.
        let channel = card.logical_channel().unwrap();
        fixture.reset_by_another();
        let error = channel.close().unwrap_err();
        assert_eq!(error.error().unwrap().kind(), ErrorKind::CardReset);
        let protocols = Protocols::ANY;
        card.reconnect(ShareMode::Shared, protocols, Initialization::Leave)
            .unwrap();
        assert_eq!(card.logical_channel().unwrap().number(), 1);
        let mut session = Session::builder(&fixture.context)
            .reader(&fixture.reader)
            .open()
            .unwrap();
        let run = session.run(|card| card.logical_channel()?.close());
        run.unwrap();
    });
    for (answer, refused) in [(&[0x6A, 0x81][..], true), (&[0x00, 0x90, 0x00], false)] {
        isolated(|| {
            let fixture = fixture_with(answering(answer));
            let mut card = fixture.connect();
            match card.logical_channel().unwrap_err() {
                ExchangeError::Status(error) => {
                    assert!(refused);
                    assert_eq!(error.status(), StatusWord::FUNCTION_NOT_SUPPORTED);
                }
                ExchangeError::Answer { problem, .. } => {
                    assert!(!refused);
                    assert_eq!(problem, AnswerProblem::NoChannel);
                }
                error => panic!("{error}"),
            }
        });
    }
}

#[test]
fn one_function_can_use_the_question_mark_on_everything() {
    fn work(card: &mut Card) -> Result<Vec<u8>, ExchangeError> {
        let mut transaction = card.transaction()?;
        transaction.exchange(&select())?.ok()?;
        let data = transaction.exchange(&Command::parse(b"\x00\xCB\x3F\xFF\x00")?)?;
        let data = data.accept_warnings()?;
        transaction.end(scard::Disposition::Leave)?;
        Ok(data.into_data())
    }
    isolated(|| {
        let fixture = fixture_with(Iso7816::card(T1));
        let mut card = fixture.connect();
        assert_eq!(work(&mut card).unwrap(), object(700));
        card.disconnect(scard::Disposition::Leave).unwrap();
        let options = ConnectOptions::new();
        let missing = fixture.context.connect(&fixture.empty_reader, options);
        let error = ExchangeError::from(missing.unwrap_err());
        let message = format!("{error:#}");
        let start = "the exchange failed: SCardConnect on ";
        assert!(message.starts_with(start), "{message}");
        assert_eq!(error.error().unwrap().operation(), Operation::Connect);
    });
}

#[cfg(feature = "async")]
mod futures {
    use scard::{AsyncCard, AsyncTransaction};

    use super::*;

    fn travels<T: Send>(future: T) -> T {
        future
    }

    async fn gets(transaction: &mut AsyncTransaction<'_>) {
        let selected = transaction.exchange(&select()).await.unwrap().ok();
        assert_eq!(selected.unwrap(), [0x6F, 0x01, 0x00]);
        let got = travels(transaction.exchange(&get())).await.unwrap();
        assert_eq!(got.ok().unwrap(), object(700));
    }

    #[test]
    fn futures_do_the_same() {
        for atr in [T0, CHAINS] {
            isolated(|| {
                let fixture = fixture_with(Iso7816::card(atr));
                smol::block_on(async {
                    let mut card = AsyncCard::from(fixture.connect());
                    for _ in 0..2 {
                        let got = card.exchange(&get()).await.unwrap();
                        assert_eq!(got.ok().unwrap(), object(700));
                        let mut transaction = card.transaction().await.unwrap();
                        gets(&mut transaction).await;
                    }
                    let kept = card.exchange(&put(&object(600))).await;
                    match atr {
                        T0 => assert!(matches!(kept, Err(ExchangeError::TooLong { .. }))),
                        _ => assert!(kept.unwrap().ok().is_ok()),
                    }
                });
            });
        }
    }

    #[test]
    fn a_future_that_is_dropped_in_the_middle_abandons_the_card() {
        isolated(|| {
            let mute = VirtualCard::new(|command: &[u8]| match command[1] {
                0xC0 => Reply::Mute,
                _ => Reply::from([0x61, 0x10]),
            });
            let fixture = fixture_with(mute);
            smol::block_on(async {
                let mut card = AsyncCard::from(fixture.connect());
                executor::give_up(card.exchange(&get()), Duration::from_millis(200)).await;
                assert!(card.is_abandoned());
                let error = card.exchange(&get()).await.unwrap_err();
                assert_eq!(error.error().unwrap().kind(), ErrorKind::Abandoned);
                assert!(!error.command_may_have_run());
            });
            fixture.sandbox.reader(0).remove().unwrap();
        });
    }
}

#[cfg(feature = "async")]
#[test]
fn logical_channels_over_futures_are_opened_used_and_closed() {
    use scard::{AsyncContext, AsyncTransmit as _, Disposition};

    isolated(|| {
        executor::everywhere(fixture_with(Iso7816::card(T1)), |fixture| async move {
            let context = AsyncContext::from(fixture.context.clone());
            let connected = context.connect(&fixture.reader, ConnectOptions::new());
            let mut card = connected.await.unwrap();
            let mut transaction = card.transaction().await.unwrap();
            for _ in 0..2 {
                let mut channel = transaction.logical_channel().await.unwrap();
                assert_eq!(channel.number(), 1);
                let selected = channel.exchange(&select()).await.unwrap();
                assert_eq!(selected.ok().unwrap(), [0x6F, 0x01, 1], "in the channel");
                channel.close().await.unwrap();
            }
            drop(transaction);
            // A dropped channel stays open, and nothing is sent.
            drop(card.logical_channel().await.unwrap());
            let sent = fixture.card.commands();
            let second = card.logical_channel().await.unwrap();
            assert_eq!(second.number(), 2);
            assert_eq!(fixture.card.commands(), sent + 1);
            second.close().await.unwrap();
            card.disconnect(Disposition::Reset).await.unwrap();
        });
    });
}
