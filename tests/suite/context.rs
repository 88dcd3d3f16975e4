//! The context: readers, their states, and a service that comes and goes.
#![cfg(target_os = "linux")]

use scard::{
    Context, ContextOptions, ErrorKind, MonitorOptions, Operation, ReaderFlags, ReaderName,
    ReturnCode, Scope,
};
use scard_testkit::{Sandbox, isolated};

use crate::support::*;

#[test]
fn readers_are_listed_by_the_names_that_connect() {
    isolated(|| {
        let fixture = fixture();
        let readers = fixture.context.readers().unwrap();
        assert_eq!(
            readers,
            [fixture.reader.clone(), fixture.empty_reader.clone()]
        );
        assert_eq!(
            fixture.context.reader_groups().unwrap(),
            ["SCard$DefaultReaders"]
        );
        assert!(fixture.context.is_valid().unwrap());
    });
}

/// pcsc-lite lists all readers, whatever the group; it has the two groups of all readers.
#[test]
fn a_group_has_all_readers_or_none() {
    isolated(|| {
        let fixture = fixture();
        let all = fixture.context.readers().unwrap();
        for group in ["SCard$DefaultReaders", "SCard$AllReaders"] {
            assert_eq!(fixture.context.readers_in(group).unwrap(), all, "{group}");
        }
        let none = fixture.context.readers_in("No such group").unwrap();
        assert!(none.is_empty(), "{none:?}");
        let error = fixture.context.readers_in("a\0b").unwrap_err();
        assert_eq!(error.code(), ReturnCode::E_INVALID_PARAMETER);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    });
}

#[test]
fn no_reader_is_no_error() {
    isolated(|| {
        let _sandbox = Sandbox::builder().readers(0).start().unwrap();
        let context = Context::establish().unwrap();
        assert!(context.readers().unwrap().is_empty());
        assert!(context.reader_states().unwrap().is_empty());
    });
}

#[test]
fn many_readers_are_listed() {
    isolated(|| {
        let count = Sandbox::max_readers().unwrap().min(20);
        let sandbox = Sandbox::builder().readers(count).start().unwrap();
        let context = Context::establish().unwrap();
        let readers = context.readers().unwrap();
        assert_eq!(readers.len(), count);
        for reader in sandbox.readers() {
            assert!(readers.contains(&ReaderName::new(reader.name()).unwrap()));
        }
        assert_eq!(context.reader_states().unwrap().len(), count);
    });
}

#[test]
fn states_tell_what_is_in_the_readers() {
    isolated(|| {
        let fixture = fixture();
        let state = |i: usize| fixture.context.reader_states().unwrap()[i].clone();
        let (card, empty) = (state(0), state(1));
        assert_eq!(card.reader_name(), &fixture.reader);
        assert!(card.has_card());
        assert_eq!(card.atr().as_bytes(), scard_testkit::atr::T1);
        assert!(!card.flags().contains(ReaderFlags::INUSE));
        assert!(!empty.has_card());
        assert!(empty.flags().contains(ReaderFlags::EMPTY));
        assert!(empty.atr().is_empty());

        let connected = fixture.connect();
        assert!(state(0).flags().contains(ReaderFlags::INUSE));
        drop(connected);
        let exclusive = fixture.connect_exclusive();
        assert!(state(0).flags().contains(ReaderFlags::EXCLUSIVE));
        drop(exclusive);

        let slot = fixture.sandbox.reader(0);
        slot.remove().unwrap();
        let removed = state(0);
        assert!(!removed.has_card());
        slot.insert(plain_card()).unwrap();
        let inserted = state(0);
        assert!(inserted.has_card());
        assert_eq!(
            inserted.event_count(),
            card.event_count().map(|count| count.wrapping_add(2)),
            "a removal and an insertion"
        );
    });
}

#[test]
fn watching_disturbs_no_card() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        assert_works(&mut card);
        let before = fixture.card.stats();
        let mut monitor = fixture.context.monitor(MonitorOptions::new()).unwrap();
        while monitor.next_timeout(NEVER).is_some() {}
        for _ in 0..10 {
            fixture.context.reader_states().unwrap();
        }
        // Comes after everything done to the card before.
        assert_works(&mut card);
        let mut after = fixture.card.stats();
        after.commands -= 1;
        assert_eq!(after, before);
        assert!(monitor.close(None));
    });
}

#[test]
fn every_scope_is_the_same_to_pcsc_lite() {
    isolated(|| {
        let fixture = fixture();
        let options = ContextOptions::new().scope(Scope::System);
        let context = options.establish().unwrap();
        assert_eq!(context.readers(), fixture.context.readers());
        let options = scard::ConnectOptions::new();
        assert_works(&mut context.connect(&fixture.reader, options).unwrap());
    });
}

#[test]
fn a_context_survives_a_restart_of_the_service() {
    isolated(|| {
        let fixture = fixture();
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        fixture.sandbox.kill().unwrap();
        let gone = fixture.context.readers().unwrap_err();
        assert_eq!(gone.operation(), Operation::ListReaders);
        assert!(
            [ReturnCode::F_COMM_ERROR, ReturnCode::E_NO_SERVICE].contains(&gone.code()),
            "{gone}"
        );
        assert_fails(
            fixture.try_connect(scard::ConnectOptions::new()),
            Operation::EstablishContext,
            ReturnCode::E_NO_SERVICE,
        );
        // PC/SC's opinion of the context is useless.
        assert!(fixture.context.is_valid().unwrap());

        fixture.sandbox.restart().unwrap();
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        assert!(fixture.context.reader_groups().is_ok());
        assert_works(&mut fixture.connect());
    });
}

#[test]
fn releasing_tells_and_cards_stay_connected() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let clone = fixture.context.clone();
        clone.release().unwrap();
        assert_eq!(fixture.context.readers().unwrap().len(), 2);
        let Fixture {
            context, sandbox, ..
        } = fixture;
        context.release().unwrap();
        assert_works(&mut card);

        let context = Context::establish().unwrap();
        sandbox.kill().unwrap();
        assert_fails(
            context.release(),
            Operation::ReleaseContext,
            ReturnCode::E_NO_SERVICE,
        );
    });
}

#[test]
fn a_context_is_shared_between_threads() {
    isolated(|| {
        let fixture = fixture();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(fixture.context.readers().unwrap().len(), 2);
                        assert_eq!(fixture.context.reader_states().unwrap().len(), 2);
                    }
                });
            }
        });
    });
}

#[test]
fn connecting_leaves_nothing_behind_in_the_service() {
    isolated(|| {
        let fixture = fixture();
        // The service has 200 contexts; one leaked per round would exhaust them.
        for _ in 0..250 {
            drop(fixture.connect());
            let unknown = ReaderName::new("No Such Reader").unwrap();
            let failed = fixture
                .context
                .connect(&unknown, scard::ConnectOptions::new());
            assert!(failed.is_err());
            fixture
                .connect()
                .disconnect(scard::Disposition::Leave)
                .unwrap();
            fixture.context.reader_states().unwrap();
        }
    });
}
