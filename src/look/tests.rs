//! Tests the defence against misread answers with services that misread on purpose.

use std::cell::{Cell, RefCell};

use super::snapshot::MAX_SNAPSHOTS;
use super::*;
use crate::codes::Platform::{PcscLite, Windows};
use crate::codes::ReturnCode as Code;
use crate::service::block_on;
use crate::values::{Atr, ReaderState};

fn snapshot(
    source: &impl Source,
    platform: Platform,
    is_about: impl Fn(&ReaderName) -> bool,
) -> Result<Vec<ReaderState>> {
    block_on(super::snapshot::snapshot(source, platform, is_about))
}

fn names(count: usize) -> Vec<ReaderName> {
    let names = (0..count).map(|number| ReaderName::new(format!("Reader {number}")));
    names.map(Result::unwrap).collect()
}

type List<'a> = dyn Fn(usize) -> Result<Vec<ReaderName>> + 'a;
type Look<'a> = dyn FnMut(usize, &mut [ReaderQuery<'_>]) -> Result<bool> + 'a;

/// A service whose contexts are numbered from 1.
struct Fake<'a> {
    contexts: Cell<usize>,
    list: Box<List<'a>>,
    look: RefCell<Box<Look<'a>>>,
}

struct Numbered<'f, 'a>(usize, &'f Fake<'a>);

impl<'a> Fake<'a> {
    fn new(
        list: impl Fn(usize) -> Result<Vec<ReaderName>> + 'a,
        look: impl FnMut(usize, &mut [ReaderQuery<'_>]) -> Result<bool> + 'a,
    ) -> Fake<'a> {
        Fake {
            contexts: Cell::new(0),
            list: Box::new(list),
            look: RefCell::new(Box::new(look)),
        }
    }

    /// A service that knows its readers, unless its initial answers say otherwise.
    fn with_readers(
        count: usize,
        mut look: impl FnMut(usize) -> Option<Result<u32, Code>> + 'a,
    ) -> Fake<'a> {
        Fake::new(
            move |_| Ok(names(count)),
            move |context, readers| {
                let state = look(context).unwrap_or(Ok(0x22));
                let state = state.map_err(|code| Error::new(Operation::GetStatusChange, code))?;
                readers.iter_mut().for_each(|it| it.event_state = state);
                Ok(true)
            },
        )
    }
}

impl<'f, 'a> Source for &'f Fake<'a> {
    type Service = Numbered<'f, 'a>;

    async fn establish(&self) -> Result<Numbered<'f, 'a>> {
        self.contexts.set(self.contexts.get() + 1);
        Ok(Numbered(self.contexts.get(), self))
    }
}

impl Service for Numbered<'_, '_> {
    async fn list_readers(&mut self) -> Result<Vec<ReaderName>> {
        (self.1.list)(self.0)
    }

    async fn status_change(
        &mut self,
        _: Duration,
        readers: &mut [ReaderQuery<'_>],
    ) -> Result<bool> {
        (self.1.look.borrow_mut())(self.0, readers)
    }
}

const MISREAD: Code = Code::E_UNEXPECTED;
/// `SCARD_STATE_UNKNOWN`, `SCARD_STATE_UNAVAILABLE` and `SCARD_STATE_CHANGED`.
const UNKNOWN: u32 = 0xE;
/// The same code read as a state.
const UNKNOWN_READER: u32 = 0xC;

/// Looks at two readers with these initial answers, one per context. Returns the state and the
/// number of contexts used.
fn look_after(misread: &[Result<u32, Code>]) -> (Result<u32, Code>, usize) {
    let fake = Fake::with_readers(2, |context| misread.get(context - 1).copied());
    let source = &fake;
    let states = snapshot(&source, PcscLite, |_| true);
    let state = states.map_err(|error| error.code()).map(|states| {
        assert_eq!(states.len(), 2);
        assert_eq!(states[0].event_state, states[1].event_state);
        states[0].event_state
    });
    (state, fake.contexts.get())
}

#[test]
fn a_misread_look_is_repeated_in_another_context() {
    assert_eq!(look_after(&[]), (Ok(0x22), 1));
    for misread in [
        Err(MISREAD),
        Err(Code::E_UNKNOWN_READER),
        Ok(UNKNOWN),
        Err(Code::from_raw(2)),
    ] {
        assert_eq!(look_after(&[misread]), (Ok(0x22), 2));
        assert_eq!(look_after(&[misread; MAX_LOOKS - 1]), (Ok(0x22), MAX_LOOKS));
    }
    for code in [Code::E_NO_SERVICE, Code::F_COMM_ERROR, Code::E_CANCELLED] {
        assert_eq!(look_after(&[Err(code)]), (Err(code), 1));
    }
}

#[test]
fn a_look_that_is_always_misread_ends() {
    for misread in [Err(MISREAD), Err(Code::E_UNKNOWN_READER), Ok(UNKNOWN)] {
        let (state, contexts) = look_after(&[misread; 1000]);
        let expected = match misread {
            Err(MISREAD) => Err(MISREAD),
            // Listed by the service although it does not know them.
            _ => Ok(UNKNOWN_READER),
        };
        assert_eq!(state, expected);
        assert!(contexts <= 2 * MAX_LOOKS * MAX_SNAPSHOTS, "{contexts}");
    }
}

/// A refusal of every list is final in the first context that has not looked yet.
#[test]
fn a_refused_list_is_reported_at_once() {
    let refused = || Error::new(Operation::ListReaders, MISREAD);
    let fake = Fake::new(|_| Err(refused()), |_, _| unreachable!());
    assert_eq!(snapshot(&&fake, PcscLite, |_| true), Err(refused()));
    assert_eq!(fake.contexts.get(), 1);
    let fake = Fake::new(
        |context| {
            if context == 1 {
                Ok(names(1))
            } else {
                Err(refused())
            }
        },
        |_, _| Err(Error::new(Operation::GetStatusChange, MISREAD)),
    );
    assert_eq!(snapshot(&&fake, PcscLite, |_| true), Err(refused()));
    assert_eq!(fake.contexts.get(), 2);
}

#[test]
fn a_reader_is_gone_if_another_context_does_not_list_it() {
    for misread in [Ok(UNKNOWN), Err(MISREAD), Err(Code::E_UNKNOWN_READER)] {
        let fake = Fake::new(
            |context| Ok(names(if context == 1 { 2 } else { 1 })),
            |_, readers| {
                let state = misread.map_err(|code| Error::new(Operation::GetStatusChange, code))?;
                readers.iter_mut().for_each(|it| it.event_state = state);
                Ok(true)
            },
        );
        let source = &fake;
        let mut lookout = block_on(Lookout::establish(&source, PcscLite)).unwrap();
        let names = names(2);
        let mut both = [0, 1].map(|at| ReaderQuery::unaware(names[at].as_c_str()));
        let error = block_on(lookout.look(Duration::MAX, &mut both)).unwrap_err();
        assert_eq!(error.code(), Code::E_UNKNOWN_READER);
        assert_eq!(fake.contexts.get(), 2);
    }
}

/// The state, the ATR and the number of queries. A card has 0x22 and an ATR of one byte, or none.
fn card_after(platform: Platform, seen: &[(u32, &[u8])]) -> (u32, Vec<u8>, usize) {
    let calls = Cell::new(0);
    let fake = Fake::new(
        |_| Ok(names(2)),
        |_, readers| {
            let (state, atr) = seen[calls.get().min(seen.len() - 1)];
            calls.set(calls.get() + 1);
            for it in readers {
                let is_first = it.name.to_bytes().ends_with(b"0");
                it.event_state = if is_first { state } else { EMPTY };
                it.atr = Atr::new(if is_first { atr } else { &[] }).unwrap();
            }
            Ok(true)
        },
    );
    let states = snapshot(&&fake, platform, |_| true).unwrap();
    assert_eq!((states[1].event_state, fake.contexts.get()), (EMPTY, 1));
    (
        states[0].event_state,
        states[0].atr.as_bytes().to_vec(),
        calls.get(),
    )
}

const EMPTY: u32 = 0x12;

/// pcsc-lite sends a card with the ATR of the card before it, or with none.
#[test]
fn a_change_is_accepted_if_two_looks_agree() {
    let card = |count: u32, atr| (count << 16 | 0x22, atr);
    let none: &[u8] = &[];
    let (a, b) = (card(3, &[1][..]), card(3, &[2][..]));
    let after = |seen: &[_]| card_after(PcscLite, seen);
    assert_eq!(after(&[a]), (a.0, vec![1], 2));
    assert_eq!(after(&[a, b]), (b.0, vec![2], 3));
    assert_eq!(after(&[card(3, none), b]), (b.0, vec![2], 3));
    assert_eq!(after(&[card(1, &[2]), card(2, &[2]), b]), (b.0, vec![2], 4));
    // It was removed meanwhile, and that is not counted yet.
    let counted = 0x0004_0012;
    assert_eq!(
        after(&[a, (EMPTY, none), (counted, none)]),
        (counted, vec![], 4)
    );
    // A mute card is believed at once; the other reader is queried again.
    let mute = (0x0003_0222, none);
    assert_eq!(after(&[mute]), (mute.0, vec![], 2));
    assert_eq!(after(&[a, mute]), (mute.0, vec![], 2));
    assert_eq!(card_after(Windows, &[a, b]), (a.0, vec![1], 1));
    // The state keeps changing.
    let restless: Vec<_> = [a, b].into_iter().cycle().take(1000).collect();
    assert_eq!(after(&restless).2, 1 + MAX_AGREEING);
}

/// After a look, answers in the context may be misread.
#[test]
fn a_list_that_differs_is_queried_in_another_context() {
    let misread = Cell::new(Ok(5));
    let fake = Fake::new(
        |context| match context {
            1 => misread
                .get()
                .map(names)
                .map_err(|code| Error::new(Operation::ListReaders, code)),
            _ => Ok(names(2)),
        },
        |_, _| Ok(false),
    );
    let list = |platform, looks| {
        fake.contexts.set(0);
        let source = &fake;
        let mut lookout = block_on(Lookout::establish(&source, platform)).unwrap();
        if looks {
            assert_eq!(block_on(lookout.look(Duration::MAX, &mut [])), Ok(false));
        }
        let listed = block_on(lookout.list(|names| names.len() == 2));
        let listed = listed
            .map(|names| names.len())
            .map_err(|error| error.code());
        (listed, fake.contexts.get())
    };
    assert_eq!(list(PcscLite, false), (Ok(5), 1));
    assert_eq!(list(PcscLite, true), (Ok(2), 2));
    assert_eq!(list(Windows, true), (Ok(5), 1));
    misread.set(Ok(2));
    assert_eq!(list(PcscLite, true), (Ok(2), 1));
    misread.set(Err(MISREAD));
    assert_eq!(list(PcscLite, true), (Ok(2), 2));
    misread.set(Err(Code::E_NO_SERVICE));
    assert_eq!(list(PcscLite, true), (Err(Code::E_NO_SERVICE), 1));
}

#[test]
fn readers_are_queried_in_as_many_calls_as_the_service_requires() {
    for platform in [PcscLite, Windows] {
        for (count, taken) in [(0, 1), (1, 1), (10, 10), (25, 10), (25, 1), (16, 16)] {
            let calls = Cell::new(0);
            let fake = Fake::new(
                |_| Ok(names(count)),
                |_, part| {
                    calls.set(calls.get() + 1);
                    if part.len() > taken {
                        let code = Code::E_INVALID_PARAMETER;
                        return Err(Error::new(Operation::GetStatusChange, code));
                    }
                    part.iter_mut().for_each(|it| it.event_state = 0x22);
                    Ok(true)
                },
            );
            let states = snapshot(&&fake, platform, |_| true).unwrap();
            let found: Vec<_> = states.iter().map(|it| it.reader_name().clone()).collect();
            assert_eq!(found, names(count));
            assert!(states.iter().all(|it| it.has_card()));
            assert!(calls.get() <= 2 * count + 5, "{calls:?} calls");
        }
    }
}

#[test]
fn a_refusal_not_due_to_the_number_of_readers_is_reported() {
    let code = Code::E_INVALID_PARAMETER;
    let fake = Fake::with_readers(5, |_| Some(Err(code)));
    assert_eq!(
        snapshot(&&fake, PcscLite, |_| true).unwrap_err().code(),
        code
    );
}

/// Windows lists readers of other sessions.
#[test]
fn a_reader_that_is_listed_but_unknown_does_not_hide_others() {
    for platform in [PcscLite, Windows] {
        let calls = Cell::new(0);
        let fake = Fake::new(
            |_| Ok(names(3)),
            |_, readers| {
                calls.set(calls.get() + 1);
                if readers.iter().any(|it| it.name.to_bytes().ends_with(b"1")) {
                    return Err(Error::new(
                        Operation::GetStatusChange,
                        Code::E_UNKNOWN_READER,
                    ));
                }
                readers.iter_mut().for_each(|it| it.event_state = 0x22);
                Ok(true)
            },
        );
        let states = snapshot(&&fake, platform, |_| true).unwrap();
        let states: Vec<_> = states.iter().map(|it| it.event_state).collect();
        assert_eq!(states, [0x22, UNKNOWN_READER, 0x22]);
        assert!(calls.get() < 2 * MAX_LOOKS * MAX_SNAPSHOTS, "{calls:?}");
        // It does not delay a look that excludes this reader.
        calls.set(0);
        let states = snapshot(&&fake, platform, |name| name == "Reader 2").unwrap();
        assert_eq!((states.len(), states[0].event_state), (1, 0x22));
        assert!(calls.get() <= 2, "{calls:?}");
    }
}

#[test]
fn a_look_ends_even_if_readers_keep_disappearing() {
    let calls = Cell::new(0);
    let fake = Fake::with_readers(5, |_| {
        calls.set(calls.get() + 1);
        Some(Err(Code::E_UNKNOWN_READER))
    });
    let states = snapshot(&&fake, Windows, |_| true).unwrap();
    assert_eq!(states.len(), 5);
    assert!(states.iter().all(|it| it.event_state == UNKNOWN_READER));
    assert!(calls.get() <= 2 * MAX_SNAPSHOTS, "{calls:?}");
}
