//! Calls that block their thread.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Makes a call on this thread. Unless its [`Limit`](super::Limit) has a task, it waits by blocking
/// the thread and is complete when it is polled for the first time.
#[inline]
pub(crate) fn block_on<F: Future>(call: F) -> F::Output {
    let mut call = pin!(call);
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = call.as_mut().poll(&mut context) {
            return output;
        }
    }
}
