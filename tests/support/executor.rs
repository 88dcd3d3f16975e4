//! Runs the same test under several executors, and under one written here.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::{Fixture, SOON};

type Test = Pin<Box<dyn Future<Output = ()> + Send>>;
type Executor = (&'static str, fn(Test));

/// Each as strict as possible: if tasks can move between threads, the test is a task.
const EXECUTORS: &[Executor] = &[
    ("tokio, several threads", |test| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async { tokio::spawn(test).await.unwrap() });
    }),
    ("tokio, one thread", |test| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        runtime_of(runtime).block_on(test);
    }),
    ("smol", |test| smol::block_on(smol::spawn(test))),
    ("a loop that parks", block_on),
];

fn runtime_of(mut builder: tokio::runtime::Builder) -> tokio::runtime::Runtime {
    builder.enable_time().build().unwrap()
}

/// A runtime that stands still while its only thread waits.
pub fn current_thread() -> tokio::runtime::Runtime {
    runtime_of(tokio::runtime::Builder::new_current_thread())
}

/// Runs a test under each executor in turn.
pub fn everywhere<F>(fixture: Fixture, test: impl Fn(Arc<Fixture>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let fixture = Arc::new(fixture);
    for (name, run) in EXECUTORS {
        println!("under {name}");
        run(Box::pin(test(Arc::clone(&fixture))));
    }
}

/// Wakes a thread and records it.
pub struct Woken(Thread, AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0.unpark();
    }
}

impl Woken {
    pub fn new() -> Arc<Woken> {
        Arc::new(Woken(thread::current(), AtomicBool::new(false)))
    }

    /// Polls with this as the waker.
    pub fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    /// Waits until it is woken.
    #[track_caller]
    pub fn wait(&self) {
        let begun = Instant::now();
        while !self.1.swap(false, Ordering::SeqCst) {
            thread::park_timeout(SOON);
            assert!(begun.elapsed() < SOON, "nobody was woken");
        }
    }
}

/// Polls only when woken.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let woken = Woken::new();
    loop {
        match woken.poll(future.as_mut()) {
            Poll::Ready(output) => return output,
            Poll::Pending => woken.wait(),
        }
    }
}

/// A ticking task of tokio, which shows that the executor keeps running.
pub struct Ticks {
    count: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Ticks {
    pub fn start() -> Ticks {
        let count = Arc::new(AtomicUsize::new(0));
        let ticked = Arc::clone(&count);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticked.fetch_add(1, Ordering::SeqCst);
            }
        });
        Ticks { count, task }
    }

    /// Waits for this many further ticks.
    pub async fn go_on(&self, more: usize) {
        let until = self.count.load(Ordering::SeqCst) + more;
        while self.count.load(Ordering::SeqCst) < until {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sleeps, without needing an executor.
pub async fn sleep(time: Duration) {
    smol::Timer::after(time).await;
}

/// Lets a future run for some time, too short for it to complete, and drops it.
#[track_caller]
pub fn give_up<F: Future>(future: F, time: Duration) -> impl Future<Output = ()> {
    let location = std::panic::Location::caller();
    async move {
        let early = smol::future::or(async { Some(future.await) }, async {
            sleep(time).await;
            None
        });
        assert!(early.await.is_none(), "{location}: it is over already");
    }
}
