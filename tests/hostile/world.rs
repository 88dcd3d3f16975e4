//! Checks what must always hold: calls end in time, and receive their own answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::moods::Moods;

/// The time limit of a call.
pub(crate) const LIMIT: Duration = Duration::from_millis(100);

/// How much later a call may end on a busy machine.
const GRACE: Duration = Duration::from_millis(500);

/// The interval at which a standstill of the machine is detected.
const TICK: Duration = Duration::from_millis(10);

/// A call that takes this much longer is considered to hang.
const HANG: Duration = Duration::from_secs(10);

/// Marks data that belong to the answer to a single command.
const MARK: &[u8] = b"TAG!";

/// Marks data that belong to no answer.
pub(crate) const FORGED: &[u8] = b"FORGED";

pub(crate) struct World {
    moods: Moods,
    stopped: AtomicBool,
    done: AtomicBool,
    numbers: AtomicU64,
    /// The number of answers with the tag of their command.
    checked: AtomicU64,
    under_way: Mutex<HashMap<u64, UnderWay>>,
    times: Mutex<BTreeMap<&'static str, Times>>,
    late: Mutex<Vec<Late>>,
    /// When the machine stood still, and for how long, as seen by a thread that only sleeps.
    standstills: Mutex<Vec<(Instant, Duration)>>,
    violations: Mutex<Vec<String>>,
}

/// A call that took too long, unless the machine stood still.
struct Late {
    call: UnderWay,
    took: Duration,
}

#[derive(Debug)]
struct UnderWay {
    name: &'static str,
    begun: Instant,
    limit: Duration,
}

/// The calls of one function.
#[derive(Debug, Default)]
struct Times {
    calls: usize,
    slowest: Duration,
}

/// A call that is being made.
pub(crate) struct Call<'a> {
    world: &'a World,
    number: u64,
}

/// A unique mark in a command, and so in its answer.
pub(crate) struct Tag([u8; 12]);

impl World {
    pub(crate) fn new(moods: &Moods) -> World {
        World {
            moods: moods.clone(),
            stopped: AtomicBool::new(false),
            done: AtomicBool::new(false),
            numbers: AtomicU64::new(1),
            checked: AtomicU64::new(0),
            under_way: Mutex::default(),
            times: Mutex::default(),
            late: Mutex::default(),
            standstills: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn violated(&self, violation: String) {
        println!("{violation}");
        self.violations.lock().unwrap().push(violation);
    }

    /// Begins a call, which lasts until the returned value is dropped.
    pub(crate) fn begin(&self, name: &'static str, limit: Duration) -> Call<'_> {
        let number = self.number();
        let begun = Instant::now();
        let under_way = UnderWay { name, begun, limit };
        self.under_way.lock().unwrap().insert(number, under_way);
        Call {
            world: self,
            number,
        }
    }

    /// Drops a value, which must take no longer than a call.
    pub(crate) fn drop<T>(&self, name: &'static str, value: T) {
        let _call = self.begin(name, LIMIT);
        drop(value);
    }

    /// Ends the process if a call hangs.
    pub(crate) fn watch(&self) {
        while !self.done.load(Ordering::SeqCst) {
            let begun = Instant::now();
            thread::sleep(TICK);
            let late = begun.elapsed().saturating_sub(TICK);
            if late > TICK {
                self.standstills.lock().unwrap().push((begun, late));
            }
            let calls = self.under_way.lock().unwrap();
            if calls
                .values()
                .any(|it| it.begun.elapsed() > it.limit + HANG)
            {
                println!("hangs: {calls:#?}");
                println!("{:#?}", self.violations.lock().unwrap());
                std::process::exit(1);
            }
        }
    }

    /// Ends [`watch`](World::watch).
    pub(crate) fn watched(&self) {
        self.done.store(true, Ordering::SeqCst);
    }

    pub(crate) fn tag(&self) -> Tag {
        let mut tag = [0; 12];
        tag[..4].copy_from_slice(MARK);
        tag[4..].copy_from_slice(&self.number().to_be_bytes());
        Tag(tag)
    }

    /// Checks that the answer is not another command's.
    pub(crate) fn check(&self, tag: &Tag, answer: &[u8]) {
        let marked = answer.windows(tag.0.len());
        let (own, foreign): (Vec<_>, Vec<_>) = marked
            .filter(|part| part.starts_with(MARK))
            .partition(|part| *part == tag.0);
        if !own.is_empty() {
            self.checked.fetch_add(1, Ordering::SeqCst);
        }
        let forged = answer.windows(FORGED.len()).any(|part| part == FORGED);
        if forged || !foreign.is_empty() {
            let shown = &answer[..answer.len().min(64)];
            let history = self.moods.history(&tag.0).join("\n");
            self.violated(format!(
                "the answer to {:02X?} was {shown:02X?}, after\n{history}",
                tag.0
            ));
        }
    }

    /// Whether an answer was that of its command.
    pub(crate) fn has_checked(&self) -> bool {
        self.checked.load(Ordering::SeqCst) > 0
    }

    /// Checks that the service has returned this name.
    pub(crate) fn check_name(&self, name: &[u8]) {
        if !super::moods::may_be_shown(name) {
            self.violated(format!("there is no reader {}", name.escape_ascii()));
        }
    }

    /// How long the machine stood still during this time.
    fn standstill(&self, begun: Instant, took: Duration) -> Duration {
        let standstills = self.standstills.lock().unwrap();
        let meanwhile =
            |(at, late): &&(Instant, Duration)| *at + TICK + *late > begun && *at < begun + took;
        let meanwhile = standstills.iter().filter(meanwhile);
        meanwhile.map(|(_, late)| *late).sum()
    }

    /// Fails if anything was wrong.
    pub(crate) fn report(&self) {
        for Late { call, took } in &*self.late.lock().unwrap() {
            let standstill = self.standstill(call.begun, *took);
            let text = format!(
                "{} took {took:?}, in which the machine stood still for {standstill:?}",
                call.name
            );
            match *took > call.limit + GRACE + standstill {
                true => self.violated(text),
                false => println!("{text}"),
            }
        }
        for (name, times) in &*self.times.lock().unwrap() {
            println!("{:>7} {name}: at most {:?}", times.calls, times.slowest);
        }
        let checked = self.checked.load(Ordering::SeqCst);
        println!("{checked} answers had the tag of their command");
        assert!(checked > 0);
        let violations = self.violations.lock().unwrap();
        assert!(
            violations.is_empty(),
            "{} violations:\n{}",
            violations.len(),
            violations[..violations.len().min(40)].join("\n")
        );
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let call = self.world.under_way.lock().unwrap().remove(&self.number);
        let call = call.expect("a call");
        let took = call.begun.elapsed();
        {
            let mut times = self.world.times.lock().unwrap();
            let times = times.entry(call.name).or_default();
            times.calls += 1;
            times.slowest = times.slowest.max(took);
        }
        if took > call.limit + GRACE {
            self.world.late.lock().unwrap().push(Late { call, took });
        }
    }
}

impl Tag {
    /// A command with this tag.
    pub(crate) fn command(&self) -> Vec<u8> {
        [&[0x80, 0x10, 0x00, 0x00, 0x0C][..], &self.0].concat()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
