//! Compares the daemon through its client library and over its socket. (The count of a reader's
//! events is left out: it depends on what the daemon saw first.)
//!
//! `SCARD_SIDES_SEED` chooses another sequence.
#![cfg(all(target_os = "linux", feature = "library", feature = "socket"))]

use scard::{
    Attribute, Card, ConnectOptions, Context, ContextOptions, Control, ControlCode, Disposition,
    Initialization, Protocols, ShareMode,
};
use scard_testkit::{Sandbox, isolated};

use crate::support::random::Random;
use crate::support::*;

/// The same random calls through the library and over the socket, to two identical cards, return
/// the same codes and the same states.
#[test]
fn both_ways_do_the_same() {
    isolated(|| {
        let card = || plain_card();
        let sandbox = Sandbox::builder()
            .readers(2)
            .card(0, card())
            .card(1, card());
        let sandbox = sandbox.start().unwrap();
        let contexts = [
            Context::establish().unwrap(),
            ContextOptions::new().socket().establish().unwrap(),
        ];
        let seed = random_seed();
        let mut random = Random::new(seed);
        // Two conflicting connections of each kind.
        let mut cards: [[Option<Card>; 2]; 2] = [[None, None], [None, None]];
        for step in 0..600 {
            let (action, which, value) = (random.below(11), random.below(2), random.next());
            let mut outcomes = Vec::new();
            for (side, context) in contexts.iter().enumerate() {
                let reader = sandbox.reader(side);
                let other = (which as usize + 1) % 2;
                let outcome = match action {
                    0 if reader.card().is_some() => {
                        reader.remove().unwrap();
                        "removed".to_owned()
                    }
                    0 => {
                        reader.insert(card()).unwrap();
                        "inserted".to_owned()
                    }
                    action => {
                        // A call that waits for the other connection would wait forever.
                        let is_exclusive = |card: &Option<Card>| {
                            let mode = card.as_ref().map(Card::share_mode);
                            mode == Some(ShareMode::Exclusive)
                        };
                        let held = is_exclusive(&cards[side][other]);
                        let both = cards[side].iter().all(Option::is_some);
                        let slot = &mut cards[side][which as usize];
                        act(context, reader.name(), slot, action, value, both || held)
                    }
                };
                let states = context.reader_states().unwrap();
                let state = states
                    .into_iter()
                    .find(|it| it.reader_name() == reader.name());
                let state = state.map(|it| (it.flags(), it.atr()));
                outcomes.push((outcome, state));
            }
            let [library, socket] = outcomes.try_into().unwrap();
            assert_eq!(library, socket, "action {action}, step {step}, seed {seed}");
        }
    });
}

fn random_seed() -> u64 {
    let given = std::env::var("SCARD_SIDES_SEED").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// One call, and its result.
fn act(
    context: &Context,
    name: &str,
    slot: &mut Option<Card>,
    action: u64,
    value: u64,
    is_shared: bool,
) -> String {
    let initializations = [
        Initialization::Leave,
        Initialization::Reset,
        Initialization::Unpower,
    ];
    let protocols = [Protocols::ANY, Protocols::T0, Protocols::T1, Protocols::RAW];
    let pick = |len: usize| value as usize % len;
    let protocols = protocols[pick(4)];
    let code =
        |result: scard::Result<String>| result.unwrap_or_else(|it| format!("{:?}", it.code()));
    let Some(card) = slot else {
        let mode = match value & 16 {
            0 if !is_shared => ShareMode::Exclusive,
            _ => ShareMode::Shared,
        };
        let options = ConnectOptions::new().share_mode(mode).protocols(protocols);
        return code(context.connect(name, options).map(|card| {
            let protocol = format!("{:?}", card.protocol());
            *slot = Some(card);
            protocol
        }));
    };
    let dispositions = [Disposition::Leave, Disposition::Reset, Disposition::Unpower];
    match action {
        1..=3 => code(card.transmit(COMMAND).map(|answer| format!("{answer:?}"))),
        4 => code(card.status().map(|it| {
            let names = it.reader_names().len();
            format!(
                "{names} {:?} {:?} {:?}",
                it.state(),
                it.protocol(),
                it.atr()
            )
        })),
        5 | 6 => {
            let mode = match value & 16 {
                0 if !is_shared => ShareMode::Exclusive,
                _ => ShareMode::Shared,
            };
            let reconnected = card.reconnect(mode, protocols, initializations[pick(3)]);
            code(reconnected.map(|protocol| format!("{protocol:?}")))
        }
        7 => code(card.transaction().and_then(|mut it| {
            let sent = it.transmit(COMMAND).map(|answer| format!("{answer:?}"));
            let ended = it.end(dispositions[pick(3)]);
            sent.and_then(|sent| ended.map(|()| sent))
        })),
        8 => code(
            card.attribute(Attribute::ATR_STRING)
                .map(|it| format!("{it:?}")),
        ),
        9 => code(
            card.control(ControlCode::from_function(3400), &[1, 2])
                .map(|it| format!("{it:?}")),
        ),
        _ => match slot.take() {
            Some(card) => {
                let ended = card.disconnect(dispositions[pick(3)]);
                code(
                    ended
                        .map(|()| "ended".to_owned())
                        .map_err(scard::Error::from),
                )
            }
            None => String::new(),
        },
    }
}
