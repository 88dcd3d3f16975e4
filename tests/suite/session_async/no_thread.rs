//! No thread can be started for a while.
#![allow(unsafe_code)]

use super::*;
use scard::Session;
use std::thread;

/// Less than the stack of a thread.
const SLACK: libc::rlim_t = 1 << 20;

/// Limits how much memory this process may map, and returns how much it could before.
fn limit_memory(limit: libc::rlim_t) -> libc::rlim_t {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the output outlives the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limits) }, 0);
    let before = std::mem::replace(&mut limits.rlim_cur, limit);
    // SAFETY: the input outlives the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limits) }, 0);
    before
}

fn mapped() -> libc::rlim_t {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: libc::rlim_t = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: no memory is involved.
    pages * libc::rlim_t::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

#[test]
fn a_session_survives_that_there_is_no_thread_for_it() {
    isolated(|| {
        let fixture = fixture_with(card());
        let session = Session::builder(&fixture.context)
            .setup(set_up)
            .timeout(None);
        let mut session = AsyncSession::from(session.open().unwrap());
        let run = |session: &mut AsyncSession, number| {
            block_on(session.run(move |card| card.transmit(&numbered(APPLICATION, number))))
        };
        let before = limit_memory(mapped() + SLACK);
        // The stacks of ended threads are reused.
        let (end, ends) = channel::<()>();
        let ends = Arc::new(Mutex::new(ends));
        let parked = std::iter::from_fn(|| {
            let ends = Arc::clone(&ends);
            let park = move || {
                let _ = ends.lock().unwrap().recv();
            };
            thread::Builder::new().spawn(park).ok()
        });
        let parked: Vec<_> = parked.collect();
        let refused = run(&mut session, 1);
        limit_memory(before);
        drop(end);
        parked.into_iter().for_each(|it| it.join().unwrap());
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::Internal), "{error:?}");
        assert_eq!(run(&mut session, 2).unwrap(), OK);
        assert_eq!(numbers(&fixture.card), [2]);
    });
}
