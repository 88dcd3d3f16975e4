//! Allocations for a command, and remains of a secret one in memory.
//!
//! A separate program because it has its own global allocator.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use scard::apdu::{Command, Exchange, ExchangeOptions};
use scard::features::pace::{Pace, Password};
use scard::features::{Pin, PinFormat};
use scard::{Control, Protocol, Session, Transmit as _};
use scard_testkit::atr::T1;
use scard_testkit::isolated;
use support::iso7816::Iso7816;
use support::*;

/// Longer than a register: in optimized builds, the end of a shorter one can remain in a register,
/// from where the compiler may write it to memory that need not be initialized. That is out of
/// reach (SECURITY.md).
const PIN: &[u8] = b"Pq7Zk9Wv-and-much-more-than-fits-a-register";

/// Counts the allocations of each thread, and looks for the PIN in freed memory.
struct Watching;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    /// Whether this is a thread of the test, and not of the virtual card, which may contain the
    /// PIN.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

static LOOKS: AtomicBool = AtomicBool::new(false);
static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Whether this is the thread of the test, or one that the library makes calls on.
fn is_ours() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: the name has at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.starts_with(b"scard\0") || OURS.try_with(Cell::get).unwrap_or(false)
}

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if LOOKS.load(Ordering::Relaxed) && is_ours() {
            let mut seen = 0;
            for offset in 0..layout.size() {
                // SAFETY: within the block.
                let at = unsafe { at.add(offset) };
                // SAFETY: the caller no longer uses the block, and the system does not yet.
                let byte = unsafe { at.read_volatile() };
                seen = if byte == PIN[seen] {
                    seen + 1
                } else {
                    usize::from(byte == PIN[0])
                };
                if seen == PIN.len() {
                    LEFT.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

#[test]
fn a_command_allocates_nothing() {
    isolated(|| {
        let fixture = fixture();
        let mut card = fixture.connect();
        let mut transaction = card.transaction().unwrap();
        transaction.transmit_ref(COMMAND).unwrap();
        let before = ALLOCATED.get();
        for _ in 0..20 {
            assert_eq!(transaction.transmit_ref(COMMAND).unwrap(), OK);
        }
        assert_eq!(ALLOCATED.get(), before);
        // The answer has no data, and none is allocated for it.
        let command = Command::parse(COMMAND).unwrap();
        let _ = transaction.exchange(&command).unwrap();
        assert_eq!(ALLOCATED.get() - before, 1, "the bytes of the command");
    });
}

/// The number of blocks that were freed with the PIN in them.
fn left_by(work: impl FnOnce()) -> usize {
    OURS.set(true);
    LOOKS.store(true, Ordering::SeqCst);
    work();
    LOOKS.store(false, Ordering::SeqCst);
    LEFT.swap(0, Ordering::SeqCst)
}

#[test]
fn nothing_is_left_of_a_secret_command() {
    isolated(|| {
        assert_eq!(
            left_by(|| drop(black_box(PIN.to_vec()))),
            1,
            "the allocator finds the PIN"
        );
        let fixture = fixture_with(Iso7816::card(T1));
        let mut card = fixture.connect();
        let left = left_by(|| {
            let verify = Command::new(0x00, 0x20, 0x00, 0x81).unwrap();
            let verify = verify.with_data(PIN.to_vec()).unwrap();
            let bytes = verify.to_bytes();
            drop(Command::parse(&bytes).unwrap().clone());
            card.transmit(&bytes).unwrap();
            card.transmit_secret(&bytes).unwrap();
            let _ = card.exchange(&verify).unwrap();
            let long = Command::new(0x00, 0x24, 0x00, 0x81).unwrap();
            let long = long.with_data(PIN.repeat(20)).unwrap();
            let chains = ExchangeOptions::new().chaining(true);
            let _ = card.exchange_with(&long, &chains).unwrap();
            let envelope = ExchangeOptions::new().envelope(true);
            drop(Exchange::new(&long, Some(Protocol::T0), &envelope).unwrap());
            // Commands made from a typed PIN.
            let pin = Pin::new(PIN.to_vec());
            let format = PinFormat::ascii();
            let typed = Command::verify(0x81, format, &pin).unwrap();
            let _ = card.exchange(&typed).unwrap();
            drop(Command::change_pin(0x81, format, &pin, &pin).unwrap());
            let pace = Pace::new(Password::Pin).secret(pin);
            drop(pace.to_bytes().unwrap());
            drop(pace.clone());
            // With a time-out, the command is copied for the call's thread.
            card.set_timeout(Some(SOON));
            card.transmit(&bytes).unwrap();
            let _ = card.exchange(&verify).unwrap();
            let _ = card.control(scard::ControlCode::GET_FEATURE_REQUEST, &bytes);
            let _ = card.set_attribute(scard::Attribute::ATR_STRING, &bytes);
            card.set_timeout(None);
            let mut channel = card.logical_channel().unwrap();
            let _ = channel.exchange(&verify).unwrap();
            channel.transmit_secret(&bytes).unwrap();
            channel.close().unwrap();
            let builder = Session::builder(&fixture.context).reader(&fixture.reader);
            let mut session = builder.open().unwrap();
            let run = session.run(|card| card.exchange(&verify));
            let _ = run.unwrap();
            #[cfg(feature = "async")]
            smol::block_on(async {
                let mut card = scard::AsyncCard::from(card);
                card.transmit(&bytes).await.unwrap();
                let _ = card.exchange(&verify).await.unwrap();
            });
        });
        assert_eq!(left, 0);
    });
}
