//! How long after the driver's change an event is told, beside a loop of raw C calls.
//!
//! ```sh
//! cargo bench --bench events
//! ```
//!
//! A card goes in and out of a virtual reader whose driver tells the daemon of it at once.
//! Both wait for the same changes, one after the other, so that what else the machine does
//! hits both alike.
#![allow(unsafe_code)]

use std::error::Error;

#[cfg(not(target_os = "linux"))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("virtual readers need Linux".into())
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn Error>> {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;
    use std::ffi::{CString, c_char};
    use std::ptr;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use pcsc::ffi;
    use scard::{Context, Event, MonitorOptions};
    use scard_testkit::{CardHandle, Driver, Sandbox, VirtualCard};

    const ROUNDS: usize = 1_000;
    const PAUSE: Duration = Duration::from_millis(3);

    type Answer<T = ()> = Result<T, Box<dyn Error>>;

    pub(super) fn main() -> Answer {
        let sandbox = Sandbox::builder().driver(Driver::Kit).start()?;
        // SAFETY: no other thread reads the environment: the sandbox's do not.
        unsafe { std::env::set_var("PCSCLITE_CSOCK_NAME", sandbox.socket_path()) };

        // The raw loop says at which moment it was told of each change.
        let (told, raw) = mpsc::channel();
        let name = CString::new(sandbox.reader(0).name())?;
        thread::spawn(move || raw_loop(&name, &told));
        raw.recv_timeout(Duration::from_secs(5))?;
        let mut monitor = Context::establish()?.monitor(MonitorOptions::new())?;
        while monitor.next_timeout(Duration::ZERO).is_some() {}
        let (tell, ours) = mpsc::channel();
        thread::spawn(move || {
            for event in monitor {
                if matches!(
                    event,
                    Event::CardInserted { .. } | Event::CardRemoved { .. }
                ) {
                    let _ = tell.send(Instant::now());
                }
            }
        });

        let card = CardHandle::from(VirtualCard::iso());
        let slot = sandbox.reader(0);
        let (mut raw_times, mut our_times) = (Vec::new(), Vec::new());
        for round in 0..2 * ROUNDS + 20 {
            let changed = Instant::now();
            match round % 2 {
                0 => drop(slot.insert_now(&card)?),
                _ => slot.remove_now(),
            }
            let limit = Duration::from_secs(5);
            let (at_raw, at_ours) = (raw.recv_timeout(limit)?, ours.recv_timeout(limit)?);
            slot.wait_until_published()?;
            // A monitor slows down when it is told of more than a thousand changes a second.
            thread::sleep(PAUSE);
            // The first ones warm up.
            if round >= 20 {
                raw_times.push(at_raw - changed);
                our_times.push(at_ours - changed);
            }
        }
        println!(
            "from the driver's change to the one who waits, {} changes",
            raw_times.len()
        );
        println!("{:24}{:>10}{:>10}{:>10}", "", "median", "90 %", "99 %");
        let raw = show("raw C calls", &mut raw_times);
        let ours = show("scard::Monitor", &mut our_times);
        println!(
            "ratio of the medians    {:>9.2}",
            ours.as_secs_f64() / raw.as_secs_f64()
        );
        Ok(())
    }

    fn show(name: &str, times: &mut [Duration]) -> Duration {
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        let micros = |time: Duration| format!("{:.0} us", time.as_secs_f64() * 1e6);
        let columns = [at(50), at(90), at(99)].map(micros);
        println!(
            "{name:24}{:>10}{:>10}{:>10}",
            columns[0], columns[1], columns[2]
        );
        at(50)
    }

    /// What programs write without a library.
    fn raw_loop(name: &CString, told: &mpsc::Sender<Instant>) {
        let reader: *const c_char = name.as_ptr();
        let mut context = 0;
        // SAFETY: the reserved pointers may be null, and `context` outlives the call.
        let answer = unsafe {
            ffi::SCardEstablishContext(
                ffi::SCARD_SCOPE_USER,
                ptr::null(),
                ptr::null(),
                &mut context,
            )
        };
        assert_eq!(answer, 0, "SCardEstablishContext");
        let mut state = ffi::SCARD_READERSTATE {
            szReader: reader,
            pvUserData: ptr::null_mut(),
            dwCurrentState: 0,
            dwEventState: 0,
            cbAtr: 0,
            rgbAtr: [0; ffi::ATR_BUFFER_SIZE],
        };
        let presence = ffi::SCARD_STATE_PRESENT | ffi::SCARD_STATE_EMPTY;
        let mut before = 0;
        loop {
            // SAFETY: there is one structure, its name is alive, and it outlives the call.
            let answer =
                unsafe { ffi::SCardGetStatusChange(context, ffi::INFINITE, &mut state, 1) };
            if answer != 0 {
                return;
            }
            let now = state.dwEventState & presence;
            if now != before && told.send(Instant::now()).is_err() {
                return;
            }
            before = now;
            state.dwCurrentState = state.dwEventState & !ffi::SCARD_STATE_CHANGED;
        }
    }
}
